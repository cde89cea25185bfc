/**
 * The ownership API over one acceptor: connections are pulled with accept() or by iteration. Owns connections that were
 * accepted and not yet taken, at most `waitingMax` of them; beyond that it stops accepting and they wait in the kernel's
 * backlog.
 */
import { isIP } from 'node:net'
import { Acceptor } from './acceptor'
import type { AcceptorHandler } from './acceptor'
import { requireDriver } from './active'
import type { SocketName } from './binding'
import { requireValid, watch } from './cancellation'
import type { Cancellable } from './cancellation'
import { Connection } from './connection'
import type { Driver, SocketFamily } from './driver'
import { invalidArgument, outOfRange, systemError } from './errors'
import { requireNet } from './permission'

/** Where to listen: a TCP port (0: any free one; host is an address, default '::' with IPv4) or a Unix socket path. */
export type ListenOptions = (
  | { port: number; host?: string; path?: undefined }
  | { path: string; port?: undefined; host?: undefined }
) & {
  /** Connections that may wait in the kernel. Default 511. */
  backlog?: number
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
  readonly acceptor: Acceptor
  /** Ids of accepted endpoints that nobody has taken. */
  accepted: number[] = []
  waiters: Waiter[] = []
  error: Error | null = null

  constructor(driver: Driver, id: number) {
    this.driver = driver
    this.acceptor = new Acceptor(driver, id, this)
  }

  onAccept(id: number): void {
    const waiter = this.waiters.shift()
    if (waiter !== undefined) {
      waiter.resolve(new Connection(this.driver, id))
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

/** Accepts connections: accept() for the next one, `for await` for all. What is accepted and not taken waits here, bounded. */
export class Listener {
  readonly #accepting: Accepting
  #closing: Promise<void> | null = null

  /** @internal Takes over endpoint `id`, a bound socket. */
  constructor(driver: Driver, id: number) {
    this.#accepting = new Accepting(driver, id)
    abandoned.register(this, this.#accepting, this)
  }

  /** @internal */
  start(address: string, port: number, backlog: number): number {
    const { acceptor } = this.#accepting
    const status = acceptor.bind(address, port, 0)
    return status === 0 ? acceptor.listen(backlog) : status
  }

  /**
   * The next connection, or null once the listener is closed. Rejects with the system error of accept(2), with the signal's
   * reason, or with ETIMEDOUT.
   */
  async accept(options: Cancellable = {}): Promise<Connection | null> {
    requireValid(options)
    const accepting = this.#accepting
    const id = accepting.accepted.shift()
    if (id !== undefined) {
      if (accepting.accepted.length === waitingMax - 1) accepting.acceptor.resume()
      return new Connection(accepting.driver, id)
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
        unwatch = watch(options, 'accept', (reason) => {
          accepting.waiters = accepting.waiters.filter((other) => other !== waiter)
          reject(reason)
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
    const status = this.#accepting.acceptor.name(out)
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

/**
 * Listens. Rejects with Node's error (code, errno, syscall, address, port); with ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE,
 * ERR_SOCKET_BAD_PORT or ERR_OUT_OF_RANGE for bad options.
 */
export function listen(options: ListenOptions): Promise<Listener> {
  return new Promise((resolve) => resolve(listenNow(options)))
}

function listenNow(options: ListenOptions): Listener {
  const { family, address, port, backlog } = checked(options)
  const driver = requireDriver()
  requireNet(options.path)
  const id = driver.open(family)
  if (id < 0) throw systemError(id, 'listen', address, port)
  const listener = new Listener(driver, id)
  const status = listener.start(address, port, backlog)
  if (status === 0) return listener
  void listener.close()
  throw systemError(status, 'listen', address, port)
}

interface Where {
  family: SocketFamily
  address: string
  port: number
  backlog: number
}

function checked(options: unknown): Where {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object with a port or a path', options)
  }
  const { port, host = '::', path, backlog = 511 } = options as Record<string, unknown>
  if (!Number.isInteger(backlog) || (backlog as number) < 0 || (backlog as number) > 0x7fffffff) {
    throw outOfRange(`backlog is 0 to ${0x7fffffff}. Received ${String(backlog)}`)
  }
  if (path !== undefined) {
    if (typeof path !== 'string') throw invalidArgument('path', 'a string', path)
    return { family: 'unix', address: path, port: 0, backlog: backlog as number }
  }
  if (port === undefined) {
    throw Object.assign(new TypeError('listen() needs a port or a path'), {
      code: 'ERR_INVALID_ARG_VALUE',
    })
  }
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65535) {
    throw Object.assign(
      new RangeError(`port should be >= 0 and < 65536. Received ${String(port)}.`),
      {
        code: 'ERR_SOCKET_BAD_PORT',
      },
    )
  }
  const literal = typeof host === 'string' ? isIP(host) : 0
  if (literal === 0) {
    throw Object.assign(new TypeError(`listen() takes an IP address, not '${String(host)}'`), {
      code: 'ERR_INVALID_ARG_VALUE',
    })
  }
  const family = literal === 4 ? 'inet' : 'inet6'
  return { family, address: host as string, port: port as number, backlog: backlog as number }
}
