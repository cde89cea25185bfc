/**
 * Carries commands to a native driver and completions to the operations they are for. Owns the command queue, the table of
 * operations in flight, the blocks, and the count of what keeps the event loop alive. It never interprets a result.
 */
import type { DriverBinding, DriverKind, NativeDriver, NativeOptions, NativeStats } from './binding'
import {
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  FLAG_MORE,
  Family,
  Op,
} from './binding'
import { Blocks } from './blocks'
import { invariant, systemError } from './errors'
import { LoopEngine } from './loop-engine'
import { defaultOptions } from './options'
import { Pipes } from './pipes'
import { runTicks } from './ticks'

/** The families of stream sockets. */
export type SocketFamily = keyof typeof Family

/** What is told of an operation's completions. */
export interface Completer {
  /** `more`: others follow. The meaning of `result` and `extra` is that of the operation (binding.ts). */
  complete(result: number, more: boolean, extra: number): void
}

/** What has something to hand over before the process ends (W6). */
export interface Flushable {
  flush(): void
}

export type DriverStats = NativeStats

export class Driver extends LoopEngine {
  readonly kind: DriverKind
  readonly native: NativeDriver
  readonly blocks: Blocks
  readonly pipes: Pipes
  /** What is open. */
  readonly flushables = new Set<Flushable>()

  readonly #commands: Int32Array
  readonly #completions: Int32Array
  readonly #capacity: number
  /** By token; 0 is none. */
  readonly #operations: (Completer | undefined)[] = [undefined]
  readonly #freeTokens: number[] = []
  /** Operations and endpoints that keep the event loop alive. */

  /** Makes a driver on this thread's event loop. Throws a system error when the kernel refuses. */
  constructor(binding: DriverBinding, kind: DriverKind, options: Partial<NativeOptions> = {}) {
    super()
    const all = { ...defaultOptions, ...options }
    // Without the means to run ticks between completions, each gets a batch of its own: right, and slower.
    if (runTicks === undefined) all.batchSize = 1
    const native = binding.createDriver(kind, all, () => this.#dispatch())
    if (typeof native === 'number') {
      throw systemError(native, kind === 'uring' ? 'io_uring_setup' : 'epoll_create1')
    }
    this.kind = kind
    this.native = native
    this.#commands = new Int32Array(native.commands)
    this.#completions = new Int32Array(native.completions)
    this.#capacity = all.commandCapacity
    const queue = (opcode: number, token: number, id: number, a: number): void =>
      this.queue(opcode, token, id, a)
    this.blocks = new Blocks(native, queue, all.receiveBuffers)
    this.pipes = new Pipes(native, (id) => this.discard(id))
  }

  /** Opens a socket. Its endpoint id, or -errno. */
  open(family: SocketFamily): number {
    return this.native.open(Family[family])
  }

  /** Opens a datagram socket. Its endpoint id, or -errno. */
  openDatagram(family: 'inet' | 'inet6'): number {
    return this.native.openDatagram(Family[family])
  }

  /** A token for an operation whose completions go to `completer`. It is free again after the last one. */
  begin(completer: Completer): number {
    const token = this.#freeTokens.pop() ?? this.#operations.length
    this.#operations[token] = completer
    return token
  }

  /** Gives back a token whose operation was refused at once. */
  abandon(token: number): void {
    this.#operations[token] = undefined
    this.#freeTokens.push(token)
  }

  /** Queues a command; it reaches the kernel before the event loop next sleeps. */
  queue(opcode: number, token: number, id: number, a = 0, b = 0, c = 0, d = 0, e = 0): void {
    const commands = this.#commands
    let count = commands[0]!
    if (count === this.#capacity) {
      this.native.submit()
      count = commands[0]!
    }
    const at = COMMAND_HEADER_WORDS + count * COMMAND_WORDS
    commands[at] = opcode
    commands[at + 1] = token
    commands[at + 2] = id
    commands[at + 3] = a
    commands[at + 4] = b
    commands[at + 5] = c
    commands[at + 6] = d
    commands[at + 7] = e
    commands[0] = count + 1
  }

  /** Starts an operation by a command. Its token. */
  start(completer: Completer, opcode: number, id: number, a = 0, b = 0, c = 0, d = 0): number {
    const token = this.begin(completer)
    this.queue(opcode, token, id, a, b, c, d)
    return token
  }

  /** Closes an endpoint that nobody wants. */
  discard(id: number): void {
    this.start({ complete() {} }, Op.close, id)
  }

  /** Calls back from the event loop, soon, as a completion of its own. In the order of the calls. */
  defer(callback: () => void): void {
    this.retain()
    const complete = (): void => {
      this.release()
      callback()
    }
    this.start({ complete }, Op.wake, 0)
  }

  /** Hands the queued commands to the kernel now (W6), without waiting for anything. */
  submit(): void {
    this.native.submit()
  }

  /** The process is about to end: hands over all there is, without waiting for anything (W6). */
  flush(): void {
    for (const flushable of this.flushables) flushable.flush()
    this.native.submit()
  }

  stats(): DriverStats {
    return this.native.stats()
  }

  /** Ends the driver; see NativeDriver.close. Nothing completes any more. */
  close(): number {
    return this.native.close()
  }

  /**
   * Delivers the batch. The cursor is stored before each delivery: when a callback throws, the native side reports the
   * exception and calls again, and the rest of the batch follows (E2).
   */
  #dispatch(): number {
    const completions = this.#completions
    const count = completions[0]!
    let index = completions[1]!
    // After a callback that threw: its ticks, before the next completion.
    if (index > 0) runTicks?.()
    while (index < count) {
      const at = COMPLETION_HEADER_WORDS + index * COMPLETION_WORDS
      completions[1] = ++index
      const token = completions[at]!
      const more = (completions[at + 2]! & FLAG_MORE) !== 0
      const completer = this.#operations[token]
      invariant(completer !== undefined, 'a completion is of an operation in flight')
      if (!more) this.abandon(token)
      completer.complete(completions[at + 1]!, more, completions[at + 3]!)
      runTicks?.()
    }
    this.blocks.refill()
    return 0
  }
}
