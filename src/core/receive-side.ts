/**
 * The receiving half of a channel. Owns the receive operation and the bytes that arrived while nobody was reading.
 *
 * Between readStop and readStart nothing is delivered (R1): what arrives is kept in order, and the first such arrival
 * stops the kernel from receiving more (R2). A short pause therefore costs nothing.
 */
import { CloseHow, Op } from './binding'
import { copyOfPart } from './copy'
import type { Driver } from './driver'
import { Errno } from './errors'
import { Operation } from './operation'

/** Takes what arrives on a channel. */
export interface ChannelHandler {
  /** Bytes [offset, offset + length) of `memory`, valid only during the call (R3: copy what is to last). */
  onBytes(memory: Buffer, offset: number, length: number): void
  /** End of stream, once. */
  onEnd(): void
  /** The receive side failed, once; nothing more will arrive. */
  onReceiveError(errno: number): void
  /** The process is about to end: what is to be sent has to be handed over now (W6). */
  onFlush?(): void
}

/** Kept in the place of bytes when the end of the stream (0) or an error (-errno) comes while nobody is reading. */
type Held = Buffer | number

export class ReceiveSide {
  handler: ChannelHandler

  readonly #driver: Driver
  readonly #id: number
  readonly #operation = new Operation()
  #isReading = false
  /** Bytes came since the operation was armed. */
  #hadBytes = false
  /** Nothing more will arrive: end of stream or an error was seen. */
  #isEnded = false
  #isClosed = false
  /** The event loop's turn in which bytes were last delivered. */
  #turn = -1
  #held: Held[] = []
  #isDelivering = false

  readonly #onIdle: () => void

  /** `onIdle` is called when something ended outside a completion. */
  constructor(driver: Driver, id: number, handler: ChannelHandler, onIdle: () => void) {
    this.#onIdle = onIdle
    this.#driver = driver
    this.#id = id
    this.handler = handler
  }

  get isReading(): boolean {
    return this.#isReading
  }

  /** Whether it waits for the peer: reading, and more may come. */
  get isActive(): boolean {
    return this.#isReading && (!this.#isEnded || this.#held.length > 0)
  }

  start(): void {
    this.#isReading = true
    if (this.#held.length > 0) this.#deliverHeldLater()
    else this.#receive()
  }

  stop(): void {
    this.#isReading = false
  }

  /** The channel is closing: nothing is delivered any more. The driver ends the operation. True: bytes are left unread. */
  close(): boolean {
    this.#isClosed = true
    const hasUnread = this.#held.some((held) => typeof held === 'object')
    this.#held = []
    return hasUnread
  }

  /** See Channel.keep. */
  keep(memory: Buffer, offset: number, length: number): void {
    this.#held.unshift(copyOfPart(memory, offset, length))
    this.#stopReceiving()
  }

  /** See Channel.keepEnd. */
  keepEnd(status: number): void {
    this.#held.push(status)
  }

  /** Takes a completion of the receive operation. True when the handler was called. */
  complete(result: number, more: boolean, offset: number): boolean {
    if (!this.#operation.complete(more)) {
      this.#driver.stray()
      return false
    }
    if (this.#isClosed) {
      if (result > 0) this.#driver.queue(Op.close, this.#id, CloseHow.unread, 0)
      return false
    }
    const isDeliverable = this.#isReading && this.#held.length === 0
    if (result > 0) {
      this.#hadBytes = true
      if (!isDeliverable) {
        this.#held.push(copyOfPart(this.#driver.pool, offset, result))
        this.#stopReceiving()
        return false
      }
      // Before the handler runs: it may throw, and the operation must go on.
      if (!more) this.#receive()
      this.#turn = this.#driver.turn
      this.handler.onBytes(this.#driver.pool, offset, result)
      return true
    }
    if (result === Errno.ENOBUFS || result === Errno.ECANCELED) {
      if (!isDeliverable) return false
      // The pool ran dry. Who got nothing of it takes from the reserve (R2).
      this.#receive(result === Errno.ENOBUFS && !this.#hadBytes ? 1 : 0)
      return false
    }
    this.#isEnded = true
    if (!isDeliverable) {
      this.#held.push(result)
      return false
    }
    if (this.#turn === this.#driver.turn) {
      // libuv reads once in a turn: what the bytes led to, immediates included, comes before their end.
      this.#held.push(result)
      setImmediate(() => this.#deliverHeldLater())
      return false
    }
    this.#deliver(result)
    return true
  }

  #receive(reserve = 0): void {
    if (this.#isEnded || this.#isClosed || !this.#operation.isIdle) return
    this.#operation.submit()
    this.#hadBytes = false
    this.#driver.queue(Op.receive, this.#id, reserve, 0)
  }

  #stopReceiving(): void {
    if (!this.#isClosed && this.#operation.cancel())
      this.#driver.queue(Op.cancel, this.#id, Op.receive, 0)
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
      else this.#receive()
      if (held === undefined) return
      try {
        this.#deliver(held)
      } finally {
        this.#onIdle()
      }
    })
  }

  #deliver(held: Held): void {
    if (typeof held === 'object') {
      this.handler.onBytes(held, 0, held.length)
    } else if (held === 0) {
      this.handler.onEnd()
    } else {
      this.handler.onReceiveError(held)
    }
  }
}
