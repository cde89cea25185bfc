/** How a connection of the ownership API comes to be: by connecting, or from a descriptor that somebody else opened. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { requireDriver } from './active'
import { requireValid, watch } from './cancellation'
import type { Cancellable } from './cancellation'
import { Connection } from './connection'
import type { SocketFamily } from './driver'
import { invalidArgument, outOfRange, systemError } from './errors'
import { requireNet } from './permission'

/** Where to connect: a TCP port (host is a name or an address, default localhost) or a Unix socket path. */
export type ConnectOptions = Cancellable &
  (
    | { port: number; host?: string; path?: undefined }
    | { path: string; port?: undefined; host?: undefined }
  )

/**
 * Connects. Rejects with Node's error (code, errno, syscall, address, port), with the signal's reason, or with ETIMEDOUT.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const driver = requireDriver()
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object with a port or a path', options)
  }
  requireValid(options)
  const { path } = options
  if (path !== undefined && typeof path !== 'string')
    throw invalidArgument('path', 'a string', path)
  requireNet(path)
  const cancelled = cancellation(options)
  try {
    const target = await Promise.race([resolveTarget(options), cancelled.promise])
    const id = driver.open(target.family)
    if (id < 0) throw systemError(id, 'connect', target.address, target.port)
    const connection = new Connection(driver, id)
    try {
      await Promise.race([connectTo(connection, target), cancelled.promise])
      return connection
    } catch (error) {
      await connection.close()
      throw error
    }
  } finally {
    cancelled.end()
  }
}

/** A promise that rejects when the operation is cancelled. */
function cancellation(options: Cancellable): { promise: Promise<never>; end: () => void } {
  let end = (): void => {}
  const promise = new Promise<never>((_resolve, reject) => {
    end = watch(options, 'connect', reject)
  })
  promise.catch(() => {})
  return { promise, end }
}

function connectTo({ channel }: Connection, { address, port }: Target): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (status: number): void => {
      if (status === 0) resolve()
      else reject(systemError(status, 'connect', address, port))
    }
    const status = channel.connect(address, port ?? 0, settle)
    if (status < 0) settle(status)
  })
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
  // An empty one is node:net's, too.
  const host = options.host || 'localhost'
  const literal = isIP(host)
  if (literal !== 0) return { family: literal === 4 ? 'inet' : 'inet6', address: host, port }
  const { address, family } = await lookup(host)
  return { family: family === 4 ? 'inet' : 'inet6', address, port }
}

/**
 * A connection from the descriptor of a connected TCP or Unix stream socket that another library opened. The descriptor is the
 * connection's from then on: it sets its mode, and closes it. Throws ERR_OUT_OF_RANGE for what is no descriptor, and the system
 * error for what is no such socket (EBADF, ENOTSOCK, EPROTOTYPE, ENOTCONN): then it stays the caller's.
 */
export function adopt(fd: number): Connection {
  if (!Number.isInteger(fd) || fd < 0 || fd > 2147483647) {
    throw outOfRange(`fd is a descriptor. Received ${fd}`)
  }
  const driver = requireDriver()
  requireNet()
  const id = driver.native.adopt(fd)
  if (id < 0) throw systemError(id, 'adopt')
  return new Connection(driver, id)
}
