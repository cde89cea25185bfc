/**
 * `Server extends net.Server`, and attach(), which puts any server built on net.Server (http, https, http2, tls) on the
 * active driver. Replaces one thing: what is done with the handle of an accepted connection. Listening and accepting are
 * Node's own.
 */
import { channel } from 'node:diagnostics_channel'
import * as net from 'node:net'
import { graftAccepted } from './handle-members'
import { Socket, inherit } from './net-socket'
import { stock } from './stock'

/** net.js's setupListenHandle; a path has port -1 and addressType -1. */
type Listen2 = (
  this: net.Server,
  address: string | null,
  port: number | null,
  addressType: number | null,
  backlog: number | undefined,
  fd: number | undefined,
  flags: number | undefined,
) => void

interface ServerInternals extends net.Server {
  _handle: object | null
  _listen2: Listen2
  _connections: number
  allowHalfOpen: boolean
  pauseOnConnect: boolean
  noDelay: boolean
  keepAlive: boolean
  /** Seconds. */
  keepAliveInitialDelay: number
  highWaterMark: number
  blockList?: unknown
}

/** net.js's listen, where the handle comes from. */
const base = (net.Server.prototype as ServerInternals)._listen2

type OnConnection = (this: object, status: number, accepted?: object) => void

interface Listening {
  onconnection?: OnConnection
}

/** For servers of a program that was never told: what they accept are net.Sockets. */
const listenEverywhere: Listen2 = function (...args) {
  base.apply(this, args)
  connectThrough(this as ServerInternals, (through, nodes, status, accepted) => {
    if (accepted !== undefined) graftAccepted(accepted)
    nodes.call(through, status, accepted)
  })
}

/** For servers that were put on the driver: what they accept are this package's Sockets. */
const listenOnDriver: Listen2 = function (...args) {
  const server = this as ServerInternals
  base.apply(server, args)
  connectThrough(server, (through, nodes, status, accepted) => {
    if (status !== 0 || accepted === undefined) return nodes.call(through, status, accepted)
    const mayDrop = server.maxConnections != null || server.blockList !== undefined
    if (mayDrop && isDropped(server, accepted, nodes)) return
    graftAccepted(accepted)
    connected(server, accepted)
  })
}

/** Gives what the server's handle accepts to `accept`, with the handle and net.js's own onconnection before it. */
function connectThrough(
  server: ServerInternals,
  accept: (through: object, nodes: OnConnection, status: number, accepted?: object) => void,
): void {
  // None when listening has failed. A cluster worker's may stand for a listening socket of the primary's.
  const handle = server._handle as Listening | null
  const nodes = handle?.onconnection
  if (typeof nodes !== 'function') return
  handle!.onconnection = function (status, accepted) {
    accept(this, nodes, status, accepted)
  }
}

/**
 * Whether net.js drops the connection, by the rules that its version has for maxConnections and block lists. It is asked to
 * take it, for a server that stops it where it would make the socket; what it drops, it has closed and told of.
 */
function isDropped(server: ServerInternals, accepted: object, nodes: OnConnection): boolean {
  const found = {}
  const asked = Object.create(server, {
    // The first thing it wants to know for the socket's constructor.
    allowHalfOpen: {
      get() {
        throw found
      },
    },
    emit: { value: server.emit.bind(server) },
  }) as object
  try {
    nodes.call({ [stock!.owner]: asked }, 0, accepted)
    return true
  } catch (error) {
    if (error !== found) throw error
    return false
  }
}

const serverSocketChannel = channel('net.server.socket')

function connected(server: ServerInternals, handle: object): void {
  const options = {
    handle,
    allowHalfOpen: server.allowHalfOpen,
    pauseOnCreate: server.pauseOnConnect,
    readable: true,
    writable: true,
    readableHighWaterMark: server.highWaterMark,
    writableHighWaterMark: server.highWaterMark,
  }
  const socket = new Socket(options) as Socket & { server: net.Server; _server: net.Server }
  if (server.noDelay) socket.setNoDelay(true)
  if (server.keepAlive) socket.setKeepAlive(true, server.keepAliveInitialDelay * 1000)
  server._connections++
  socket.server = server
  socket._server = server
  server.emit('connection', socket)
  if (serverSocketChannel.hasSubscribers) serverSocketChannel.publish({ socket })
}

type Listener = (socket: net.Socket) => void

function construct(
  this: unknown,
  options: net.ServerOpts,
  listener: Listener,
): net.Server | undefined {
  if (!(this instanceof Server)) return new Server(options, listener)
  ;(net.Server as unknown as (this: unknown, ...args: unknown[]) => void).call(
    this,
    options,
    listener,
  )
  return undefined
}
Object.defineProperty(construct, 'name', { value: 'Server' })

/** A net.Server on the active driver. Its connections are instances of this package's Socket. */
export type Server = net.Server
export const Server = inherit(construct, net.Server)

Object.defineProperty(Server.prototype, '_listen2', {
  value: listenOnDriver,
  writable: true,
  configurable: true,
})

/** As net.createServer, on the active driver. */
export const createServer = function createServer(
  options: net.ServerOpts,
  listener: Listener,
): net.Server {
  return new Server(options, listener)
} as typeof net.createServer

/**
 * Puts a server that is not listening yet on the active driver, and returns it: http, https, http2 (plain and secure),
 * tls, or any other that extends net.Server. Throws ERR_SERVER_ALREADY_LISTEN when it listens, ERR_INVALID_ARG_TYPE
 * when it is no net.Server.
 */
export function attach<S extends net.Server>(server: S): S {
  if (
    typeof (server as Partial<Pick<ServerInternals, '_listen2'>> | null)?._listen2 !== 'function'
  ) {
    throw Object.assign(new TypeError('The "server" argument must be an instance of net.Server'), {
      code: 'ERR_INVALID_ARG_TYPE',
    })
  }
  if (server.listening) {
    throw Object.assign(new Error('attach() must come before listen()'), {
      code: 'ERR_SERVER_ALREADY_LISTEN',
    })
  }
  Object.defineProperty(server, '_listen2', {
    value: listenOnDriver,
    writable: true,
    configurable: true,
  })
  return server
}

/** attach(server), then server.listen(...args). */
export function listen<S extends net.Server>(server: S, ...args: unknown[]): S {
  const attached = attach(server)
  ;(attached.listen as (...args: unknown[]) => unknown).apply(attached, args)
  return attached
}

/** From now on every server of this thread that is built on net.Server listens on the active driver, if there is one. */
export function installServerMembers(): void {
  if (stock === undefined) return
  Object.defineProperty(net.Server.prototype, '_listen2', {
    value: listenEverywhere,
    writable: true,
    configurable: true,
    enumerable: true,
  })
}
