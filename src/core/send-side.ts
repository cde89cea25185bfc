/**
 * The sending half of a channel. Owns the send operation, and the bytes accepted for sending until the kernel has them.
 *
 * What it accepts it accepts whole (W1), copied before the call returns, except what the kernel has taken by then (W2).
 * One send is in flight; later ones wait here, then the shutdown, in order, without further calls (W3). After a failure
 * nothing is sent any more, and every waiting callback gets the error once (W5).
 */
import { Arena } from './arena'
import { CHUNKS_MAX, Op } from './binding'
import { copyOf } from './copy'
import type { Driver } from './driver'
import { Errno } from './errors'
import { Operation } from './operation'

/** Learns, once, when the kernel has taken the last byte of a send (0) or why it never will (-errno) (W4). */
export interface SendRequest {
  /** `taken`: how many of the bytes, from the first on, the kernel has taken. All of them when status is 0. */
  onSent(status: number, taken: number): void
}

/** Learns, once, that the FIN is out (0) or could not be sent (-errno). */
export interface ShutdownRequest {
  onShutdown(status: number): void
}

/** What the send calls answer. Negative values are -errno: nothing was accepted and nothing follows. */
export const Sent = {
  /** Accepted; request.onSent follows. */
  pending: 0,
  /** The kernel has all of it already; request.onSent does NOT follow. */
  done: 1,
} as const

/** Above this, chunks are copied to the arena only if they can be sent with those of other sockets. */
const copyBytesMax = 16384

/** One of several chunks to be sent together; `encoding` is that of a string. */
export interface SendEntry {
  chunk: Uint8Array | string
  encoding: BufferEncoding
}

/** The bytes of an entry. */
export function encoded({ chunk, encoding }: SendEntry): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}

/** A send that waits for the one in flight. */
type WaitingSend =
  /** A copy that only this side knows (W2). */
  | { bytes: Buffer; length: number; request: SendRequest }
  /** An arena block that its owner has lent. */
  | { block: number; length: number; request: SendRequest }

export class SendSide {
  /** Bytes accepted so far. */
  bytesAccepted = 0

  readonly #driver: Driver
  readonly #id: number
  readonly #operation = new Operation()
  /** The request in flight; null when there is none. */
  #request: SendRequest | null = null
  /** Its arena block, to be released; -1 when the bytes are a heap block of the driver's or lent by their owner. */
  #block = -1
  /** The kernel has all of the send in flight; only the news of it is still to come. */
  #isOut = false
  /** What the operation in flight is to send. */
  #length = 0
  /** Bytes of the request in flight that the kernel took before its operation was submitted. */
  #takenBefore = 0
  #waiting: WaitingSend[] = []
  #waitingBytes = 0
  /** The -errno of the first failed send. */
  #poison = 0
  #shutdown: ShutdownRequest | null = null
  /** The kernel was asked to send the FIN. */
  #isShuttingDown = false
  /** No send may follow: the FIN was asked for. */
  #isShutdown = false
  #isClosed = false
  /** Callbacks that were put off. */
  #putOff = 0
  readonly #onIdle: () => void

  /** `onIdle` is called when something ended outside a completion. */
  constructor(driver: Driver, id: number, onIdle: () => void) {
    this.#driver = driver
    this.#id = id
    this.#onIdle = onIdle
  }

  /** Whether something accepted has not ended yet. */
  get isActive(): boolean {
    return this.#request !== null || this.#shutdown !== null
  }

  get waitingSends(): number {
    return this.#waiting.length
  }

  /** Bytes accepted that the kernel has not taken yet. */
  get queuedBytes(): number {
    if (this.#request === null || this.#isClosed) return this.#waitingBytes
    const unsent = this.#driver.native.unsent(this.#id)
    // A send whose command is still queued has no progress of its own.
    return (unsent > 0 ? unsent : this.#length) + this.#waitingBytes
  }

  /**
   * See Channel.send. A send is tried at once; those of several completions of one batch go out together at its end (one
   * submission, and the kernel's code for it stays in the cache).
   */
  send(bytes: Uint8Array, request: SendRequest, mayFinish: boolean): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    return this.#accept(bytes, request, mayFinish)
  }

  #accept(bytes: Uint8Array, request: SendRequest, mayFinish: boolean): number {
    const { length } = bytes
    if (this.#request !== null) return this.#wait({ bytes: copyOf(bytes), length, request })
    if (length === 0) return this.#sendNothing(request, mayFinish)
    if (mayFinish && this.#driver.isGathering) {
      const block = this.#blockFor(length)
      if (block >= 0) {
        this.#driver.arena.bytes.set(bytes, block)
        return this.#queueSend(block, length, request, block)
      }
    }
    const taken = this.#driver.native.sendNow(this.#id, bytes)
    return this.#sent(taken, length, -1, request, mayFinish)
  }

  /** See Channel.sendString. */
  sendString(text: string, encoding: BufferEncoding, request: SendRequest): number {
    const length = encodedLength(text, encoding)
    const block = this.#blockFor(length)
    if (block < 0) return this.send(Buffer.from(text, encoding), request, true)
    this.#encode(text, encoding, block, length)
    return this.#sendBlock(block, length, request)
  }

  /** See Channel.sendEntries. */
  sendEntries(entries: readonly SendEntry[], request: SendRequest): number {
    let total = 0
    for (const { chunk, encoding } of entries) {
      const length = typeof chunk === 'string' ? encodedLength(chunk, encoding) : chunk.length
      total += length < 0 ? Infinity : length
    }
    const block = this.#blockFor(total)
    if (block < 0) {
      const chunks = entries.map(encoded)
      if (total === Infinity) total = chunks.reduce((sum, { length }) => sum + length, 0)
      return this.#sendMany(chunks, total, request)
    }
    let at = block
    for (const { chunk, encoding } of entries) {
      if (typeof chunk === 'string') {
        const length = encodedLength(chunk, encoding)
        this.#encode(chunk, encoding, at, length)
        at += length
      } else {
        this.#driver.arena.bytes.set(chunk, at)
        at += chunk.length
      }
    }
    return this.#sendBlock(block, total, request)
  }

  /** Chunks of `total` bytes that no arena block is there for. */
  #sendMany(chunks: readonly Uint8Array[], total: number, request: SendRequest): number {
    if (this.#request !== null || total === 0 || chunks.length > CHUNKS_MAX) {
      return this.send(Buffer.concat(chunks, total), request, true)
    }
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    const taken = this.#driver.native.sendNow(this.#id, chunks)
    return this.#sent(taken, total, -1, request, true)
  }

  #encode(text: string, encoding: BufferEncoding, offset: number, length: number): void {
    const { bytes } = this.#driver.arena
    if (encoding === 'latin1') bytes.latin1Write(text, offset, length)
    else bytes.utf8Write(text, offset, length)
  }

  /** See Channel.sendOwned. */
  sendOwned(block: number, length: number, request: SendRequest): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    return this.#acceptOwned(block, length, request)
  }

  #acceptOwned(block: number, length: number, request: SendRequest): number {
    if (this.#request !== null) return this.#wait({ block, length, request })
    if (length === 0) return this.#sendNothing(request, false)
    return this.#queueSend(block, length, request, -1)
  }

  /** See Channel.cancelSend. */
  cancel(request: SendRequest): void {
    if (request === this.#request) {
      if (!this.#isClosed && this.#operation.cancel())
        this.#driver.queue(Op.cancel, this.#id, Op.send, 0)
      return
    }
    const index = this.#waiting.findIndex((waiting) => waiting.request === request)
    if (index < 0) return
    const [{ length }] = this.#waiting.splice(index, 1) as [WaitingSend]
    this.#waitingBytes -= length
    this.bytesAccepted -= length
    this.#later(() => request.onSent(Errno.ECANCELED, 0))
  }

  /** See Channel.shutdown. */
  shutdown(request: ShutdownRequest): number {
    // After a send that was cut short a FIN would say that nothing is missing.
    if (this.#isShutdown || this.#isClosed || this.#poison !== 0) return Errno.ENOTCONN
    this.#isShutdown = true
    this.#shutdown = request
    // The kernel has a send of which only the news is still to come.
    const isOut = this.#isOut && this.#waiting.length === 0
    if (this.#request === null || isOut) this.#startShutdown()
    return 0
  }

  /**
   * There is no time to wait for completions: offers the kernel what waits (W6). What it takes has been sent; the rest
   * goes on waiting.
   */
  flush(): void {
    if (this.#waiting.length === 0 || this.#poison !== 0) return
    const bytes = Buffer.concat(this.#waiting.map((waiting) => this.#bytesOf(waiting)))
    if (bytes.length === 0) return
    let taken = this.#driver.native.offer(this.#id, bytes)
    while (taken > 0) {
      const next = this.#waiting[0]!
      this.#waitingBytes -= Math.min(taken, next.length)
      if (taken < next.length) {
        // Cut short: its end can only be a failure, and nothing may follow it (W5).
        this.#poison = Errno.ECANCELED
        const { request } = this.#waiting.shift()!
        const part = taken
        this.#later(() => request.onSent(Errno.ECANCELED, part))
        return
      }
      taken -= next.length
      this.#waiting.shift()
      this.#later(() => next.request.onSent(0, next.length))
    }
  }

  #bytesOf(waiting: WaitingSend): Uint8Array {
    if ('bytes' in waiting) return waiting.bytes
    return this.#driver.arena.bytes.subarray(waiting.block, waiting.block + waiting.length)
  }

  /** The channel is closing: nothing is accepted any more. The driver ends the operation. */
  close(): void {
    this.flush()
    this.#isClosed = true
  }

  /** The channel is closed: ends what never started. True when there was something. */
  abandon(): boolean {
    if (this.#waiting.length > 0 || this.#shutdown !== null) this.#failWaiting(Errno.ECANCELED)
    return this.#putOff > 0
  }

  /** Takes the completion of the send operation. True when the request was told. */
  complete(result: number, extra: number): boolean {
    const request = this.#request
    if (request === null || !this.#operation.complete(false)) {
      this.#driver.stray()
      return false
    }
    // A count other than the one asked for would be a defect of the driver; it must not pass for success.
    const status = result === this.#length ? 0 : result < 0 ? result : Errno.EPIPE
    const taken = this.#takenBefore + (result >= 0 ? result : extra)
    if (this.#block >= 0) this.#driver.arena.release(this.#block)
    this.#block = -1
    this.#request = null
    const isUntouched = status === Errno.ECANCELED && taken === 0
    if (status < 0 && !isUntouched && this.#poison === 0) this.#poison = status
    // Before the request is told: it may throw, and what waits must go on.
    if (this.#waiting.length > 0 || this.#shutdown !== null) this.#advance()
    request.onSent(status, taken)
    return true
  }

  /** Takes the completion of the shutdown. True when the request was told. */
  completeShutdown(status: number): boolean {
    const request = this.#shutdown
    if (request === null || this.#request !== null) {
      this.#driver.stray()
      return false
    }
    this.#shutdown = null
    request.onShutdown(status)
    return true
  }

  #refusal(): number {
    if (this.#poison !== 0) return this.#poison
    if (this.#isClosed) return Errno.EBADF
    return this.#isShutdown ? Errno.EPIPE : 0
  }

  /** A block to copy `length` bytes to, or -1 when another way has to be taken. */
  #blockFor(length: number): number {
    const max = this.#driver.isGathering ? Arena.blockBytesMax : copyBytesMax
    if (length <= 0 || length > max) return -1
    if (this.#request !== null || this.#refusal() !== 0) return -1
    return this.#driver.arena.allocate(length)
  }

  #wait(waiting: WaitingSend): number {
    this.#waiting.push(waiting)
    this.#waitingBytes += waiting.length
    this.bytesAccepted += waiting.length
    return Sent.pending
  }

  #sendNothing(request: SendRequest, mayFinish: boolean): number {
    if (mayFinish) return Sent.done
    return this.#tellLater(request, 0)
  }

  #sendBlock(block: number, length: number, request: SendRequest): number {
    if (this.#driver.isGathering) return this.#queueSend(block, length, request, block)
    const taken = this.#driver.native.sendBlock(this.#id, block, length)
    if (taken < 0 || taken === length) this.#driver.arena.release(block)
    return this.#sent(taken, length, block, request, true)
  }

  /** Sends from the arena, with what else is commanded by then. `release`: the block to release at its end, or -1. */
  #queueSend(block: number, length: number, request: SendRequest, release: number): number {
    this.bytesAccepted += length
    this.#start(request, length, release, 0)
    this.#driver.queue(Op.send, this.#id, block, length)
    return Sent.pending
  }

  /** The kernel has been offered `length` bytes, and has taken the first `taken` of them. */
  #sent(
    taken: number,
    length: number,
    block: number,
    request: SendRequest,
    mayFinish: boolean,
  ): number {
    if (taken < 0) {
      // The native side refuses with ENOBUFS before the first byte; after any other error nothing may follow (W5).
      if (taken !== Errno.ENOBUFS) this.#poison = taken
      return taken
    }
    this.bytesAccepted += length
    if (taken < length) {
      this.#start(request, length - taken, block, taken)
      return Sent.pending
    }
    if (mayFinish) return Sent.done
    return this.#tellLater(request, taken)
  }

  /** The kernel has all of the send, and its request must not be told inside this call. */
  #tellLater(request: SendRequest, taken: number): number {
    this.#start(request, 0, -1, taken)
    this.#isOut = true
    this.#later(() => {
      if (this.#request !== request) return
      this.#isOut = false
      this.complete(0, 0)
    })
    return Sent.pending
  }

  #start(request: SendRequest, length: number, block: number, takenBefore: number): void {
    this.#operation.submit()
    this.#request = request
    this.#length = length
    this.#block = block
    this.#takenBefore = takenBefore
  }

  /** After a send has ended: starts the next one, or the shutdown, or fails what waited. */
  #advance(): void {
    if (this.#poison !== 0) {
      this.#failWaiting(this.#poison)
      return
    }
    if (this.#isClosed) return
    const next = this.#waiting.shift()
    if (next === undefined) {
      this.#startShutdown()
      return
    }
    this.#waitingBytes -= next.length
    this.bytesAccepted -= next.length
    const answer =
      'bytes' in next
        ? this.#accept(next.bytes, next.request, false)
        : this.#acceptOwned(next.block, next.length, next.request)
    if (answer < 0) {
      // It was accepted: it cannot be refused any more, only fail.
      this.#poison = answer
      this.#later(() => next.request.onSent(answer, 0))
      this.#failWaiting(answer)
    }
  }

  #startShutdown(): void {
    if (this.#isShuttingDown) return
    this.#isShuttingDown = true
    this.#driver.queue(Op.shutdown, this.#id, 0, 0)
  }

  #later(callback: () => void): void {
    this.#putOff++
    this.#driver.defer(() => {
      this.#putOff--
      try {
        callback()
      } finally {
        this.#onIdle()
      }
    })
  }

  /** Every waiting callback gets the error, once, each in its own turn so that one that throws stops no other. */
  #failWaiting(status: number): void {
    const waiting = this.#waiting
    const shutdown = this.#shutdown
    this.#waiting = []
    this.#waitingBytes = 0
    this.#shutdown = null
    for (const { request } of waiting) this.#later(() => request.onSent(status, 0))
    if (shutdown !== null) this.#later(() => shutdown.onShutdown(status))
  }
}

/** Bytes of the encoded text, or -1 when it is long or in an encoding that is not written to the arena directly. */
function encodedLength(text: string, encoding: BufferEncoding): number {
  if (text.length > copyBytesMax) return -1
  if (encoding === 'latin1') return text.length
  return encoding === 'utf8' || encoding === 'utf-8' ? Buffer.byteLength(text) : -1
}
