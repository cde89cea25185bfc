/**
 * Carries commands to a native driver and completions to the endpoints they are for. Owns the command queue, the table
 * of endpoints, the send arena and the count of what keeps the event loop alive. It never interprets a result.
 */
import type { DriverBinding, DriverKind, NativeDriver, NativeOptions, NativeStats } from './binding'
import {
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  Dispatched,
  Family,
  Op,
  SLOT_BITS,
} from './binding'
import { Arena } from './arena'
import { systemError } from './errors'
import { runTicks } from './ticks'

/** From so many completions in a batch on, their sends are gathered. */
const gatheredMin = 4

const SLOT_MASK = (1 << SLOT_BITS) - 1

/** The families of stream sockets. */
export type SocketFamily = keyof typeof Family

/** What a driver delivers completions to. */
export interface Endpoint {
  readonly id: number
  /** The process is about to end: hands over what is to be sent (W6). */
  flush?(): void
  /** Takes one completion. True: code outside this package may have run, so ticks may be due. */
  complete(opcode: number, result: number, flags: number, extra: number): boolean
}

export interface DriverStats extends NativeStats {
  /** Completions that were for no endpoint or no operation in flight: dropped. Anything but 0 is a defect. */
  strays: number
  /** Bytes of the send arena in use. */
  arenaBytes: number
}

export const defaultOptions: NativeOptions = {
  arenaBytes: 8 << 20,
  poolBytes: 2 << 20,
  submissionEntries: 256,
  completionEntries: 4096,
  commandCapacity: 1024,
  batchSize: 256,
  endpointsMax: 1 << 17,
  gatherUs: 100,
  heapBytesMax: 1 << 30,
  disable: 0,
}

export class Driver {
  readonly kind: DriverKind
  readonly native: NativeDriver
  readonly arena: Arena
  /** The receive pool; see the contract in binding.ts for how long its bytes are valid. */
  readonly pool: Buffer

  readonly #commands: Int32Array
  readonly #completions: Int32Array
  readonly #capacity: number
  readonly #endpoints: (Endpoint | undefined)[] = []
  #isGathering = false
  /** Endpoints and operations that keep the event loop alive. */
  #alive = 0
  #strays = 0
  /** Endpoints nobody wants, until they are closed. */
  readonly #discarded = new Set<number>()
  /** What waits for its wake completion, in order. */
  readonly #deferred: (() => void)[] = []

  /** Makes a driver on this thread's event loop. Throws a system error when the kernel refuses. */
  constructor(binding: DriverBinding, kind: DriverKind, options: Partial<NativeOptions> = {}) {
    const all = { ...defaultOptions, ...options }
    // Without the means to run ticks between completions, each gets a batch of its own: right, and slower.
    if (runTicks === undefined) all.batchSize = 1
    const native = binding.createDriver(kind, all, () => this.#dispatch())
    if (typeof native === 'number') {
      throw systemError(native, kind === 'uring' ? 'io_uring_setup' : 'epoll_create1')
    }
    this.kind = kind
    this.native = native
    this.#commands = native.commands
    this.#completions = native.completions
    this.#capacity = all.commandCapacity
    this.arena = new Arena(native.arena)
    this.pool = Buffer.from(native.pool.buffer, native.pool.byteOffset, native.pool.byteLength)
  }

  /** Opens a socket. Its endpoint id, or -errno. */
  open(family: SocketFamily): number {
    return this.native.open(Family[family])
  }

  /** Closes an endpoint that nobody has registered for. */
  discard(id: number): void {
    this.#discarded.add(id)
    this.queue(Op.close, id, 0, 0)
  }

  /** Queues a command; it reaches the kernel before the event loop next sleeps. */
  queue(opcode: number, id: number, a: number, b: number): void {
    const commands = this.#commands
    let count = commands[0]!
    if (count === this.#capacity) {
      this.native.submit()
      count = commands[0]!
    }
    const at = COMMAND_HEADER_WORDS + count * COMMAND_WORDS
    commands[at] = opcode
    commands[at + 1] = id
    commands[at + 2] = a
    commands[at + 3] = b
    commands[0] = count + 1
  }

  /** Hands the queued commands to the kernel now (W6), without waiting for anything. */
  submit(): void {
    this.native.submit()
  }

  /** The process is about to end: hands over all there is, without waiting for anything (W6). */
  flush(): void {
    for (const endpoint of this.#endpoints) endpoint?.flush?.()
    this.native.submit()
  }

  /** From now on completions for endpoint.id go to it. */
  register(endpoint: Endpoint): void {
    this.#endpoints[endpoint.id & SLOT_MASK] = endpoint
  }

  /** After an endpoint's closed completion. */
  unregister(endpoint: Endpoint): void {
    const slot = endpoint.id & SLOT_MASK
    if (this.#endpoints[slot] === endpoint) this.#endpoints[slot] = undefined
  }

  /** One thing more keeps the event loop alive. */
  retain(): void {
    if (this.#alive++ === 0) this.native.setRef(true)
  }

  /** One thing less keeps the event loop alive. */
  release(): void {
    if (--this.#alive === 0) this.native.setRef(false)
  }

  stats(): DriverStats {
    return { ...this.native.stats(), strays: this.#strays, arenaBytes: this.arena.bytesInUse }
  }

  /** Ends the driver; see NativeDriver.close. Endpoints get no further completions. */
  close(): number {
    return this.native.close()
  }

  /**
   * Whether a batch of many completions is being delivered: what they send goes out together at its end, while the kernel's
   * code for it stays in the cache. Of few, each is sent at once, and its end is told as early as with libuv.
   */
  get isGathering(): boolean {
    return this.#isGathering
  }

  /** Number of the event loop's turn that the batch at hand came in. */
  get turn(): number {
    return this.#completions[3]!
  }

  /** Calls back from the event loop, soon, as a completion of its own. In the order of the calls. */
  defer(callback: () => void): void {
    this.#deferred.push(callback)
    this.retain()
    this.queue(Op.wake, 0, 0, 0)
  }

  /** A completion that no operation waited for: counted, and nothing else. */
  stray(): void {
    this.#strays++
  }

  #dispatch(): number {
    this.#isGathering = this.#completions[0]! >= gatheredMin
    const answer = this.#deliver()
    if (answer === Dispatched.done) this.#isGathering = false
    return answer
  }

  /**
   * Delivers the batch. The cursor is stored before each delivery: when a callback throws, the native side reports the
   * exception and calls again, and the rest of the batch follows (E2).
   */
  #deliver(): number {
    const completions = this.#completions
    const count = completions[0]!
    let index = completions[1]!
    // After a callback that threw: its ticks, before the next completion.
    if (index > 0) runTicks?.()
    while (index < count) {
      if (index === completions[2] && index > 0 && this.#commands[0]! > 0) return Dispatched.submit
      const at = COMPLETION_HEADER_WORDS + index * COMPLETION_WORDS
      const head = completions[at]!
      const id = completions[at + 1]!
      const result = completions[at + 2]!
      const extra = completions[at + 3]!
      completions[1] = ++index
      const endpoint = this.#endpoints[id & SLOT_MASK]
      if (endpoint === undefined || endpoint.id !== id) {
        if (head === Op.wake) this.#wake()
        else this.#drop(head & 0xff, id, result)
      } else if (endpoint.complete(head & 0xff, result, head >> 8, extra)) {
        runTicks?.()
      }
    }
    return Dispatched.done
  }

  #wake(): void {
    this.release()
    this.#deferred.shift()!()
    runTicks?.()
  }

  #drop(opcode: number, id: number, result: number): void {
    if (opcode === Op.close && this.#discarded.delete(id)) return
    this.#strays++
    // A descriptor nobody waits for any more is not leaked.
    if (opcode === Op.accept && result >= 0) this.discard(result)
  }
}
