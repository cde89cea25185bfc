/**
 * The ownership API over one channel: what is lent comes back, what is dropped is cancelled. Owns the channel until an
 * adapter takes it over. Back-pressure is the caller's pull: little is received that no receive() asked for.
 */
import { SocketOption } from './binding'
import type { SocketName } from './binding'
import { requireValid, watch } from './cancellation'
import type { Cancellable } from './cancellation'
import { Chain } from './chain'
import type { Channel } from './channel'
import type { Completion } from './completion'
import type { Driver } from './driver'
import { Errno, UringError, invalidArgument, outOfRange, systemError } from './errors'
import type { SystemError } from './errors'
import { FileSending } from './file-sending'
import type { OnTransferEnd } from './file-sending'
import { Lease } from './lease'
import { LeaseIterator } from './lease-iterator'
import { Receiving } from './receiving'
import type { Receiver } from './receiving'
import { withResolvers } from './resolvers'
import { openSource } from './send-file'
import type { FileSource, SendFileOptions } from './send-file'
import { Sending, partsOf, waitingSendsMax } from './sending'
import type { Sendable } from './sending'

/** How to receive, besides a signal and a timeout. */
export interface ReceiveOptions extends Cancellable {
  /** Memory for the bytes: a lease of a Pool or of a receive before. */
  into?: Lease | undefined
  /** Bytes to wait for, at most what `into` can hold. Default 1. */
  minimum?: number | undefined
}

/** How to pipe, besides a signal and a timeout. */
export interface PipeToOptions extends Cancellable {
  /** Bytes to send, if the stream does not end before. A safe integer from 1 on. Default: all. */
  length?: number | undefined
  /** Told after progress how many bytes the kernel has taken by now. */
  onProgress?: ((sent: number) => void) | undefined
}

const noOptions: ReceiveOptions = {}

const abandoned = new FinalizationRegistry<Receiving>((receiving) => {
  const { channel, hasUnread } = receiving
  if (channel.isClosing) return
  // Also so that the leases that wait come back: what holds them is what they go back to.
  receiving.fail(new UringError('ERR_URING_CLOSED', 'the connection was collected'))
  channel.close(hasUnread, () => {})
})

/**
 * A connection on the low-level API. It pulls: nothing is told, each operation answers with a promise, and every buffer that
 * was lent comes back with it. One reader and any number of senders at a time.
 */
export class Connection {
  readonly #receiving: Receiving
  /** @internal */
  readonly channel: Channel
  #closing: Promise<void> | null = null
  #isHandedOff = false
  /** What sends now, so that nobody else may. */
  #sender: 'a sendFile()' | 'a chain' | 'a pipeTo()' | undefined

  /** @internal Takes over endpoint `id`. */
  constructor(driver: Driver, id: number) {
    this.#receiving = new Receiving(driver, id)
    this.channel = this.#receiving.channel
    abandoned.register(this, this.#receiving, this)
  }

  /**
   * The next bytes, in the memory that the kernel has put them into, as a lease that is the caller's: release it, or send it
   * on. Null at the end of the stream. Rejects with the system error when receiving failed, with the signal's reason or
   * ETIMEDOUT when cancelled: bytes that arrive later are kept for the next receive (R1). One at a time:
   * ERR_URING_RECEIVE_PENDING. While 16 leases of this connection exist it waits for one to come back.
   *
   * With `into` the bytes are put into that lease, which is the kernel's until then; with `minimum` it waits for so many, or for
   * the end of the stream. When it is cancelled, what had come is the next receive's.
   */
  receive(options: ReceiveOptions = noOptions): Promise<Lease | null> {
    try {
      this.#requireOpen()
      requireValid(options)
      const { into, minimum = 1 } = options
      if (into !== undefined) requireRoom(into, minimum)
      this.#requireNoReceiver()
      if (into !== undefined) return this.#receiving.into(into, minimum, options, this)
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

  /** Leases until the end of the stream. Leaving the loop early, or an error, closes the connection (C3). */
  [Symbol.asyncIterator](): AsyncIterableIterator<Lease> {
    return new LeaseIterator(this)
  }

  /** @internal What each turn of a loop does. */
  wait(receiver: Receiver): void {
    this.#requireOpen()
    this.#requireNoReceiver()
    this.#receiving.wait(receiver)
  }

  /**
   * Sends all of a lease's bytes without copying them, or a copy of the bytes of any ArrayBufferView. Throws
   * ERR_INVALID_ARG_TYPE for anything else. Never rejects for what the network does: the completion carries the error, how
   * many bytes were taken, and the buffer in either case. Sends leave in the order of the calls. A lease is unusable until
   * then. Several, in an array, are sent as one, by one operation as far as it can take them. A send that is cancelled before
   * the kernel has taken a byte of it is left out, and later ones are sent; after one that was cut short nothing is.
   */
  send<Bytes extends Sendable | readonly Sendable[]>(
    bytes: Bytes,
    options: Cancellable = noOptions,
  ): Promise<Completion<Bytes>> {
    try {
      this.#requireOpen()
      this.#requireNoSender()
      const parts = partsOf(bytes)
      requireValid(options)
      const { promise, resolve } = withResolvers<Completion<Bytes>>()
      const sending = new Sending(bytes, parts, resolve)
      if (this.channel.waitingSends + parts.length > waitingSendsMax) {
        sending.refuse(Errno.ENOBUFS)
      } else {
        const status = sending.start(this.channel)
        if (status < 0) sending.onSent(status, 0)
        else sending.watch(options, this.channel)
      }
      return promise
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  /**
   * Sends a file, or a part of it, after everything sent before. It is read as fast as the peer takes it, 256 KiB at a time, and
   * never more than 512 KiB of it are in memory. Completes as send does, with the source as `buffer`. Rejects when the source
   * cannot be opened or is no regular file (EINVAL), with ERR_OUT_OF_RANGE for a range that is not within the file. Until then
   * other sends are refused: ERR_URING_SEND_PENDING. A file that becomes shorter meanwhile is EIO.
   */
  async sendFile<Source extends FileSource>(
    source: Source,
    options: SendFileOptions = {},
  ): Promise<Completion<Source>> {
    requireValid(options)
    return this.#exclusively('a sendFile()', async () => {
      const file = await openSource(source, options)
      try {
        return await transfer(source, options, (onEnd) => {
          const onProgress = options.onProgress ?? ignored
          const sending = FileSending.start(this.channel, file, onProgress, onEnd)
          if (typeof sending === 'number') throw systemError(sending, 'sendfile')
          return sending
        })
      } finally {
        await file.close()
      }
    })
  }

  /**
   * Sends all that arrives on to another connection, what was received and not taken first, until the end of the stream or until
   * `length` bytes are sent. The kernel moves the bytes from socket to socket (splice(2), by way of a pipe of 256 KiB), and only as
   * fast as the other one takes them. Where splice is refused (`driver.features`), or no descriptor is left for a pipe, they are
   * copied by way of a buffer. Nothing is shut down: what follows is the caller's. Completes as send does, with the other
   * connection as `buffer`; `error.syscall` is 'read' when this one has failed. What had come and was not taken is the next
   * receive's, however it ends. Until then other receives on this connection are refused with ERR_URING_RECEIVE_PENDING, other sends
   * on that one with ERR_URING_SEND_PENDING. Rejects for bad arguments.
   */
  async pipeTo(to: Connection, options: PipeToOptions = {}): Promise<Completion<Connection>> {
    this.#requireOpen()
    if (!Connection.#isConnection(to)) throw invalidArgument('to', 'a Connection', to)
    requireValid(options)
    const { length } = options
    if (length !== undefined && !(Number.isSafeInteger(length) && length >= 1)) {
      throw outOfRange(`length is a number of bytes from 1 on. Received ${String(length)}`)
    }
    this.#requireNoReceiver()
    return to.#exclusively('a pipeTo()', () =>
      transfer(to, options, (onEnd) => {
        const onProgress = options.onProgress ?? ignored
        return this.#receiving.pipe(to.channel, length ?? Infinity, onProgress, this, onEnd)
      }),
    )
  }

  static #isConnection(value: unknown): value is Connection {
    return typeof value === 'object' && value !== null && #receiving in value
  }

  async #exclusively<Result>(
    sender: 'a sendFile()' | 'a chain' | 'a pipeTo()',
    run: () => Promise<Result>,
  ): Promise<Result> {
    this.#requireOpen()
    this.#requireNoSender()
    this.#sender = sender
    try {
      return await run()
    } finally {
      this.#sender = undefined
    }
  }

  #requireNoSender(): void {
    if (this.#sender !== undefined) {
      throw new UringError('ERR_URING_SEND_PENDING', `${this.#sender} is under way`)
    }
  }

  /**
   * A chain of sends, a shutdown and a close on this connection. Nothing happens before its submit(): they are submitted as
   * one, run in order, and the first that fails stops those behind it.
   */
  chain(): Chain {
    return new Chain({
      channel: this.channel,
      exclusively: (run) => this.#exclusively('a chain', run),
      close: () => this.close(),
    })
  }

  /** Sends FIN after everything sent before (half-close). Rejects with the system error. */
  async shutdown(): Promise<void> {
    this.#requireOpen()
    this.#requireNoSender()
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
    if (this.#isHandedOff) return Promise.resolve()
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
   * @internal Hands the channel off to an adapter, with what was received and not taken (R1). This connection is of no further use:
   * its methods throw ERR_URING_HANDED_OFF.
   */
  handOff(): Channel {
    this.#requireOpen()
    this.#requireNoReceiver()
    this.#requireNoSender()
    this.#isHandedOff = true
    abandoned.unregister(this)
    this.channel.readStop()
    this.#receiving.surrender()
    return this.channel
  }

  #requireOpen(): void {
    if (this.#isHandedOff)
      throw new UringError('ERR_URING_HANDED_OFF', 'the connection was handed off to an adapter')
    if (this.#closing !== null) throw new UringError('ERR_URING_CLOSED', 'the connection is closed')
  }
}

function ignored(): void {}

/** The completion of what sends on its own until it ends, or is cancelled. */
function transfer<Lent>(
  buffer: Lent,
  options: Cancellable,
  start: (onEnd: OnTransferEnd) => { cancel(status: number): void },
): Promise<Completion<Lent>> {
  const { promise, resolve } = withResolvers<Completion<Lent>>()
  let unwatch = ignored
  let deadline: SystemError | undefined
  const transferring = start((status, result, failedIn) => {
    unwatch()
    if (status === 0) return resolve({ ok: true, result, buffer })
    resolve({ ok: false, error: deadline ?? systemError(status, failedIn), result, buffer })
  })
  unwatch = watch(options, 'write', (reason) => {
    const isDeadline = (reason as SystemError).errno === Errno.ETIMEDOUT
    if (isDeadline) deadline = reason as SystemError
    transferring.cancel(isDeadline ? Errno.ETIMEDOUT : Errno.ECANCELED)
  })
  return promise
}

function requireRoom(into: unknown, minimum: number): void {
  if (!Lease.isLease(into)) throw invalidArgument('into', 'a Lease', into)
  if (!Number.isInteger(minimum) || minimum < 1 || minimum > into.capacity) {
    throw outOfRange(`minimum is 1 to the ${into.capacity} bytes of the lease. Received ${minimum}`)
  }
}
