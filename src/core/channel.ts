/**
 * One stream socket at callback level: what adapters and the ownership API stand on. Owns the socket's operations, the
 * bytes accepted for sending until the kernel has them, and bytes received while nobody was reading. It makes no
 * promise, no event and no stream; it calls its handler, always from the event loop and never from inside a call to it.
 *
 * Sending (W1-W5): send* takes all bytes or none. What it takes is copied before it returns, except what the kernel has
 * taken by then. One send is in flight; later ones wait here, then the shutdown, in order, without further calls.
 * Receiving (R1, R2): between readStop and readStart nothing is delivered; what arrives is kept in order, and the first
 * such arrival stops the kernel from receiving more.
 */
import { FLAG_MORE, Op } from './binding'
import type { SocketName } from './binding'
import type { Driver, Endpoint } from './driver'
import { Errno, invariant } from './errors'
import { Operation } from './operation'

export type { SocketName } from './binding'

/** Takes what arrives on a channel. */
export interface ChannelHandler {
  /** Bytes [offset, offset + length) of `memory`, valid only during the call (R3: copy what is to last). */
  onBytes(memory: Buffer, offset: number, length: number): void
  /** End of stream, once. */
  onEnd(): void
  /** The receive side failed, once; nothing more will arrive. */
  onReceiveError(errno: number): void
}

/** Learns, once, when the kernel has taken the last byte of a send (0) or why it never will (-errno) (W4). */
export interface SendRequest {
  /** `taken`: how many of the bytes, from the first on, the kernel has taken. All of them when status is 0. */
  onSent(status: number, taken: number): void
}

/** Learns, once, that the FIN is out (0) or could not be sent (-errno). */
export interface ShutdownRequest {
  onShutdown(status: number): void
}

/** A send that waits for the one in flight. */
type WaitingSend =
  /** A copy that only this channel knows (W2). */
  | { bytes: Buffer; length: number; request: SendRequest }
  /** An arena block that its owner has lent. */
  | { block: number; length: number; request: SendRequest }

/** What send* answers. Negative values are -errno: nothing was taken and nothing follows. */
export const Sent = {
  /** Taken; request.onSent follows. */
  pending: 0,
  /** The kernel has all of it already; request.onSent does NOT follow. */
  done: 1,
} as const

/** Above this, bytes are offered to the kernel at once from the caller's memory instead of being copied first. */
export const copyBytesMax = 16384

/** Kept in the place of bytes when the end of the stream, or an error, arrives while nobody is reading. */
type Held = Buffer | 'end' | number

export class Channel implements Endpoint {
  readonly id: number
  readonly driver: Driver
  /** Bytes delivered or kept for delivery so far. */
  bytesReceived = 0
  /** Bytes accepted by send* so far. */
  bytesAccepted = 0

  readonly #receiving = new Operation()
  readonly #sending = new Operation()
  #handler: ChannelHandler
  #reading = false
  /** Nothing more will arrive: end of stream or an error was seen. */
  #ended = false
  #held: Held[] = []
  #isDelivering = false

  #request: SendRequest | null = null
  /** The arena block in flight, or -1 when a heap block of the driver is. */
  #block = -1
  #length = 0
  /** Bytes of the send in flight that the kernel took before its operation was submitted. */
  #takenBefore = 0
  #waiting: WaitingSend[] = []
  #waitingBytes = 0
  /** The -errno of the first failed send; nothing is sent after it (W5). */
  #poison = 0
  #shutdown: ShutdownRequest | null = null
  #onConnected: ((status: number) => void) | null = null
  #onClosed: (() => void) | null = null
  #isClosing = false
  #isClosed = false

  #isRef = true
  /** Whether this channel is counted as keeping the event loop alive. */
  #isAlive = false

  /** Takes over endpoint `id` of `driver`, which stays open until close(). */
  constructor(driver: Driver, id: number, handler: ChannelHandler) {
    this.driver = driver
    this.id = id
    this.#handler = handler
    driver.register(this)
  }

  /** Replaces the handler, for whoever takes the channel over. */
  set handler(handler: ChannelHandler) {
    this.#handler = handler
  }

  get isClosing(): boolean {
    return this.#isClosing
  }

  /** Sends that wait for the one in flight. */
  get waitingSends(): number {
    return this.#waiting.length
  }

  get isReading(): boolean {
    return this.#reading
  }

  /** Bytes accepted that the kernel has not taken yet, as far as is known here. */
  get sendQueueBytes(): number {
    return (this.#sending.isIdle ? 0 : this.#length) + this.#waitingBytes
  }

  // --- connecting -----------------------------------------------------------------------------------------------

  /** Starts a connect. 0: onConnected follows with 0 or -errno. -errno: refused, nothing follows. */
  connect(address: string, port: number, onConnected: (status: number) => void): number {
    const status = this.driver.native.connect(this.id, address, port)
    if (status === 0) {
      this.#onConnected = onConnected
      this.#updateAlive()
    }
    return status
  }

  // --- receiving ------------------------------------------------------------------------------------------------

  /** From now on what arrives is delivered; first what was kept. */
  readStart(): void {
    this.#reading = true
    if (this.#held.length > 0) this.#deliverHeldLater()
    else this.#receive()
    this.#updateAlive()
  }

  /** After this nothing is delivered until readStart. */
  readStop(): void {
    this.#reading = false
    this.#updateAlive()
  }

  #receive(): void {
    if (this.#ended || this.#isClosing || !this.#receiving.isIdle) return
    this.#receiving.submit()
    this.driver.queue(Op.receive, this.id, 0, 0)
  }

  /** Gives back bytes of the call to onBytes that is running: they are delivered first after the next readStart (R1). */
  keep(memory: Buffer, offset: number, length: number): void {
    const copy = Buffer.allocUnsafeSlow(length)
    memory.copy(copy, 0, offset, offset + length)
    this.#held.unshift(copy)
    this.#stopReceiving()
  }

  /** Gives back an end that onEnd (0) or onReceiveError (-errno) told of: it is told again after what is kept (R1). */
  keepEnd(status: number): void {
    this.#held.push(status === 0 ? 'end' : status)
  }

  #hold(held: Held): void {
    this.#held.push(held)
    this.#stopReceiving()
  }

  #stopReceiving(): void {
    if (this.#receiving.cancel()) this.driver.queue(Op.cancel, this.id, Op.receive, 0)
  }

  /** One item in each immediate, so that ticks run between them as between libuv's callbacks (E2). */
  #deliverHeldLater(): void {
    if (this.#isDelivering) return
    this.#isDelivering = true
    setImmediate(() => {
      this.#isDelivering = false
      if (!this.#reading || this.#isClosing) return
      const held = this.#held.shift()
      if (this.#held.length > 0) this.#deliverHeldLater()
      else this.#receive()
      if (held !== undefined) this.#deliver(held)
    })
  }

  #deliver(held: Held): void {
    if (typeof held === 'object') this.#handler.onBytes(held, 0, held.length)
    else if (held === 'end') this.#handler.onEnd()
    else this.#handler.onReceiveError(held)
  }

  #received(result: number, more: boolean, offset: number): boolean {
    if (!this.#receiving.complete(more)) {
      this.driver.stray()
      return false
    }
    if (this.#isClosing) return false
    if (result > 0) {
      this.bytesReceived += result
      if (!this.#reading || this.#held.length > 0) {
        const copy = Buffer.allocUnsafeSlow(result)
        this.driver.pool.copy(copy, 0, offset, offset + result)
        this.#hold(copy)
        return false
      }
      // Before the handler runs: it may throw, and the operation must go on.
      if (!more) this.#receive()
      this.#handler.onBytes(this.driver.pool, offset, result)
      return true
    }
    if (result === Errno.ENOBUFS || result === Errno.ECANCELED) {
      if (this.#reading && this.#held.length === 0) this.#receive()
      return false
    }
    this.#ended = true
    this.#updateAlive()
    const last: Held = result === 0 ? 'end' : result
    if (this.#reading && this.#held.length === 0) this.#deliver(last)
    else this.#held.push(last)
    return true
  }

  // --- sending --------------------------------------------------------------------------------------------------

  /**
   * Accepts all of `bytes` (W1); the caller may do with its memory as it likes afterwards (W2). Large chunks are offered
   * to the kernel before it returns when `mayFinish` allows Sent.done as an answer. See Sent.
   */
  send(bytes: Uint8Array, request: SendRequest, mayFinish: boolean): number {
    const length = bytes.length
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    if (!this.#isSendIdle) return this.#wait({ bytes: copyOf(bytes), length, request })
    if (length <= copyBytesMax || (!mayFinish && length <= 4 * copyBytesMax)) {
      if (length === 0) return this.#sendNothing(request, mayFinish)
      const block = this.driver.arena.allocate(length)
      if (block >= 0) {
        this.driver.arena.bytes.set(bytes, block)
        return this.#sendBlock(block, length, request)
      }
    }
    return this.#sendNow(bytes, request, mayFinish)
  }

  /** Accepts `total` bytes of several chunks as one send. See send. */
  sendGather(
    chunks: readonly Uint8Array[],
    total: number,
    request: SendRequest,
    mayFinish: boolean,
  ): number {
    if (total > copyBytesMax || total === 0 || this.#refusal() !== 0 || !this.#isSendIdle) {
      return this.send(Buffer.concat(chunks, total), request, mayFinish)
    }
    const { arena } = this.driver
    const block = arena.allocate(total)
    if (block < 0) return this.send(Buffer.concat(chunks, total), request, mayFinish)
    let at = block
    for (const chunk of chunks) {
      arena.bytes.set(chunk, at)
      at += chunk.length
    }
    return this.#sendBlock(block, total, request)
  }

  /** Accepts a string as bytes. See send. */
  sendString(text: string, encoding: BufferEncoding, request: SendRequest): number {
    const isLatin1 = encoding === 'latin1' || encoding === 'binary'
    if (
      text.length > copyBytesMax ||
      text.length === 0 ||
      !(isLatin1 || encoding === 'utf8' || encoding === 'utf-8') ||
      this.#refusal() !== 0 ||
      !this.#isSendIdle
    ) {
      return this.send(Buffer.from(text, encoding), request, true)
    }
    const { arena } = this.driver
    const length = isLatin1 ? text.length : Buffer.byteLength(text, 'utf8')
    const block = length <= copyBytesMax ? arena.allocate(length) : -1
    if (block < 0) return this.send(Buffer.from(text, encoding), request, true)
    if (isLatin1) arena.bytes.latin1Write(text, block, length)
    else arena.bytes.utf8Write(text, block, length)
    return this.#sendBlock(block, length, request)
  }

  /**
   * Accepts `length` bytes of an arena block that the caller owns and lends. The block is the kernel's until onSent,
   * then the caller's again; it is never released here.
   */
  sendOwned(block: number, length: number, request: SendRequest): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    if (!this.#isSendIdle) return this.#wait({ block, length, request })
    if (length === 0) return this.#sendNothing(request, false)
    this.#sendBlock(block, length, request)
    this.#block = -1
    return Sent.pending
  }

  /**
   * Asks that the send of `request` end; onSent tells with how many bytes taken. A send that had not started ends with
   * none taken, and the stream goes on; one that was cut short poisons it (W5).
   */
  cancelSend(request: SendRequest): void {
    if (request === this.#request) {
      if (this.#sending.cancel()) this.driver.queue(Op.cancel, this.id, Op.send, 0)
      return
    }
    const index = this.#waiting.findIndex((waiting) => waiting.request === request)
    if (index < 0) return
    const [{ length }] = this.#waiting.splice(index, 1) as [WaitingSend]
    this.#waitingBytes -= length
    this.bytesAccepted -= length
    setImmediate(() => request.onSent(Errno.ECANCELED, 0))
  }

  /** Sends FIN after everything accepted so far (W3). 0: onShutdown follows. -errno: refused. */
  shutdown(request: ShutdownRequest): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    this.#shutdown = request
    if (this.#isSendIdle) this.driver.queue(Op.shutdown, this.id, 0, 0)
    this.#updateAlive()
    return 0
  }

  get #isSendIdle(): boolean {
    return this.#request === null
  }

  #refusal(): number {
    if (this.#poison !== 0) return this.#poison
    return this.#isClosing || this.#isClosed ? Errno.ECANCELED : 0
  }

  #wait(waiting: WaitingSend): number {
    this.#waiting.push(waiting)
    this.#waitingBytes += waiting.length
    this.bytesAccepted += waiting.length
    return Sent.pending
  }

  #sendNothing(request: SendRequest, mayFinish: boolean): number {
    if (mayFinish) return Sent.done
    this.#start(request, 0, -1, 0)
    setImmediate(() => this.#sent(0, 0))
    return Sent.pending
  }

  #sendBlock(block: number, length: number, request: SendRequest): number {
    this.bytesAccepted += length
    this.#start(request, length, block, 0)
    this.driver.queue(Op.send, this.id, block, length)
    return Sent.pending
  }

  #sendNow(bytes: Uint8Array, request: SendRequest, mayFinish: boolean): number {
    const { length } = bytes
    const taken = this.driver.native.sendNow(this.id, bytes, 0, length)
    if (taken < 0) {
      // Part of it may have left: nothing may follow it (W5).
      this.#poison = taken
      return taken
    }
    this.bytesAccepted += length
    if (taken < length) {
      this.#start(request, length - taken, -1, taken)
      return Sent.pending
    }
    if (mayFinish) return Sent.done
    this.#start(request, 0, -1, length)
    setImmediate(() => this.#sent(0, 0))
    return Sent.pending
  }

  #start(request: SendRequest, length: number, block: number, takenBefore: number): void {
    this.#sending.submit()
    this.#takenBefore = takenBefore
    this.#request = request
    this.#length = length
    this.#block = block
    if (!this.#isAlive) this.#updateAlive()
  }

  #sent(result: number, extra: number): boolean {
    if (!this.#sending.complete(false)) {
      this.driver.stray()
      return false
    }
    const request = this.#request!
    // A count other than the one asked for would be a defect of the driver; it must not pass for success.
    const status = result === this.#length ? 0 : result < 0 ? result : Errno.EPIPE
    const taken = this.#takenBefore + (result >= 0 ? result : extra)
    if (this.#block >= 0) this.driver.arena.release(this.#block)
    this.#block = -1
    this.#request = null
    const isUntouched = status === Errno.ECANCELED && taken === 0
    if (status < 0 && !isUntouched && this.#poison === 0) this.#poison = status
    if (this.#waiting.length > 0 || this.#shutdown !== null) this.#advance()
    if (this.#isAlive) this.#updateAlive()
    request.onSent(status, taken)
    return true
  }

  /** After a send has ended: starts the next one, or the shutdown, or fails what waited. */
  #advance(): void {
    if (this.#poison !== 0) {
      this.#failWaiting(this.#poison)
      return
    }
    if (this.#isClosing) return
    const next = this.#waiting.shift()
    if (next === undefined) {
      this.driver.queue(Op.shutdown, this.id, 0, 0)
      return
    }
    this.#waitingBytes -= next.length
    this.bytesAccepted -= next.length
    const answer =
      'bytes' in next
        ? this.send(next.bytes, next.request, false)
        : this.sendOwned(next.block, next.length, next.request)
    if (answer < 0) {
      setImmediate(() => next.request.onSent(answer, 0))
      this.#failWaiting(answer)
    }
  }

  /** Every waiting callback gets the error, once, each in its own turn so that one that throws stops no other. */
  #failWaiting(status: number): void {
    const waiting = this.#waiting
    const shutdown = this.#shutdown
    this.#waiting = []
    this.#waitingBytes = 0
    this.#shutdown = null
    for (const { request } of waiting) setImmediate(() => request.onSent(status, 0))
    if (shutdown !== null) setImmediate(() => shutdown.onShutdown(status))
  }

  // --- closing --------------------------------------------------------------------------------------------------

  /**
   * Ends everything in flight and closes the descriptor when the kernel holds nothing any more (C2, C4). Sends queued
   * before get one attempt (W6), then are cancelled; `reset` makes the peer see RST. onClosed comes last, once.
   */
  close(reset: boolean, onClosed: () => void): void {
    invariant(!this.#isClosing, 'a channel is closed once')
    this.#isClosing = true
    this.#onClosed = onClosed
    this.#held = []
    this.driver.queue(Op.close, this.id, reset ? 1 : 0, 0)
    this.#updateAlive()
  }

  #closed(): boolean {
    if (!this.#isClosing || this.#isClosed) {
      this.driver.stray()
      return false
    }
    this.#isClosed = true
    this.driver.unregister(this)
    this.#updateAlive()
    const onClosed = this.#onClosed!
    const hadWaiting = this.#waiting.length > 0 || this.#shutdown !== null
    if (hadWaiting) this.#failWaiting(Errno.ECANCELED)
    // After the callbacks of what was cancelled, as uv_close orders them.
    if (hadWaiting) setImmediate(onClosed)
    else onClosed()
    return true
  }

  // --- the rest -------------------------------------------------------------------------------------------------

  /** Whether a channel that reads keeps the event loop alive; true at first. Operations with an end always do. */
  setRef(on: boolean): void {
    this.#isRef = on
    this.#updateAlive()
  }

  get hasRef(): boolean {
    return this.#isRef
  }

  /** bind(2), see NativeDriver.bind. 0 or -errno. */
  bind(address: string, port: number, flags: number): number {
    return this.driver.native.bind(this.id, address, port, flags)
  }

  /** TCP_NODELAY. 0 or -errno. */
  setNoDelay(on: boolean): number {
    return this.driver.native.setNoDelay(this.id, on)
  }

  /** SO_KEEPALIVE; `seconds` of silence before the first probe, 0 leaves it. 0 or -errno. */
  setKeepAlive(on: boolean, seconds: number): number {
    return this.driver.native.setKeepAlive(this.id, on, seconds)
  }

  /** The descriptor, or -EBADF. It stays the channel's: it may be inspected, never closed. */
  get fd(): number {
    return this.driver.native.fd(this.id)
  }

  /** getsockname(2), or with `peer` getpeername(2). 0 or -errno. */
  name(peer: boolean, out: Partial<SocketName>): number {
    return this.driver.native.name(this.id, peer, out)
  }

  /** As libuv counts: a reading handle when it is ref'd; requests and closing handles always. */
  #updateAlive(): void {
    const isAlive =
      !this.#isClosed &&
      (this.#isClosing ||
        this.#onConnected !== null ||
        this.#request !== null ||
        this.#shutdown !== null ||
        (this.#isRef && this.#reading && !this.#ended))
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.driver.retain()
    else this.driver.release()
  }

  complete(opcode: number, result: number, flags: number, extra: number): boolean {
    switch (opcode) {
      case Op.receive:
        return this.#received(result, (flags & FLAG_MORE) !== 0, extra)
      case Op.send:
        return this.#sent(result, extra)
      case Op.shutdown: {
        const request = this.#shutdown
        this.#shutdown = null
        this.#updateAlive()
        request?.onShutdown(result)
        return request !== null
      }
      case Op.connect: {
        const onConnected = this.#onConnected
        this.#onConnected = null
        this.#updateAlive()
        onConnected?.(result)
        return onConnected !== null
      }
      case Op.close:
        return this.#closed()
      default:
        this.driver.stray()
        return false
    }
  }
}

function copyOf(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  copy.set(bytes)
  return copy
}
