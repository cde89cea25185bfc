/**
 * The receiving half of a channel. Owns the receive operation and the blocks that arrived while nobody was reading.
 *
 * Between stop and start nothing is delivered (R1): what arrives is kept in order, and the first such arrival stops the kernel
 * from receiving more (R2). A short pause therefore costs nothing.
 */
import { Op } from './binding'
import type { Block } from './block'
import type { Completer, Driver } from './driver'
import { Errno, invariant } from './errors'

/** The channel that a half belongs to. */
export interface Idling {
  /** A callback has been called: what keeps the event loop alive may have ended. */
  onIdle(): void
}

/** Takes what arrives on a channel. */
export interface ChannelHandler {
  /** `length` bytes at the beginning of a block that is the handler's until it gives it to Blocks.releaseReceived. */
  onBlock(block: Block, length: number): void
  /** End of stream, once. */
  onEnd(): void
  /** The receive side failed, once; nothing more will arrive. */
  onReceiveError(errno: number): void
  /** The process is about to end: what is to be sent has to be handed over now (W6). */
  onFlush?(): void
}

/**
 * How a receive into memory has ended: `bytes` are there. `status` is 0; -errno when it failed or was cancelled, and then
 * `bytes` is 0: what had come is kept for the next reader (R1).
 */
export type OnReceived = (status: number, bytes: number) => void

/** What arrived while nobody was reading: bytes, or the end of the stream (0), or an error (-errno). */
export type Held = { block: Block; length: number } | number

/** Somebody who receives from the socket by calls of their own meanwhile. */
export interface Borrower {
  /** Whether they have bytes that they will give back. */
  readonly hasUnread: boolean
  /** The kernel receives nothing for the channel any more. Once. */
  onLent(): void
  /** The channel is closing. */
  onClosing(): void
}

/** A receive into memory of the caller's choice. */
interface Into {
  readonly block: Block
  readonly length: number
  readonly minimum: number
  readonly onReceived: OnReceived
  bytes: number
  /** Of its operation; 0 while it has none. */
  token: number
  isCancelled: boolean
}

type Receive =
  | { state: 'none' }
  /** `once`: it brings one buffer. */
  | { state: 'armed'; token: number; once: boolean }
  /** It was asked to end. */
  | { state: 'stopping' }
  /** It waits for a buffer. */
  | { state: 'starved' }

const none: Receive = { state: 'none' }

/** So many receives in a row that fill less than half of a buffer mean that large pieces are over. */
const smallReceivesMax = 16

export class ReceiveSide implements Completer {
  handler: ChannelHandler
  /** Receives that brought bytes and were taken notice of, for NativeDriver's close. */
  receives = 0

  readonly #driver: Driver
  readonly #id: number
  readonly #channel: Idling
  #receive: Receive = none
  #isReading = false
  /**
   * Large pieces come. The kernel would fill all buffers at once for one connection, before its reader has seen the first; so each
   * receive brings one.
   */
  #isBulk = false
  #smallReceives = 0
  /** Nothing more will arrive: end of stream or an error was seen. */
  #isEnded = false
  #isClosed = false
  #held: Held[] = []
  #into: Into | null = null
  #borrower: Borrower | null = null
  #isLent = false
  #isDelivering = false

  constructor(driver: Driver, id: number, handler: ChannelHandler, channel: Idling) {
    this.#driver = driver
    this.#id = id
    this.handler = handler
    this.#channel = channel
  }

  get isReading(): boolean {
    return this.#isReading
  }

  /** Whether it waits for the peer: reading, and more may come. */
  get isActive(): boolean {
    if (this.#into !== null) return true
    return this.#isReading && (!this.#isEnded || this.#held.length > 0)
  }

  start(): void {
    this.#isReading = true
    if (this.#held.length > 0) this.#deliverHeldLater()
    else this.#arm()
  }

  stop(): void {
    this.#isReading = false
  }

  // --- into memory of the caller's choice -----------------------------------------------------------

  /** See Channel.receiveInto. Ends with at least `minimum` bytes, or fewer at the end of the stream. */
  into(block: Block, length: number, minimum: number, onReceived: OnReceived): void {
    invariant(this.#into === null && !this.#isReading, 'one receive at a time')
    const into = { block, length, minimum, onReceived, bytes: 0, token: 0, isCancelled: false }
    this.#into = into
    // Never within the call.
    this.#driver.defer(() => this.#advanceInto(into))
  }

  cancelInto(): void {
    const into = this.#into
    if (into === null || into.isCancelled) return
    into.isCancelled = true
    if (into.token === 0) this.#driver.defer(() => this.#advanceInto(into))
    else if (!this.#isClosed) this.#driver.queue(Op.cancel, into.token, 0)
  }

  /** What was kept comes first; then nothing else may be receiving. */
  #advanceInto(into: Into): void {
    if (this.#into !== into || into.token !== 0) return
    if (into.isCancelled) return this.#endInto(into, Errno.ECANCELED)
    const end = this.#takeHeld(into)
    if (into.bytes >= into.minimum || end === 0) return this.#endInto(into, 0)
    if (end !== undefined) return this.#endInto(into, end)
    if (this.#receive.state === 'armed') return this.#stopReceiving()
    if (this.#receive.state !== 'none') return
    const complete = (result: number, _more: boolean, bytes: number): void => {
      into.token = 0
      into.bytes += result >= 0 ? result : bytes
      if (result === 0 || (result < 0 && result !== Errno.ECANCELED)) this.#ended(result)
      this.#endInto(into, result < 0 ? result : 0)
    }
    const { block, bytes, length, minimum } = into
    const { index } = block
    into.token = this.#driver.begin({ complete })
    const rest = length - bytes
    this.#driver.queue(Op.receiveInto, into.token, this.#id, index, bytes, rest, minimum - bytes)
  }

  /** How receiving has ended, if what is kept says so: 0 or -errno. */
  #takeHeld(into: Into): number | undefined {
    while (into.bytes < into.length) {
      const held = this.#held[0]
      if (held === undefined) return undefined
      if (typeof held === 'number') return into.bytes > 0 ? 0 : held
      const { block } = held
      const taken = Math.min(held.length, into.length - into.bytes)
      into.block.bytes.set(block.bytes.subarray(0, taken), into.bytes)
      into.bytes += taken
      held.length -= taken
      if (held.length > 0) {
        block.bytes.copyWithin(0, taken, taken + held.length)
      } else {
        this.#held.shift()
        this.#driver.blocks.releaseReceived(block)
      }
    }
    return undefined
  }

  #endInto(into: Into, status: number): void {
    this.#into = null
    const bytes = status === 0 ? into.bytes : 0
    if (status !== 0 && into.bytes > 0 && !this.#isClosed) this.#keepBytes(into)
    try {
      into.onReceived(status, bytes)
    } finally {
      this.#channel.onIdle()
    }
  }

  #keepBytes(into: Into): void {
    const bytes = into.block.bytes.subarray(0, into.bytes)
    const kept: Held[] = []
    for (let at = 0; at < bytes.length;) {
      const block = this.#driver.blocks.spare()
      const part = bytes.subarray(at, at + block.size)
      block.bytes.set(part)
      kept.push({ block, length: part.length })
      at += part.length
    }
    this.#held.unshift(...kept)
  }

  // --- lent to somebody else ------------------------------------------------------------------------

  /** See Channel.lendReceive. */
  lend(borrower: Borrower): void {
    invariant(this.#into === null && !this.#isReading, 'one receive at a time')
    this.#borrower = borrower
    // Never within the call.
    this.#driver.defer(() => this.#advanceLoan())
  }

  #advanceLoan(): void {
    if (this.#borrower === null || this.#isLent) return
    const { state } = this.#receive
    if (state === 'armed') return this.#stopReceiving()
    if (state === 'stopping') return
    this.#isLent = true
    this.#borrower.onLent()
  }

  /** What is kept, which is the caller's. */
  takeHeld(): Held[] {
    return this.#held.splice(0)
  }

  /** See Channel.endReceiveLoan. */
  endLoan(end: number): void {
    this.#borrower = null
    this.#isLent = false
    if (end !== 1) this.#ended(end)
  }

  /** The channel is closing: nothing is delivered any more. True: bytes are left unread. */
  close(): boolean {
    this.#isClosed = true
    this.#isReading = false
    // One whose operation is in flight ends with that.
    this.cancelInto()
    const held = this.#held
    this.#held = []
    let hasUnread = this.#borrower?.hasUnread ?? false
    this.#borrower?.onClosing()
    for (const each of held) {
      if (typeof each === 'number') continue
      hasUnread = true
      this.#driver.blocks.releaseReceived(each.block)
    }
    return hasUnread
  }

  /** Gives back a block that onBlock brought: it is delivered first after the next start (R1). */
  keep(block: Block, length: number): void {
    this.#held.unshift({ block, length })
    this.#stopReceiving()
  }

  /** Gives back an end that onEnd (0) or onReceiveError (-errno) told of: it is told again after what is kept (R1). */
  unshiftEnd(status: number): void {
    this.#held.push(status)
  }

  complete(result: number, more: boolean, index: number): void {
    if (!more) this.#receive = none
    try {
      this.#onBytes(result, index)
      if (!more && this.#into !== null) this.#advanceInto(this.#into)
      else if (!more) this.#advanceLoan()
    } finally {
      this.#channel.onIdle()
    }
  }

  #onBytes(result: number, index: number): void {
    if (result > 0) this.#received(this.#driver.blocks.takeReceived(index), result)
    else if (result === Errno.ENOBUFS) this.#starve()
    // It was stopped, and reading may have begun again meanwhile.
    else if (result === Errno.ECANCELED) this.#armIfWanted()
    else this.#ended(result)
  }

  #received(block: Block, length: number): void {
    if (this.#isClosed) {
      this.#driver.blocks.releaseReceived(block)
      return
    }
    this.receives++
    this.#noteSize(length >= block.size / 2)
    if (!this.#isReading || this.#held.length > 0) {
      this.#held.push({ block, length })
      this.#stopReceiving()
      return
    }
    // Before the handler runs: it may throw, and the operation must go on.
    if (this.#receive.state === 'none') this.#arm()
    this.handler.onBlock(block, length)
  }

  #noteSize(isLarge: boolean): void {
    if (isLarge) {
      this.#smallReceives = 0
      this.#isBulk = true
      // It is armed again when it has ended.
      if (this.#receive.state === 'armed' && !this.#receive.once) this.#stopReceiving()
    } else if (this.#isBulk && ++this.#smallReceives === smallReceivesMax) {
      this.#isBulk = false
    }
  }

  #ended(result: number): void {
    if (this.#isClosed) return
    this.#isEnded = true
    if (this.#isReading && this.#held.length === 0) this.#deliver(result)
    else this.#held.push(result)
  }

  /** The kernel found no buffer. Nothing is lost: the bytes wait in the socket. */
  #starve(): void {
    if (this.#isClosed) return
    this.#receive = { state: 'starved' }
    this.#driver.blocks.whenProvided(() => {
      this.#receive = none
      if (this.#into !== null) this.#advanceInto(this.#into)
      else this.#armIfWanted()
    })
  }

  #armIfWanted(): void {
    if (this.#isReading && this.#held.length === 0) this.#arm()
  }

  #arm(): void {
    if (this.#isEnded || this.#isClosed || this.#receive.state !== 'none') return
    this.#driver.blocks.prepare()
    const once = this.#isBulk
    const token = this.#driver.start(this, Op.receive, this.#id, once ? 1 : 0)
    this.#receive = { state: 'armed', token, once }
  }

  #stopReceiving(): void {
    if (this.#receive.state !== 'armed' || this.#isClosed) return
    this.#driver.queue(Op.cancel, this.#receive.token, 0)
    this.#receive = { state: 'stopping' }
  }

  /** One item at a time, so that ticks run between them as between libuv's callbacks (E2). */
  #deliverHeldLater(): void {
    if (this.#isDelivering) return
    this.#isDelivering = true
    this.#driver.defer(() => {
      this.#isDelivering = false
      if (!this.#isReading || this.#isClosed) return
      const held = this.#held.shift()
      if (this.#held.length > 0) this.#deliverHeldLater()
      else this.#arm()
      if (held === undefined) return
      try {
        this.#deliver(held)
      } finally {
        this.#channel.onIdle()
      }
    })
  }

  #deliver(held: Held): void {
    if (typeof held === 'object') this.handler.onBlock(held.block, held.length)
    else if (held === 0) this.handler.onEnd()
    else this.handler.onReceiveError(held)
  }
}
