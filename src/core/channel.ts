/**
 * One stream socket at callback level: what adapters and the ownership API stand on. Owns the socket's endpoint, its two
 * halves and what it does for the life of the event loop. It makes no promise, no event and no stream; it calls its
 * handler always from the event loop and never from inside a call to it.
 */
import { Op } from './binding'
import type { SocketName } from './binding'
import type { Block } from './block'
import { copyOf } from './copy'
import type { Driver, Flushable } from './driver'
import { Errno, invariant } from './errors'
import { ReceiveSide } from './receive-side'
import type { Borrower, ChannelHandler, Held, Idling, OnReceived } from './receive-side'
import { SendSide, encoded } from './send-side'
import type { SendBorrower, SendEntry, SendPart, SendRequest, ShutdownRequest } from './send-side'

export type { SocketName } from './binding'
export type { ChannelHandler } from './receive-side'
export { encoded } from './send-side'
export type { SendEntry, SendPart, SendRequest, ShutdownRequest } from './send-side'

/** For sends whose end interests nobody. */
const ignored: SendRequest = { onSent() {} }

type Phase =
  | { state: 'open' }
  | { state: 'connecting' }
  | { state: 'closing'; onClosed: () => void }
  | { state: 'closed' }

const open: Phase = { state: 'open' }

export class Channel implements Flushable, Idling {
  readonly id: number
  readonly driver: Driver

  readonly #receive: ReceiveSide
  readonly #send: SendSide
  #phase = open
  /** Whether this channel is counted as keeping the event loop alive. */
  #isAlive = false

  /** Takes over endpoint `id` of `driver`, which stays open until close(). */
  constructor(driver: Driver, id: number, handler: ChannelHandler) {
    this.driver = driver
    this.id = id
    this.#receive = new ReceiveSide(driver, id, handler, this)
    this.#send = new SendSide(driver, id, this)
    driver.flushables.add(this)
  }

  /** Replaces the handler, for whoever takes the channel over. */
  set handler(handler: ChannelHandler) {
    this.#receive.handler = handler
  }

  // --- connecting -----------------------------------------------------------------------------

  /** Starts a connect. 0: onConnected follows with 0 or -errno. -errno: refused, nothing follows. */
  connect(address: string, port: number, onConnected: (status: number) => void): number {
    const complete = (status: number): void => {
      if (this.#phase.state === 'connecting') this.#phase = open
      this.#updateAlive()
      onConnected(status)
    }
    const token = this.driver.begin({ complete })
    const status = this.driver.native.connect(token, this.id, address, port)
    if (status !== 0) {
      this.driver.abandon(token)
      return status
    }
    this.#phase = { state: 'connecting' }
    this.#updateAlive()
    return 0
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

  /**
   * Receives into the first `length` bytes of a block that the caller lends, while nobody is reading: what was kept first.
   * onReceived follows once, see ReceiveSide.into.
   */
  receiveInto(block: Block, length: number, minimum: number, onReceived: OnReceived): void {
    this.#receive.into(block, length, minimum, onReceived)
    this.#updateAlive()
  }

  /** Asks that receiveInto end. */
  cancelReceiveInto(): void {
    this.#receive.cancelInto()
  }

  /**
   * Lends the socket's receiving side to somebody who calls the kernel on their own, while nobody is reading: onLent follows when
   * the kernel does not receive for this channel any more. They take what is kept first.
   */
  lendReceive(borrower: Borrower): void {
    this.#receive.lend(borrower)
  }

  /** What is kept, in order, which is the caller's. */
  takeHeld(): Held[] {
    return this.#receive.takeHeld()
  }

  /** Ends such a loan. `end`: how the stream has ended meanwhile, 0 or -errno; 1 when it goes on. */
  endReceiveLoan(end: number): void {
    this.#receive.endLoan(end)
  }

  /** Gives back a block that onBlock brought: it is delivered first after the next readStart (R1). */
  keep(block: Block, length: number): void {
    this.#receive.keep(block, length)
  }

  /** Gives back an end that onEnd (0) or onReceiveError (-errno) told of: it is told again after what is kept (R1). */
  unshiftEnd(status: number): void {
    this.#receive.unshiftEnd(status)
  }

  /**
   * The bytes of a block that onBlock brought, with memory of their own: that of the block if they fill half of it, else a
   * copy.
   */
  takeBytes(block: Block, length: number): Buffer {
    const isLarge = length >= block.size / 2
    const bytes = isLarge ? block.giveAway(length) : copyOf(block.bytes.subarray(0, length))
    block.renew()
    this.driver.blocks.releaseReceived(block)
    return bytes
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
   * Accepts all of `bytes` (W1), which are copied: the caller may do with its memory as it likes afterwards (W2). 0:
   * request.onSent follows. -errno: nothing was accepted and nothing follows.
   */
  send(bytes: Uint8Array, request: SendRequest): number {
    return this.#sending(this.#send.send(bytes, request))
  }

  /** Accepts several chunks, strings among them, as one send. See send. */
  sendEntries(entries: readonly SendEntry[], request: SendRequest): number {
    return this.#sending(this.#send.sendEntries(entries, request))
  }

  /** Accepts chunks that nobody waits for any more: the stream, or the process, is about to end (W6). */
  sendLast(entries: readonly SendEntry[]): void {
    for (const entry of entries) {
      if (this.send(encoded(entry), ignored) < 0) return
    }
  }

  /** Accepts the first `length` bytes of a block that the caller lends: it is the kernel's until onSent. See send. */
  sendBlock(block: Block, length: number, request: SendRequest): number {
    return this.#sending(this.#send.sendBlock(block, length, request))
  }

  /** A copy of bytes, as a part for sendAll. */
  copy(bytes: Uint8Array): { block: Block; length: number } {
    return this.#send.copy(bytes)
  }

  /** Accepts several parts as one send: they go out together, as far as one operation can take them. See send. */
  sendAll(parts: readonly SendPart[], request: SendRequest): number {
    return this.#sending(this.#send.sendAll(parts, request))
  }

  /**
   * Asks that the send of `request` end; onSent tells with how many bytes taken. A send of which nothing was taken is left
   * out, and the stream goes on; after one that was cut short nothing is sent any more (W5).
   */
  cancelSend(request: SendRequest): void {
    this.#send.cancel(request)
  }

  /**
   * Lends the socket's sending side to somebody who calls the kernel on their own: request.onSent tells that all that was accepted
   * before has been sent. -errno: refused, and nothing follows.
   */
  lendSend(borrower: SendBorrower, request: SendRequest): number {
    return this.#sending(this.#send.lend(borrower, request))
  }

  /** Ends such a loan. */
  endSendLoan(): void {
    this.#send.endLoan()
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
    const { state } = this.#phase
    return state === 'closing' || state === 'closed'
  }

  /**
   * Ends everything in flight and closes the descriptor when the kernel holds nothing any more (C2, C4). Sends queued
   * before get one attempt (W6), then are cancelled; `reset` makes the peer see RST. onClosed comes last, once.
   */
  close(reset: boolean, onClosed: () => void): void {
    invariant(!this.isClosing, 'a channel is closed once')
    this.#phase = { state: 'closing', onClosed }
    const { driver } = this
    const hasUnread = this.#receive.close()
    this.#send.close()
    const isReset = reset || hasUnread ? 1 : 0
    driver.start(
      { complete: () => this.#closed() },
      Op.close,
      this.id,
      isReset,
      this.#receive.receives,
    )
    // At once, so that the peer sees it before anything that is done later in this tick, as with close(2).
    driver.submit()
    driver.flushables.delete(this)
    this.#updateAlive()
  }

  #closed(): void {
    invariant(this.#phase.state === 'closing', 'a channel is closed once')
    const { onClosed } = this.#phase
    this.#phase = { state: 'closed' }
    this.#updateAlive()
    // After the callbacks of what was cancelled, as uv_close orders them.
    if (this.#send.abandon()) this.driver.defer(onClosed)
    else onClosed()
  }

  // --- the rest -------------------------------------------------------------------------------

  /** getsockname(2), or with `peer` getpeername(2). 0 or -errno. */
  name(peer: boolean, out: Partial<SocketName>): number {
    if (this.isClosing) return Errno.EBADF
    return this.driver.native.name(this.id, peer ? 1 : 0, out)
  }

  /** setsockopt(2) with one of SocketOption. 0 or -errno. */
  setOption(option: number, value: number): number {
    return this.isClosing ? Errno.EBADF : this.driver.native.setOption(this.id, option, value)
  }

  /** The descriptor, or -EBADF. It stays the channel's: for tests, which inspect it. */
  get fd(): number {
    return this.isClosing ? Errno.EBADF : this.driver.native.fd(this.id)
  }

  /** @internal See Idling. */
  onIdle(): void {
    this.#updateAlive()
  }

  /** Operations with an end, and reading, keep the event loop alive. */
  #updateAlive(): void {
    const { state } = this.#phase
    const isAlive =
      state === 'connecting' ||
      state === 'closing' ||
      (state === 'open' && (this.#send.isActive || this.#receive.isActive))
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.driver.retain()
    else this.driver.release()
  }
}
