/**
 * The ownership API over one acceptor: connections are pulled with accept() or by iteration. Owns connections that were
 * accepted and not yet taken, at most `waitingMax` of them; beyond that it stops accepting and they wait in the kernel's
 * backlog.
 */
import { isIP } from 'node:net'
import { Acceptor } from './acceptor'
import type { AcceptorHandler } from './acceptor'
import type { SocketName } from './binding'
import { watch } from './cancellation'
import type { Cancellable } from './cancellation'
import { Connection, defaultPool, requireDriver } from './connection'
import type { Driver, SocketFamily } from './driver'
import { Errno, systemError } from './errors'
import type { Pool } from './pool'

/** Where to listen: a TCP port (0: any free one; host is an address, default '::' with IPv4) or a Unix socket path. */
export type ListenOptions = (
  | { port: number; host?: string; path?: undefined }
  | { path: string; port?: undefined; host?: undefined }
) & {
  /** Connections that may wait in the kernel. Default 511. */
  backlog?: number
  /** Where the connections put received bytes. Default: one pool for each driver. */
  pool?: Pool
}

/** Accepted connections that may wait here. */
const waitingMax = 128

interface Waiter {
  resolve(connection: Connection | null): void
  reject(error: unknown): void
  /** Keeps a listener that somebody waits on from being collected. */
  readonly listener: Listener
}

/** What the acceptor calls. It does not know its Listener, so that one nobody holds can be collected and closed (C3). */
class Accepting implements AcceptorHandler {
  readonly driver: Driver
  readonly pool: Pool
  readonly acceptor: Acceptor
  /** Ids of accepted endpoints that nobody has taken. */
  accepted: number[] = []
  waiters: Waiter[] = []
  error: Error | null = null

  constructor(driver: Driver, id: number, pool: Pool) {
    this.driver = driver
    this.pool = pool
    this.acceptor = new Acceptor(driver, id, this)
  }

  onAccept(id: number): void {
    const waiter = this.waiters.shift()
    if (waiter !== undefined) {
      waiter.resolve(new Connection(this.driver, id, this.pool))
      return
    }
    this.accepted.push(id)
    if (this.accepted.length >= waitingMax) this.acceptor.pause()
  }

  onAcceptError(errno: number): void {
    const waiter = this.waiters.shift()
    const error = systemError(errno, 'accept')
    if (waiter !== undefined) waiter.reject(error)
    else this.error = error
  }

  close(onClosed: () => void): void {
    for (const id of this.accepted) this.driver.discard(id)
    this.accepted = []
    for (const waiter of this.waiters) waiter.resolve(null)
    this.waiters = []
    this.acceptor.close(onClosed)
  }
}

const abandoned = new FinalizationRegistry<Accepting>((accepting) => accepting.close(() => {}))

export class Listener {
  readonly #accepting: Accepting
  #closing: Promise<void> | null = null

  /** @internal Takes over endpoint `id`, a bound socket. */
  constructor(driver: Driver, id: number, pool: Pool) {
    this.#accepting = new Accepting(driver, id, pool)
    abandoned.register(this, this.#accepting, this)
  }

  /** @internal */
  start(address: string, port: number, backlog: number): number {
    const { acceptor } = this.#accepting
    const status = acceptor.bind(address, port, 0)
    return status === 0 ? acceptor.listen(backlog) : status
  }

  /** The next connection, or null once the listener is closed. Rejects with the system error of accept(2). */
  async accept({ signal }: Cancellable = {}): Promise<Connection | null> {
    signal?.throwIfAborted()
    const accepting = this.#accepting
    const id = accepting.accepted.shift()
    if (id !== undefined) {
      if (accepting.accepted.length === waitingMax - 1) accepting.acceptor.resume()
      return new Connection(accepting.driver, id, accepting.pool)
    }
    if (this.#closing !== null) return null
    if (accepting.error !== null) {
      const { error } = accepting
      accepting.error = null
      throw error
    }
    let unwatch = (): void => {}
    try {
      return await new Promise<Connection | null>((resolve, reject) => {
        const waiter = { resolve, reject, listener: this }
        unwatch = watch(signal, () => {
          accepting.waiters = accepting.waiters.filter((other) => other !== waiter)
          reject(signal!.reason as Error)
        })
        accepting.waiters.push(waiter)
      })
    } finally {
      unwatch()
    }
  }

  /** Connections until the listener is closed. Leaving the loop early closes it (C3). */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection, void, void> {
    try {
      for (;;) {
        const connection = await this.accept()
        if (connection === null) return
        yield connection
      }
    } finally {
      await this.close()
    }
  }

  /** The address listened on; undefined for a Unix socket, and after close. */
  get localName(): SocketName | undefined {
    const out: Partial<SocketName> = {}
    const status = this.#closing === null ? this.#accepting.acceptor.name(out) : Errno.EBADF
    return status === 0 && out.family !== undefined ? (out as SocketName) : undefined
  }

  /** Whether the listener keeps the event loop alive; true at first. */
  setRef(on: boolean): void {
    this.#accepting.acceptor.setRef(on)
  }

  /** Refuses connects from now on and closes connections that nobody has taken. May be called again. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      abandoned.unregister(this)
      this.#accepting.close(resolve)
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Listens. Rejects with Node's error (code, errno, syscall, address, port). */
export function listen(options: ListenOptions): Promise<Listener> {
  return new Promise((resolve) => resolve(listenNow(options)))
}

function listenNow(options: ListenOptions): Listener {
  const driver = requireDriver()
  const { port } = options
  const address = options.path ?? options.host ?? '::'
  const literal = options.path === undefined ? isIP(address) : 0
  if (options.path === undefined && literal === 0) {
    throw Object.assign(new TypeError(`listen() takes an IP address, not '${address}'`), {
      code: 'ERR_INVALID_ARG_VALUE',
    })
  }
  const family: SocketFamily =
    options.path !== undefined ? 'unix' : literal === 4 ? 'inet' : 'inet6'
  const id = driver.open(family)
  if (id < 0) throw systemError(id, 'listen', address, port)
  const listener = new Listener(driver, id, options.pool ?? defaultPool(driver))
  const status = listener.start(address, port ?? 0, options.backlog ?? 511)
  if (status === 0) return listener
  void listener.close()
  throw systemError(status, 'listen', address, port)
}
