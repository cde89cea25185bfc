/**
 * The ownership API over one channel: what is lent comes back, what is dropped is cancelled. Owns the channel until an
 * adapter takes it over. Back-pressure is the caller's pull: nothing is received that no receive() asked for, beyond
 * what one completion carried.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { active } from './active'
import type { SocketName } from './binding'
import { watch } from './cancellation'
import type { Cancellable } from './cancellation'
import { Channel } from './channel'
import type { ChannelHandler } from './channel'
import type { Completion } from './completion'
import type { Driver, SocketFamily } from './driver'
import { Errno, UringError, systemError } from './errors'
import type { Lease } from './lease'
import { Pool } from './pool'

/** Where to connect: a TCP port (host is a name or an address, default localhost) or a Unix socket path. */
export type ConnectOptions = Cancellable &
  (
    | { port: number; host?: string; path?: undefined }
    | { path: string; port?: undefined; host?: undefined }
  ) & {
    /** Where received bytes are put. Default: one pool for each driver. */
    pool?: Pool
  }

/** Sends that may wait on one connection; more are refused with ENOBUFS, nothing of them taken. */
const waitingSendsMax = 1024

const defaultPools = new WeakMap<Driver, Pool>()

/** @internal The pool that connections use when none is given. */
export function defaultPool(driver: Driver): Pool {
  let pool = defaultPools.get(driver)
  if (pool === undefined) {
    pool = new Pool(driver)
    defaultPools.set(driver, pool)
  }
  return pool
}

/** @internal This thread's driver; throws when node:net is passed through, which has no ownership API. */
export function requireDriver(): Driver {
  if (active.driver === undefined) {
    throw new UringError('ERR_URING_DRIVER', `uring-net/core needs a driver: ${active.reason}`)
  }
  return active.driver
}

interface Receiver {
  resolve(lease: Lease | null): void
  reject(error: unknown): void
  /** Keeps a connection that somebody waits on from being collected. */
  readonly connection: Connection
}

/** What the channel calls. It does not know its Connection, so that one nobody holds can be collected and closed (C3). */
class Receiving implements ChannelHandler {
  readonly channel: Channel
  readonly pool: Pool
  receiver: Receiver | null = null
  #ready: Lease[] = []
  /** How receiving ended: 0 for end of stream, else -errno. Undefined while it has not. */
  #end: number | undefined
  #error: Error | undefined
  #isWaitingForPool = false

  constructor(driver: Driver, id: number, pool: Pool) {
    this.pool = pool
    this.channel = new Channel(driver, id, this)
  }

  /** Serves the receiver from what is there, or starts the channel. */
  pull(): void {
    const { receiver } = this
    if (receiver === null) return
    const lease = this.#ready.shift()
    if (lease !== undefined) {
      this.receiver = null
      receiver.resolve(lease)
    } else if (this.#error !== undefined) {
      this.receiver = null
      receiver.reject(this.#error)
    } else if (this.#end !== undefined) {
      this.receiver = null
      if (this.#end === 0) receiver.resolve(null)
      else receiver.reject(systemError(this.#end, 'read'))
    } else if (this.pool.available > 0) {
      this.channel.readStart()
    } else if (!this.#isWaitingForPool) {
      this.#isWaitingForPool = true
      this.pool.whenAvailable(() => {
        this.#isWaitingForPool = false
        this.pull()
      })
    }
  }

  onBytes(memory: Buffer, offset: number, length: number): void {
    const end = offset + length
    let at = offset
    while (at < end) {
      const lease = this.pool.acquire()
      if (lease === undefined) {
        this.channel.keep(memory, at, end - at)
        break
      }
      const size = Math.min(lease.capacity, end - at)
      lease.fill(this.pool.driver.arena.bytes, memory, at, size)
      this.#ready.push(lease)
      at += size
    }
    this.channel.readStop()
    this.pull()
  }

  onEnd(): void {
    this.#end = 0
    this.pull()
  }

  onReceiveError(errno: number): void {
    this.#end = errno
    this.pull()
  }

  /** No more leases: those that wait go back to the pool, the receiver learns why. */
  fail(error: Error): void {
    this.#error = error
    for (const lease of this.#ready) lease.release()
    this.#ready = []
    this.pull()
  }

  /** Puts what was received and not taken back into the channel, for whoever takes that over (R1). */
  surrender(): void {
    for (const lease of this.#ready.reverse()) {
      const { bytes } = lease
      this.channel.keep(Buffer.from(bytes), 0, bytes.length)
      lease.release()
    }
    this.#ready = []
    if (this.#end !== undefined) this.channel.keepEnd(this.#end)
  }
}

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
  constructor(driver: Driver, id: number, pool: Pool) {
    this.#receiving = new Receiving(driver, id, pool)
    this.channel = this.#receiving.channel
    abandoned.register(this, this.channel, this)
  }

  /**
   * The next bytes, as a lease that is the caller's: release it, or send it on. Null at the end of the stream. Rejects
   * with the system error when receiving failed, with the signal's reason when aborted: bytes that arrive later are
   * kept for the next receive (R1). One at a time: ERR_URING_RECEIVE_PENDING.
   */
  async receive({ signal }: Cancellable = {}): Promise<Lease | null> {
    this.#requireOpen()
    const receiving = this.#receiving
    if (receiving.receiver !== null) {
      throw new UringError('ERR_URING_RECEIVE_PENDING', 'a receive() is waiting already')
    }
    let unwatch = (): void => {}
    try {
      return await new Promise<Lease | null>((resolve, reject) => {
        const receiver = { resolve, reject, connection: this }
        unwatch = watch(signal, () => {
          if (receiving.receiver !== receiver) return
          receiving.receiver = null
          this.channel.readStop()
          reject(signal!.reason as Error)
        })
        receiving.receiver = receiver
        receiving.pull()
      })
    } finally {
      unwatch()
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
   * Sends all of a lease's bytes without copying them, or a copy of `bytes`. Never rejects for what the network does:
   * the completion carries the error and how many bytes were taken, and the buffer in either case. Sends leave in the
   * order of the calls. A lease is unusable until then.
   */
  async send<Bytes extends Lease | Uint8Array>(
    bytes: Bytes,
    { signal }: Cancellable = {},
  ): Promise<Completion<Bytes>> {
    this.#requireOpen()
    signal?.throwIfAborted()
    return await new Promise((resolve) => {
      const isLease = !(ArrayBuffer.isView(bytes) as boolean)
      const lease = isLease ? (bytes as Lease) : null
      const { length } = bytes
      let unwatch = (): void => {}
      const request = {
        onSent(status: number, taken: number): void {
          unwatch()
          lease?.giveBack()
          resolve(
            status === 0
              ? { ok: true, result: length, buffer: bytes }
              : { ok: false, error: systemError(status, 'write'), result: taken, buffer: bytes },
          )
        },
      }
      if (this.channel.waitingSends >= waitingSendsMax) {
        const error = systemError(Errno.ENOBUFS, 'write')
        resolve({ ok: false, error, result: 0, buffer: bytes })
        return
      }
      const status =
        lease === null
          ? this.channel.send(bytes as Uint8Array, request, false)
          : this.channel.sendOwned(lease.lend(), length, request)
      if (status < 0) request.onSent(status, 0)
      else unwatch = watch(signal, () => this.channel.cancelSend(request))
    })
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
   * Cancels what is in flight and closes. Sends get one attempt, without waiting; shutdown() first for an orderly end.
   * Resolves when the kernel holds nothing more. May be called again.
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
      this.#receiving.fail(new UringError('ERR_URING_CLOSED', 'the connection was closed'))
      this.channel.close(reset, resolve)
    })
    return this.#closing
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
    const status = this.channel.isClosing ? Errno.EBADF : this.channel.name(peer, out)
    return status === 0 && out.family !== undefined ? (out as SocketName) : undefined
  }

  /**
   * Hands the channel to an adapter, with what was received and not taken (R1). This connection is of no further use:
   * its methods throw ERR_URING_TAKEN.
   */
  take(): Channel {
    this.#requireOpen()
    if (this.#receiving.receiver !== null) {
      throw new UringError('ERR_URING_RECEIVE_PENDING', 'a receive() is waiting')
    }
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

/** Connects. Rejects with Node's error (code, errno, syscall, address, port), or with the signal's reason. */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const driver = requireDriver()
  const { signal } = options
  signal?.throwIfAborted()
  const target = await resolveTarget(options)
  signal?.throwIfAborted()
  const id = driver.open(target.family)
  if (id < 0) throw systemError(id, 'connect', target.address, target.port)
  const connection = new Connection(driver, id, options.pool ?? defaultPool(driver))
  const { channel } = connection
  let unwatch = (): void => {}
  try {
    await new Promise<void>((resolve, reject) => {
      const settle = (status: number): void => {
        if (status === 0) resolve()
        else reject(systemError(status, 'connect', target.address, target.port))
      }
      unwatch = watch(signal, () => reject(signal!.reason as Error))
      const status = channel.connect(target.address, target.port ?? 0, settle)
      if (status < 0) settle(status)
    })
    return connection
  } catch (error) {
    await connection.close()
    throw error
  } finally {
    unwatch()
  }
}

interface Target {
  family: SocketFamily
  address: string
  port?: number
}

async function resolveTarget(options: ConnectOptions): Promise<Target> {
  if (options.path !== undefined) return { family: 'unix', address: options.path }
  const { port } = options
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw Object.assign(new RangeError(`port should be >= 0 and < 65536. Received ${port}.`), {
      code: 'ERR_SOCKET_BAD_PORT',
    })
  }
  const host = options.host ?? 'localhost'
  const literal = isIP(host)
  if (literal !== 0) return { family: literal === 4 ? 'inet' : 'inet6', address: host, port }
  const { address, family } = await lookup(host)
  return { family: family === 4 ? 'inet' : 'inet6', address, port }
}
