/**
 * One stream socket at callback level: what adapters and the ownership API stand on. Owns the socket's endpoint, its two
 * halves and what it does for the life of the event loop. It makes no promise, no event and no stream; it calls its
 * handler always from the event loop and never from inside a call to it.
 */
import { CloseHow, FLAG_MORE, Op } from './binding'
import type { SocketName } from './binding'
import type { Driver, Endpoint } from './driver'
import { invariant } from './errors'
import { ReceiveSide } from './receive-side'
import type { ChannelHandler } from './receive-side'
import { SendSide, encoded } from './send-side'
import type { SendEntry, SendRequest, ShutdownRequest } from './send-side'

export type { SocketName } from './binding'
export type { ChannelHandler } from './receive-side'
export { Sent, encoded } from './send-side'
export type { SendEntry, SendRequest, ShutdownRequest } from './send-side'

/** For sends whose end interests nobody. */
const ignored: SendRequest = { onSent() {} }

export class Channel implements Endpoint {
  readonly id: number
  readonly driver: Driver

  readonly #receive: ReceiveSide
  readonly #send: SendSide
  #onConnected: ((status: number) => void) | null = null
  #onClosed: (() => void) | null = null
  #isClosing = false
  #isClosed = false
  /** Whether this channel is counted as keeping the event loop alive. */
  #isAlive = false

  /** Takes over endpoint `id` of `driver`, which stays open until close(). */
  constructor(driver: Driver, id: number, handler: ChannelHandler) {
    this.driver = driver
    this.id = id
    this.#receive = new ReceiveSide(driver, id, handler, () => this.#updateAlive())
    this.#send = new SendSide(driver, id, () => this.#updateAlive())
    driver.register(this)
  }

  /** Replaces the handler, for whoever takes the channel over. */
  set handler(handler: ChannelHandler) {
    this.#receive.handler = handler
  }

  // --- connecting -----------------------------------------------------------------------------

  /** Starts a connect. 0: onConnected follows with 0 or -errno. -errno: refused, nothing follows. */
  connect(address: string, port: number, onConnected: (status: number) => void): number {
    const status = this.driver.native.connect(this.id, address, port)
    if (status === 0) {
      this.#onConnected = onConnected
      this.#updateAlive()
    }
    return status
  }

  // --- receiving ------------------------------------------------------------------------------

  get isReading(): boolean {
    return this.#receive.isReading
  }

  /** From now on what arrives is delivered; first what was kept. */
  readStart(): void {
    this.#receive.start()
    this.#updateAlive()
  }

  /** After this nothing is delivered until readStart. */
  readStop(): void {
    this.#receive.stop()
    this.#updateAlive()
  }

  /** Gives back bytes that onBytes brought: they are delivered first after the next readStart (R1). Copies them. */
  keep(memory: Buffer, offset: number, length: number): void {
    this.#receive.keep(memory, offset, length)
  }

  /** Gives back an end that onEnd (0) or onReceiveError (-errno) told of: it is told again after what is kept (R1). */
  keepEnd(status: number): void {
    this.#receive.keepEnd(status)
  }

  // --- sending --------------------------------------------------------------------------------

  /** Bytes accepted by the send calls so far. */
  get bytesAccepted(): number {
    return this.#send.bytesAccepted
  }

  /** Bytes accepted that the kernel has not taken yet. Asks the driver. */
  get sendQueueBytes(): number {
    return this.#send.queuedBytes
  }

  /** Sends that wait for the one in flight. */
  get waitingSends(): number {
    return this.#send.waitingSends
  }

  /**
   * Accepts all of `bytes` (W1); the caller may do with its memory as it likes afterwards (W2). Answers as Sent says;
   * `mayFinish` allows Sent.done.
   */
  send(bytes: Uint8Array, request: SendRequest, mayFinish: boolean): number {
    return this.#sending(this.#send.send(bytes, request, mayFinish))
  }

  /** Accepts a string as bytes; Sent.done is allowed. See send. */
  sendString(text: string, encoding: BufferEncoding, request: SendRequest): number {
    return this.#sending(this.#send.sendString(text, encoding, request))
  }

  /** Accepts several chunks, strings among them, as one send; Sent.done is allowed. See send. */
  sendEntries(entries: readonly SendEntry[], request: SendRequest): number {
    return this.#sending(this.#send.sendEntries(entries, request))
  }

  /** Accepts chunks that nobody waits for any more: the stream, or the process, is about to end (W6). */
  sendLast(entries: readonly SendEntry[]): void {
    for (const entry of entries) {
      if (this.send(encoded(entry), ignored, false) < 0) return
    }
  }

  /**
   * Accepts `length` bytes of an arena block that the caller owns and lends. The block is the kernel's until onSent,
   * then the caller's again; it is never released here. Never Sent.done.
   */
  sendOwned(block: number, length: number, request: SendRequest): number {
    return this.#sending(this.#send.sendOwned(block, length, request))
  }

  /**
   * Asks that the send of `request` end; onSent tells with how many bytes taken. A send that had not started ends with
   * none taken, and the stream goes on; one that was cut short poisons it (W5).
   */
  cancelSend(request: SendRequest): void {
    this.#send.cancel(request)
  }

  /** Sends FIN after everything accepted so far (W3). 0: onShutdown follows. -errno: refused. */
  shutdown(request: ShutdownRequest): number {
    return this.#sending(this.#send.shutdown(request))
  }

  /** Offers the kernel what waits to be sent, without waiting: the process, or this channel, is about to end (W6). */
  flush(): void {
    this.#receive.handler.onFlush?.()
    this.#send.flush()
  }

  #sending(answer: number): number {
    if (!this.#isAlive) this.#updateAlive()
    return answer
  }

  // --- closing --------------------------------------------------------------------------------

  get isClosing(): boolean {
    return this.#isClosing
  }

  /**
   * Ends everything in flight and closes the descriptor when the kernel holds nothing any more (C2, C4). Sends queued
   * before get one attempt (W6), then are cancelled; `reset` makes the peer see RST. onClosed comes last, once.
   */
  close(reset: boolean, onClosed: () => void): void {
    invariant(!this.#isClosing, 'a channel is closed once')
    this.#isClosing = true
    this.#onClosed = onClosed
    const how = this.#receive.close() ? CloseHow.unread : CloseHow.orderly
    this.#send.close()
    this.driver.queue(Op.close, this.id, reset ? CloseHow.reset : how, 0)
    // At once, so that the peer sees it before anything that is done later in this tick, as with close(2).
    this.driver.native.take()
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
    // After the callbacks of what was cancelled, as uv_close orders them.
    if (this.#send.abandon()) this.driver.defer(onClosed)
    else onClosed()
    return true
  }

  // --- the rest -------------------------------------------------------------------------------

  /** getsockname(2), or with `peer` getpeername(2). 0 or -errno. */
  name(peer: boolean, out: Partial<SocketName>): number {
    return this.driver.native.name(this.id, peer, out)
  }

  /** The descriptor, or -EBADF. It stays the channel's: for tests, which inspect it. */
  get fd(): number {
    return this.driver.native.fd(this.id)
  }

  /** Operations with an end, and reading, keep the event loop alive. */
  #updateAlive(): void {
    const isAlive =
      !this.#isClosed &&
      (this.#isClosing ||
        this.#onConnected !== null ||
        this.#send.isActive ||
        this.#receive.isActive)
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.driver.retain()
    else this.driver.release()
  }

  complete(opcode: number, result: number, flags: number, extra: number): boolean {
    try {
      switch (opcode) {
        case Op.receive:
          return this.#receive.complete(result, (flags & FLAG_MORE) !== 0, extra)
        case Op.send:
          return this.#send.complete(result, extra)
        case Op.shutdown:
          return this.#send.completeShutdown(result)
        case Op.connect:
          return this.#connected(result)
        case Op.close:
          return this.#closed()
        default:
          this.driver.stray()
          return false
      }
    } finally {
      // Also when a callback throws. Nobody is told twice, so this may come after the callbacks.
      if (this.#isAlive) this.#updateAlive()
    }
  }

  #connected(status: number): boolean {
    const onConnected = this.#onConnected
    if (onConnected === null) {
      this.driver.stray()
      return false
    }
    this.#onConnected = null
    onConnected(status)
    return true
  }
}
