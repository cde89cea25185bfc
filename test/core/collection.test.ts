/** What nobody holds any more: a dropped lease returns to its pool, a dropped connection is closed (C3). */
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '../../src/core/connection'
import type { Lease } from '../../src/core/lease'
import { Listener } from '../../src/core/listener'
import { Pool } from '../../src/core/pool'
import { leasesMax } from '../../src/core/receiving'
import { errno } from './scripted-kernel'
import type { ScriptedKernel } from './scripted-kernel'
import { collect, testCollected } from '../collected'
import { makeDriver, settle } from './fixtures'

// Ticks run by Node only: run from inside a test they would settle promises in the middle of its statements.
jest.mock('../../src/core/ticks', () => ({ runTicks: jest.fn() }))
jest.mock('../../src/core/active', () => ({ requireDriver: jest.fn() }))

const check = (title: string, body: () => Promise<void>): void => {
  testCollected(__filename, title, body)
}

/**
 * Collects until `done`, or until it is clear that it will not happen. V8 calls back for what it collected in a task of
 * its own, which on a busy machine takes longer than a turn of the event loop: hence the pause.
 */
async function collectUntil(done: () => boolean, rounds = 500): Promise<boolean> {
  for (let round = 0; round < rounds && !done(); round++) {
    collect()
    await (round < 5 ? settle() : sleep(10))
  }
  return done()
}

const fewRounds = 5

describe('a dropped lease', () => {
  check('returns to its pool and wakes who waits for it', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    let isWoken = false
    ;(() => {
      pool.acquire()!.bytes.fill(1)
      pool.whenAvailable(() => (isWoken = true))
    })()
    expect(await collectUntil(() => isWoken)).toBe(true)
    expect(pool.available).toBe(1)
    kernel.assertClean()
  })

  check(
    'returns while a view of its bytes is held, and never shows that view another’s bytes',
    async () => {
      const { kernel, driver } = makeDriver()
      const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
      const id = kernel.endpoint()
      const connection = new Connection(driver, id)
      const view = (() => pool.acquire()!.bytes.fill(7))()
      expect(await collectUntil(() => pool.available > 0)).toBe(true)
      const next = pool.acquire()!
      next.bytes.fill(9)
      const sending = connection.send(next)
      view.fill(5)
      kernel.deliver(kernel.sent(id))
      expect((await sending).ok).toBe(true)
      expect(kernel.wireBytes(id).every((byte) => byte === 9)).toBe(true)
      expect(view.every((byte) => byte === 5)).toBe(true)
      kernel.assertClean()
    },
  )

  check(
    'whose ArrayBuffer was transferred returns with fresh memory: the transferee keeps theirs',
    async () => {
      const { driver } = makeDriver()
      const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
      const theirs = (() => {
        const buffer = pool.acquire()!.bytes.fill(7).buffer as ArrayBuffer
        return new Uint8Array(structuredClone(buffer, { transfer: [buffer] }))
      })()
      expect(pool.available).toBe(0)
      expect(await collectUntil(() => pool.available > 0)).toBe(true)
      pool.acquire()!.bytes.fill(9)
      expect(theirs).toHaveLength(256)
      expect(theirs.every((byte) => byte === 7)).toBe(true)
    },
  )

  check('stays out while it is in flight, and returns after the completion', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const id = kernel.endpoint()
    const connection = new Connection(driver, id)
    ;(() => void connection.send(pool.acquire()!))()
    expect(await collectUntil(() => pool.available > 0, fewRounds)).toBe(false)
    kernel.deliver(kernel.sent(id))
    expect(await collectUntil(() => pool.available > 0)).toBe(true)
    expect(connection.channel.isClosing).toBe(false)
    kernel.assertClean()
  })

  check('of a connection comes back to it: more is received', async () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    const connection = new Connection(driver, id)
    await (async () => {
      const leases: Lease[] = []
      while (leases.length < leasesMax) {
        const receiving = connection.receive()
        if (!kernel.isInFlight(id, 'receive')) break
        kernel.deliver(kernel.received(id, 'x'))
        leases.push((await receiving)!)
      }
      expect(leases).toHaveLength(leasesMax)
    })()
    const next = connection.receive()
    // Kept, and the kernel is asked to stop: no lease is left for it.
    kernel.deliver(kernel.received(id, 'next'), kernel.receiveEnded(id, errno('ECANCELED')))
    let isServed = false
    void next.then(() => (isServed = true))
    const stopWaking = kernel.wakeByItself()
    expect(await collectUntil(() => isServed)).toBe(true)
    stopWaking()
    expect(Buffer.from((await next)!.bytes).toString()).toBe('next')
    kernel.assertClean()
  })

  check('released before, it does not return a second time when it is collected', async () => {
    const { driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    ;(() => pool.acquire()!.release())()
    await collectUntil(() => false, fewRounds)
    expect(pool.available).toBe(1)
  })
})

describe('a dropped connection', () => {
  /** Dropped with two leases ready that nobody has taken. */
  async function dropWithUnread(): Promise<{ kernel: ScriptedKernel; id: number }> {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    await (async () => {
      const connection = new Connection(driver, id)
      const first = connection.receive()
      kernel.deliver(['a', 'b', 'c'].map((text) => kernel.received(id, text)))
      ;(await first)!.release()
    })()
    return { kernel, id }
  }

  check(
    'is closed, and the memory of what it had received and nobody took is used again',
    async () => {
      const { kernel, id } = await dropWithUnread()
      const before = kernel.providedCount
      expect(await collectUntil(() => kernel.isClosing(id))).toBe(true)
      kernel.deliver(kernel.closed(id))
      expect(await collectUntil(() => kernel.providedCount === before + 2, 50)).toBe(true)
      kernel.assertClean()
    },
  )

  check('with bytes that nobody has taken resets its peer, as close() does', async () => {
    const { kernel, id } = await dropWithUnread()
    expect(await collectUntil(() => kernel.isClosing(id))).toBe(true)
    expect(kernel.isReset(id)).toBe(true)
  })

  check('leaves its leases to their owner', async () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    const lease = await (async () => {
      const receiving = new Connection(driver, id).receive()
      kernel.deliver(kernel.received(id, 'mine'))
      return (await receiving)!
    })()
    expect(await collectUntil(() => kernel.isClosing(id))).toBe(true)
    kernel.deliver(kernel.closed(id))
    expect(Buffer.from(lease.bytes).toString()).toBe('mine')
    const before = kernel.providedCount
    lease.release()
    expect(kernel.providedCount).toBe(before + 1)
    kernel.assertClean()
  })

  check('is not closed while somebody waits in receive()', async () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    let received: Lease | null | undefined
    ;(() => {
      void new Connection(driver, id).receive().then((lease) => (received = lease))
    })()
    expect(await collectUntil(() => kernel.isClosing(id), fewRounds)).toBe(false)
    kernel.deliver(kernel.receiveEnded(id, 0))
    await settle()
    expect(received).toBeNull()
  })

  check('is not closed while somebody waits for bytes in a lease of their own', async () => {
    const { kernel, driver } = makeDriver()
    const into = new Pool(driver, { count: 1, leaseBytes: 256 }).acquire()!
    const id = kernel.endpoint()
    // The receive is about to start.
    jest.spyOn(driver, 'defer').mockImplementation(() => {})
    ;(() => void new Connection(driver, id).receive({ into }))()
    expect(await collectUntil(() => kernel.isClosing(id), fewRounds)).toBe(false)
    expect(into.state).toBe('inFlight')
  })

  check('has its sends in flight ended by their own completions, memory and all', async () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    ;(() => void new Connection(driver, id).send(Buffer.from('sent')))()
    await collectUntil(() => kernel.isClosing(id))
    await collectUntil(() => false, fewRounds)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('sent')
    kernel.assertClean()
  })

  check('is closed once: not again after close(), and not after handOff()', async () => {
    const { kernel, driver } = makeDriver()
    const [closedId, takenId] = [kernel.endpoint(), kernel.endpoint()]
    ;(() => {
      void new Connection(driver, closedId).close()
      new Connection(driver, takenId).handOff()
    })()
    kernel.deliver(kernel.closed(closedId))
    await collectUntil(() => false, fewRounds)
    expect(kernel.count(closedId, 'close')).toBe(1)
    expect(kernel.count(takenId, 'close')).toBe(0)
    kernel.assertClean()
  })

  check('one whose send failed long ago is collected, too', async () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    await (async () => {
      const sending = new Connection(driver, id).send(Buffer.from('x'))
      kernel.deliver(kernel.sent(id, errno('EPIPE')))
      await sending
    })()
    expect(await collectUntil(() => kernel.isClosing(id))).toBe(true)
  })
})

describe('a dropped listener', () => {
  check('is closed, unless somebody waits in accept()', async () => {
    const { kernel, driver } = makeDriver()
    const [waited, dropped] = [kernel.endpoint(), kernel.endpoint()]
    let isAccepted = false
    ;(() => {
      const listener = new Listener(driver, waited)
      listener.start('::', 0, 1)
      void listener.accept().then(() => (isAccepted = true))
      new Listener(driver, dropped).start('::', 0, 1)
    })()
    expect(await collectUntil(() => kernel.isClosing(dropped))).toBe(true)
    expect(kernel.isClosing(waited)).toBe(false)
    expect(isAccepted).toBe(false)
  })

  check('has connections that nobody took closed with it', async () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    const accepted = (() => {
      new Listener(driver, id).start('::', 0, 1)
      const one = kernel.accepted(id)
      kernel.deliver(one)
      return one.result
    })()
    expect(await collectUntil(() => kernel.isClosing(id))).toBe(true)
    expect(kernel.isClosing(accepted)).toBe(true)
  })
})
