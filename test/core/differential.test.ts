/**
 * Random scripts against a model: whatever the user calls and whatever the kernel does to it, the peer sees exactly the
 * bytes the callbacks confirm, in order; the user sees exactly the bytes that arrived, in order, and only while reading;
 * every callback comes once, and the end leaves nothing behind. A failing seed runs again by its number.
 */
import type { Block } from '../../src/core/block'
import { Channel } from '../../src/core/channel'
import type { ChannelHandler } from '../../src/core/channel'
import type { Driver } from '../../src/core/driver'
import { errno } from './scripted-kernel'
import type { Posted, ScriptedKernel } from './scripted-kernel'
import { makeDriver, seeded } from './fixtures'

const seeds = 500
const ECANCELED = errno('ECANCELED')

/** One accepted send, and what its callback said. */
interface Accepted {
  readonly bytes: Buffer
  readonly request: { onSent(status: number, taken: number): void }
  told: { status: number; taken: number } | undefined
}

class Script implements ChannelHandler {
  readonly random: (below: number) => number
  readonly kernel: ScriptedKernel
  readonly driver: Driver
  readonly id: number
  readonly channel: Channel

  readonly accepted: Accepted[] = []
  readonly arrived: Buffer[] = []
  readonly delivered: Buffer[] = []
  /** Blocks that the user has not given back. */
  readonly held: { block: Block; bytes: Buffer }[] = []
  /** What the kernel told of the end of the stream, and what the user was told. */
  endArrived: number | undefined
  endDelivered: number | undefined
  isReading = false
  isShutdownAsked = false
  shutdownTold: number | undefined
  isClosed = false
  isOver = false
  /** Running number of bytes, so that every byte differs from its neighbours in a known way. */
  #next = 0

  constructor(seed: number) {
    this.random = seeded(seed)
    ;({ kernel: this.kernel, driver: this.driver } = makeDriver({
      receiveBuffers: 16 + this.random(16),
      commandCapacity: 1 + this.random(8),
      batchSize: 1 + this.random(8),
    }))
    this.id = this.kernel.endpoint()
    this.channel = new Channel(this.driver, this.id, this)
    this.kernel.offerTakes = (length) => this.random(3) && this.random(length + 1)
  }

  // --- what the user sees -----------------------------------------------------------------------

  onBlock(block: Block, length: number): void {
    this.#expectDeliverable('bytes')
    if (!this.isOver && this.random(10) === 0) {
      // Not now: it comes again, first.
      this.#read(false)
      this.channel.keep(block, length)
      return
    }
    const bytes = Buffer.from(block.bytes.subarray(0, length))
    this.delivered.push(bytes)
    if (this.random(3) === 0) this.held.push({ block, bytes })
    else this.driver.blocks.releaseReceived(block)
    this.#act(20)
  }

  onEnd(): void {
    this.#ended(0)
  }

  onReceiveError(status: number): void {
    this.#ended(status)
  }

  #ended(status: number): void {
    this.#expectDeliverable('the end')
    this.endDelivered = status
    this.#act(20)
  }

  #expectDeliverable(what: string): void {
    if (!this.isReading) throw new Error(`${what} while paused`)
    if (this.channel.isClosing) throw new Error(`${what} after close`)
    if (this.endDelivered !== undefined) throw new Error(`${what} after the end`)
  }

  /** From inside a callback the user does now and then one thing more. */
  #act(percent: number): void {
    if (!this.isOver && this.random(100) < percent) this.userStep()
  }

  // --- what the user does -----------------------------------------------------------------------

  userStep(): void {
    const { channel, random } = this
    if (random(4) === 0) this.giveBack()
    if (channel.isClosing) return
    switch (random(12)) {
      case 0:
        this.#read(true)
        return
      case 1:
        this.#read(false)
        return
      case 2:
        if (this.accepted.length > 0) {
          // The latest ones are those that may still be on their way.
          const back = 1 + random(Math.min(this.accepted.length, 6))
          channel.cancelSend(this.accepted[this.accepted.length - back]!.request)
        }
        return
      case 3:
        if (random(12) === 0 && !this.isShutdownAsked) this.#shutdown()
        return
      case 4:
        if (random(30) === 0) this.close()
        return
      default:
        if (!this.isShutdownAsked) this.#send()
    }
  }

  /** The first block that is held goes back; it must be as it was. */
  giveBack(): void {
    const first = this.held.shift()
    if (first === undefined) return
    const { block, bytes } = first
    if (!bytes.equals(block.bytes.subarray(0, bytes.length))) {
      throw new Error('a block changed while it was held')
    }
    this.driver.blocks.releaseReceived(block)
  }

  #read(on: boolean): void {
    this.isReading = on
    if (on) this.channel.readStart()
    else this.channel.readStop()
  }

  #bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length)
    // 7 bits, so that latin1 and utf8 say the same.
    for (let i = 0; i < length; i++) bytes[i] = (this.#next++ * 31) & 0x7f
    return bytes
  }

  #send(): void {
    const { channel, random, driver } = this
    const lengths = [0, 1, random(300), random(3000), random(20_000), random(100_000)]
    const bytes = this.#bytes(lengths[random(lengths.length)]!)
    const lent = { block: undefined as Block | undefined }
    const entry: { told: Accepted['told'] } = { told: undefined }
    const request = {
      onSent: (status: number, taken: number): void => {
        if (entry.told !== undefined) throw new Error('a send was told twice')
        if (this.isClosed) throw new Error('a send was told after closed')
        entry.told = { status, taken }
        if (lent.block !== undefined) driver.blocks.destroy(lent.block)
        this.#act(30)
      },
    }
    let answer: number
    switch (random(4)) {
      case 0: {
        const encoding = random(2) ? 'utf8' : 'latin1'
        const entries = [{ chunk: bytes.toString('latin1'), encoding } as const]
        answer = channel.sendEntries(entries, request)
        break
      }
      case 1: {
        const cut = random(bytes.length + 1)
        const chunks = [bytes.subarray(0, cut), bytes.subarray(cut)]
        const entries = chunks.map((chunk) => ({ chunk, encoding: 'utf8' as const }))
        answer = channel.sendEntries(entries, request)
        break
      }
      case 2:
        lent.block = driver.blocks.create(bytes.length || 1)
        lent.block.bytes.set(bytes)
        answer = channel.sendBlock(lent.block, bytes.length, request)
        break
      default: {
        const mutable = Buffer.from(bytes)
        answer = channel.send(mutable, request)
        mutable.fill(0xff)
      }
    }
    if (answer === 0) this.accepted.push(Object.assign(entry, { bytes, request }))
    else if (lent.block !== undefined) driver.blocks.destroy(lent.block)
  }

  #shutdown(): void {
    const status = this.channel.shutdown({
      onShutdown: (result) => {
        if (this.shutdownTold !== undefined) throw new Error('the shutdown was told twice')
        if (this.isClosed) throw new Error('the shutdown was told after closed')
        this.shutdownTold = result
      },
    })
    this.isShutdownAsked = true
    if (status < 0) this.shutdownTold = status
  }

  close(): void {
    this.isReading = false
    this.channel.close(this.random(2) === 0, () => {
      if (this.isClosed) throw new Error('closed was told twice')
      this.isClosed = true
    })
  }

  // --- what the kernel does ---------------------------------------------------------------------

  kernelStep(isCalm: boolean): void {
    const { kernel, id, random } = this
    if (random(3) === 0) kernel.taken()
    if (!kernel.isOpen(id)) return
    const posted: Posted[] = []
    if (kernel.isClosing(id)) {
      if (random(3) === 0 || isCalm) posted.push(...this.#closed())
    } else {
      if (kernel.isInFlight(id, 'send') && random(2) === 0) posted.push(this.#sent(isCalm))
      if (kernel.isInFlight(id, 'shutdown') && random(2) === 0) posted.push(kernel.shutDown(id))
    }
    if (kernel.isOpen(id)) {
      for (let i = random(4); i > 0 && kernel.isInFlight(id, 'receive'); i--) {
        posted.push(this.#received(isCalm))
      }
    }
    // A wake completes with whatever else there is, or (see run) alone.
    if (random(4) === 0) posted.push(...kernel.woken())
    kernel.deliver(posted)
  }

  #closed(): Posted[] {
    const { kernel, id, random } = this
    // The first attempt at a send may have got some of it out.
    const posted: Posted[] = []
    if (kernel.isInFlight(id, 'send') && random(2) === 0) posted.push(this.#sent(false))
    return [...posted, ...kernel.closed(id)]
  }

  #sent(isCalm: boolean): Posted {
    const { kernel, id, random } = this
    const length = kernel.sendLengths(id).reduce((sum, each) => sum + each, 0)
    if (kernel.isCancelRequested(id, 'send') && random(3) > 0) {
      return kernel.sent(id, ECANCELED, random(2) === 0 ? 0 : random(length))
    }
    if (!isCalm && random(100) === 0) return kernel.sent(id, errno('ECONNRESET'), random(length))
    return kernel.sent(id)
  }

  #received(isCalm: boolean): Posted {
    const { kernel, id, random } = this
    if (kernel.isCancelRequested(id, 'receive') && random(2) === 0) {
      return kernel.receiveEnded(id, ECANCELED)
    }
    const kind = isCalm ? 50 : random(100)
    if (kind < 5 || kernel.providedCount === 0) return kernel.receiveEnded(id, errno('ENOBUFS'))
    if (kind < 7) {
      this.endArrived = kind === 5 ? 0 : errno('ECONNRESET')
      return kernel.receiveEnded(id, this.endArrived)
    }
    const bytes = this.#bytes(1 + random(200))
    this.arrived.push(bytes)
    return kernel.received(id, bytes, random(4) > 0)
  }

  // --- the run, and what has to hold ------------------------------------------------------------

  run(): void {
    const { random } = this
    for (let step = 0; step < 150; step++) {
      const kind = random(10)
      if (kind < 5) this.userStep()
      else if (kind < 8) this.kernelStep(false)
      else this.kernel.wake()
      this.#check()
    }
    this.isOver = true
    if (!this.channel.isClosing) {
      this.#read(true)
      for (let step = 0; step < 400; step++) {
        this.kernelStep(true)
        this.kernel.wake()
      }
      this.#checkComplete()
      this.close()
    }
    while (this.held.length > 0) this.giveBack()
    for (let step = 0; step < 50; step++) {
      this.kernelStep(true)
      this.kernel.wake()
    }
    this.kernel.wakeAll()
    this.#checkGone()
  }

  /** Holds at every moment. */
  #check(): void {
    const delivered = Buffer.concat(this.delivered)
    const arrived = Buffer.concat(this.arrived)
    if (!arrived.subarray(0, delivered.length).equals(delivered)) {
      throw new Error('delivered bytes are not those that arrived, in order')
    }
    const [thrown] = this.kernel.uncaught
    if (thrown !== undefined) throw thrown
    this.kernel.assertClean()
  }

  /** Holds when everybody has had time and nobody closed. */
  #checkComplete(): void {
    this.#check()
    if (!Buffer.concat(this.delivered).equals(Buffer.concat(this.arrived))) {
      throw new Error('not all that arrived was delivered')
    }
    expect(this.endDelivered).toBe(this.endArrived)
    expect(this.accepted.filter(({ told }) => told === undefined)).toEqual([])
    expect(this.channel.sendQueueBytes).toBe(0)
    this.#checkWire(this.kernel.wireBytes(this.id))
    if (this.isShutdownAsked) expect(this.shutdownTold).toBeDefined()
    if (this.shutdownTold === 0) expect(this.kernel.hasFin(this.id)).toBe(true)
  }

  /** The wire is what the callbacks confirmed: after a gap nothing, without one everything. */
  #checkWire(wire: Buffer): void {
    const confirmed = this.accepted.map(({ bytes, told }) => bytes.subarray(0, told!.taken))
    if (!wire.equals(Buffer.concat(confirmed))) throw new Error('the wire is not what was told')
    let isPoisoned = false
    for (const { bytes, told } of this.accepted) {
      const { status, taken } = told!
      if (isPoisoned && taken > 0) throw new Error('bytes were sent behind a gap')
      if (status === 0 && taken !== bytes.length) throw new Error('a short send passed for success')
      if (status < 0 && taken > 0) isPoisoned = true
    }
  }

  #checkGone(): void {
    this.#check()
    expect(this.isClosed).toBe(true)
    expect(this.accepted.filter(({ told }) => told === undefined)).toEqual([])
    if (this.isShutdownAsked) expect(this.shutdownTold).toBeDefined()
    expect(this.kernel.isRef).toBe(false)
    expect(this.kernel.endpointCount).toBe(0)
    expect(this.driver.flushables.size).toBe(0)
  }
}

describe('random scripts', () => {
  const perTest = 25
  test.each(Array.from({ length: seeds / perTest }, (_, i) => i * perTest))(
    'agree with the model (25 seeds from %i)',
    (first) => {
      const failures: string[] = []
      for (let seed = first; seed < first + perTest; seed++) {
        try {
          new Script(seed).run()
        } catch (error) {
          failures.push(`seed ${seed}: ${(error as Error).message}`)
        }
      }
      expect(failures).toEqual([])
    },
  )
})
