/**
 * The ownership API over one channel: what is lent comes back, what is dropped is cancelled. Owns the channel until an
 * adapter takes it over. Back-pressure is the caller's pull: little is received that no receive() asked for.
 */
import { SocketOption } from './binding'
import type { SocketName } from './binding'
import { requireValid, watch } from './cancellation'
import type { Cancellable } from './cancellation'
import type { Channel, SendRequest } from './channel'
import type { Completion } from './completion'
import type { Driver } from './driver'
import { Errno, UringError, invalidArgument, outOfRange, systemError } from './errors'
import type { SystemError } from './errors'
import { Lease } from './lease'
import { Receiving } from './receiving'

/** Sends that may wait on one connection; more are refused with ENOBUFS, nothing of them taken. */
const waitingSendsMax = 1024

const noOptions: Cancellable = {}

const abandoned = new FinalizationRegistry<Channel>((channel) => {
  if (!channel.isClosing) channel.close(false, () => {})
})

export class Connection {
  readonly #receiving: Receiving
  /** @internal */
  readonly channel: Channel
  #closing: Promise<void> | null = null
  #isTaken = false

  /** @internal Takes over endpoint `id`. */
  constructor(driver: Driver, id: number) {
    this.#receiving = new Receiving(driver, id)
    this.channel = this.#receiving.channel
    abandoned.register(this, this.channel, this)
  }

  /**
   * The next bytes, in the memory that the kernel has put them into, as a lease that is the caller's: release it, or send it
   * on. Null at the end of the stream. Rejects with the system error when receiving failed, with the signal's reason or
   * ETIMEDOUT when cancelled: bytes that arrive later are kept for the next receive (R1). One at a time:
   * ERR_URING_RECEIVE_PENDING. While 16 leases of this connection exist it waits for one to come back.
   */
  receive(options: Cancellable = noOptions): Promise<Lease | null> {
    try {
      this.#requireOpen()
      requireValid(options)
      this.#requireNoReceiver()
      return this.#receiving.next(options, this)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  #requireNoReceiver(): void {
    if (this.#receiving.isWaitedFor) {
      throw new UringError('ERR_URING_RECEIVE_PENDING', 'a receive() is waiting already')
    }
  }

  /** Leases until the end of the stream. Leaving the loop early closes the connection (C3). */
  async *[Symbol.asyncIterator](): AsyncGenerator<Lease, void, void> {
    let isLeftEarly = true
    try {
      for (;;) {
        const lease = await this.receive()
        if (lease === null) {
          isLeftEarly = false
          return
        }
        yield lease
      }
    } finally {
      if (isLeftEarly) await this.close()
    }
  }

  /**
   * Sends all of a lease's bytes without copying them, or a copy of the bytes of any ArrayBufferView. Throws
   * ERR_INVALID_ARG_TYPE for anything else. Never rejects for what the network does: the completion carries the error, how
   * many bytes were taken, and the buffer in either case. Sends leave in the order of the calls. A lease is unusable until
   * then. A send that is cancelled before the kernel has taken a byte of it is left out, and later ones are sent; after one
   * that was cut short nothing is.
   */
  send<Bytes extends Lease | ArrayBufferView>(
    bytes: Bytes,
    options: Cancellable = noOptions,
  ): Promise<Completion<Bytes>> {
    try {
      this.#requireOpen()
      const lease = Lease.isLease(bytes) ? bytes : null
      const view = lease === null ? viewOf(bytes) : null
      requireValid(options)
      return new Promise((resolve) => {
        const sending = new Sending(bytes, lease, resolve)
        if (this.channel.waitingSends >= waitingSendsMax) return sending.refuse(Errno.ENOBUFS)
        const status =
          lease === null
            ? this.channel.send(view!, sending)
            : this.channel.sendBlock(lease.lend(this.channel.driver.native), lease.length, sending)
        if (status < 0) sending.onSent(status, 0)
        else sending.watch(options, this.channel)
      })
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  /** Sends FIN after everything sent before (half-close). Rejects with the system error. */
  async shutdown(): Promise<void> {
    this.#requireOpen()
    await new Promise<void>((resolve, reject) => {
      const settle = (status: number): void => {
        if (status === 0 || status === Errno.ENOTCONN) resolve()
        else reject(systemError(status, 'shutdown'))
      }
      const status = this.channel.shutdown({ onShutdown: settle })
      if (status < 0) settle(status)
    })
  }

  /** Closes so that the peer sees a reset; what was not sent is dropped. Resolves when the kernel holds nothing more. */
  reset(): Promise<void> {
    return this.#close(true)
  }

  /**
   * Cancels what is in flight and closes. Sends get one attempt, without waiting; shutdown() first for an orderly end. With
   * received bytes that nobody has taken the peer sees a reset, as after close(2). Resolves when the kernel holds nothing
   * more. May be called again.
   */
  close(): Promise<void> {
    return this.#close(false)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Starts the close without waiting for it. */
  [Symbol.dispose](): void {
    void this.close()
  }

  #close(reset: boolean): Promise<void> {
    if (this.#isTaken) return Promise.resolve()
    this.#closing ??= new Promise((resolve) => {
      abandoned.unregister(this)
      const isUnread = this.#receiving.hasUnread
      this.#receiving.fail(new UringError('ERR_URING_CLOSED', 'the connection was closed'))
      this.channel.close(reset || isUnread, resolve)
    })
    return this.#closing
  }

  // --- options and names --------------------------------------------------------------------------

  /** Sends small pieces at once instead of waiting for the peer's acknowledgement (TCP_NODELAY, tcp(7)). */
  setNoDelay(on = true): void {
    this.#setOption(SocketOption.noDelay, on ? 1 : 0)
  }

  /** Probes a silent peer, first after `delay` milliseconds (SO_KEEPALIVE, TCP_KEEPIDLE, tcp(7)). */
  setKeepAlive(on = false, delay = 0): void {
    if (!Number.isInteger(delay) || delay < 0) {
      throw outOfRange(`delay is a number of milliseconds. Received ${delay}`)
    }
    this.#setOption(SocketOption.keepAliveSeconds, on ? Math.max(1, Math.floor(delay / 1000)) : 0)
  }

  #setOption(option: number, value: number): void {
    this.#requireOpen()
    const status = this.channel.setOption(option, value)
    if (status < 0) throw systemError(status, 'setsockopt')
  }

  /** The local address; undefined for a Unix socket. */
  get localName(): SocketName | undefined {
    return this.#name(false)
  }

  /** The peer's address; undefined for a Unix socket. */
  get remoteName(): SocketName | undefined {
    return this.#name(true)
  }

  #name(peer: boolean): SocketName | undefined {
    const out: Partial<SocketName> = {}
    const status = this.channel.name(peer, out)
    return status === 0 && out.family !== undefined ? (out as SocketName) : undefined
  }

  /**
   * Hands the channel to an adapter, with what was received and not taken (R1). This connection is of no further use:
   * its methods throw ERR_URING_TAKEN.
   */
  take(): Channel {
    this.#requireOpen()
    this.#requireNoReceiver()
    this.#isTaken = true
    abandoned.unregister(this)
    this.channel.readStop()
    this.#receiving.surrender()
    return this.channel
  }

  #requireOpen(): void {
    if (this.#isTaken)
      throw new UringError('ERR_URING_TAKEN', 'an adapter took the connection over')
    if (this.#closing !== null) throw new UringError('ERR_URING_CLOSED', 'the connection is closed')
  }
}

/** A send whose completion resolves a promise. */
class Sending<Bytes extends Lease | ArrayBufferView> implements SendRequest {
  readonly #bytes: Bytes
  readonly #lease: Lease | null
  readonly #resolve: (completion: Completion<Bytes>) => void
  #unwatch: (() => void) | undefined
  /** The deadline that was over. A signal's reason is no system error: its completion says ECANCELED. */
  #deadline: SystemError | undefined

  constructor(
    bytes: Bytes,
    lease: Lease | null,
    resolve: (completion: Completion<Bytes>) => void,
  ) {
    this.#bytes = bytes
    this.#lease = lease
    this.#resolve = resolve
  }

  watch(options: Cancellable, channel: Channel): void {
    if (options === noOptions) return
    this.#unwatch = watch(options, 'write', (reason) => {
      if ((reason as SystemError).errno === Errno.ETIMEDOUT) this.#deadline = reason as SystemError
      channel.cancelSend(this)
    })
  }

  refuse(status: number): void {
    const error = systemError(status, 'write')
    this.#resolve({ ok: false, error, result: 0, buffer: this.#bytes })
  }

  onSent(status: number, taken: number): void {
    this.#unwatch?.()
    this.#lease?.giveBack()
    const buffer = this.#bytes
    if (status === 0) return this.#resolve({ ok: true, result: taken, buffer })
    const isDeadline = status === Errno.ECANCELED && this.#deadline !== undefined
    const error = isDeadline ? this.#deadline! : systemError(status, 'write')
    this.#resolve({ ok: false, error, result: taken, buffer })
  }
}

/** Any view as bytes; throws for what is none. */
export function viewOf(bytes: unknown): Uint8Array {
  if (!ArrayBuffer.isView(bytes)) {
    throw invalidArgument('bytes', 'a Lease, a TypedArray or a DataView', bytes)
  }
  if (bytes instanceof Uint8Array) return bytes
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
