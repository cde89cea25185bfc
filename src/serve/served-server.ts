/**
 * A server of Node's (net, tls, http, https, http2) in a serving thread: put on the driver, listening on a descriptor of the
 * thread's socket, and its end in good order. Owns the count of its connections; never what is said on them.
 */
import { ServerResponse } from 'node:http'
import type { Http2Session } from 'node:http2'
import * as net from 'node:net'
import { httpConnections, idleHttpConnections } from '../adapters/node/http-connections'
import { attach } from '../adapters/net-server'
import { driver } from '../adapters/driver-info'
import { makeActive } from '../core/active'
import { UringError, systemError } from '../core/errors'
import type { Counters } from './messages'
import type { Served } from './served'

/** How often it is looked for connections that have become idle. */
const idleEveryMs = 50

export class ServedServer implements Served {
  readonly kind = 'server'
  accepted = 0
  readonly over: Promise<void>
  readonly #server: net.Server
  readonly #sockets = new Set<net.Socket>()
  readonly #sessions = new Set<Http2Session>()
  /** The response on each connection that was last told to be the last one. */
  readonly #last = new WeakMap<net.Socket, ServerResponse>()
  #isFinishing = false

  /** Throws ERR_INVALID_ARG_TYPE for what is no server, ERR_SERVER_ALREADY_LISTEN for one that listens. */
  constructor(server: net.Server) {
    this.#server = attach(server)
    server.on('connection', (socket: net.Socket) => this.#connected(socket))
    server.on('session', (session: Http2Session) => this.#sessionMade(session))
    this.over = new Promise((resolve) => server.once('close', resolve))
  }

  #connected(socket: net.Socket): void {
    this.accepted++
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #sessionMade(session: Http2Session): void {
    this.#sessions.add(session)
    session.once('close', () => this.#sessions.delete(session))
    // Its first request is on the way.
    if (this.#isFinishing) session.once('stream', () => session.close())
  }

  async listen(fd: number, backlog: number): Promise<void> {
    const binding = makeActive((active) => active)
    if (binding === undefined) {
      throw new UringError('ERR_URING_DRIVER', `uring-net/serve needs a driver: ${driver.reason}`)
    }
    const own = binding.duplicate(fd)
    if (own < 0) throw systemError(own, 'listen')
    const server = this.#server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ fd: own, backlog, exclusive: true }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  }

  stopListening(): Promise<void> {
    // Not http's own close(): see idleHttpConnections.
    net.Server.prototype.close.call(this.#server)
    return Promise.resolve()
  }

  finish(): void {
    this.#isFinishing = true
    for (const session of this.#sessions) session.close()
    for (const { _httpMessage: response, parser } of httpConnections(this.#server)) {
      // With another request behind it, which waits for its turn, it is not the last.
      if (response != null && response.req === parser?.incoming) this.#makeLast(response)
    }
    this.#server.prependListener('request', (_request, response: unknown) => {
      if (response instanceof ServerResponse) this.#makeLast(response)
    })
    this.#closeIdle()
    const timer = setInterval(() => this.#closeIdle(), idleEveryMs)
    void this.over.then(() => clearInterval(timer))
  }

  /** Says `Connection: close` with it, which ends the connection when it is sent. */
  #makeLast(response: ServerResponse): void {
    const { socket } = response.req
    const before = this.#last.get(socket)
    if (before !== undefined && !before.headersSent) before.shouldKeepAlive = true
    if (response.headersSent || !response.shouldKeepAlive) return
    response.shouldKeepAlive = false
    this.#last.set(socket, response)
  }

  #closeIdle(): void {
    for (const socket of idleHttpConnections(this.#server)) socket.destroy()
  }

  destroy(): void {
    for (const session of this.#sessions) session.destroy()
    for (const socket of this.#sockets) socket.destroy()
  }

  counters(): Counters {
    const { accepted } = this
    return { accepted, open: this.#sockets.size, driverName: driver.name, driver: driver.stats() }
  }
}
