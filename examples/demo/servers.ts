/**
 * The demo's listeners, all on adapted sockets: makes, binds, counts and closes them. What they answer is echo.ts's;
 * who looks at the numbers is live.ts's.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createSecureServer, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo, Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { WebSocketServer } from 'ws'
import { attach, createServer } from '../../src/index'
import type { Certificate } from './certificate'
import { echoMessages, echoStream, makeRequestHandler, type Response } from './echo'
import { portFlags, type Options, type PortName } from './options'

export type ListenerName = PortName | 'tcp6' | 'unix'

export interface Listener {
  name: ListenerName
  /** What it speaks, for people. */
  title: string
  /** Where to reach it, for people. */
  url: string
  host: string
  /** 0 for the Unix socket. */
  port: number
  /** '' for all but the Unix socket. */
  path: string
  /** Connections that are open now. */
  sockets: Set<Socket>
  /** Connections accepted so far. */
  accepted: number
}

export interface Servers {
  listeners: Listener[]
  /** Listeners that this machine has no address for, with the reason. */
  missing: string[]
  close(): Promise<void>
}

/** How long open connections may take to end by themselves at close. */
const CLOSE_GRACE_MS = 500

const WEBSOCKET_MESSAGE_BYTES_MAX = 32_000_000

interface Plan {
  name: ListenerName
  title: string
  url: (authority: string) => string
  server: Server
}

/** Starts every listener; when one cannot start, closes the others and throws a message that says what to do. */
export async function startServers(
  options: Options,
  certificate: Certificate,
  subscribe: (response: Response) => void,
): Promise<Servers> {
  const webSockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: WEBSOCKET_MESSAGE_BYTES_MAX,
  })
  const plans = makePlans(options, certificate, subscribe, webSockets)
  const directory = await mkdtemp(join(tmpdir(), 'uring-net-demo-'))
  const listeners: Listener[] = []
  const missing: string[] = []
  const started: Server[] = []

  const close = async () => {
    const closed = started.map((server) => new Promise((done) => server.close(done)))
    for (const socket of webSockets.clients) socket.close(1001)
    for (const { sockets } of listeners) for (const socket of sockets) endWhenIdle(socket)
    const grace = setTimeout(() => {
      for (const { sockets } of listeners) for (const socket of sockets) socket.destroy()
    }, CLOSE_GRACE_MS)
    await Promise.all(closed)
    clearTimeout(grace)
    await rm(directory, { recursive: true, force: true })
  }

  try {
    for (const plan of plans) {
      const listener = track(plan)
      const address = addressFor(plan.name, options, directory, listeners)
      try {
        await listen(plan.server, address)
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException
        if (plan.name === 'tcp6' && ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(code)) {
          missing.push(`${plan.title}: no IPv6 loopback here (${code})`)
          continue
        }
        throw explain(error as NodeJS.ErrnoException, plan, address)
      }
      started.push(plan.server)
      listener.path = address.path ?? ''
      listener.host = address.host ?? ''
      listener.port = address.path === undefined ? (plan.server.address() as AddressInfo).port : 0
      listener.url = plan.url(address.path ?? authority(listener.host, listener.port))
      listeners.push(listener)
    }
  } catch (error) {
    await close()
    throw error
  }
  return { listeners, missing, close }
}

function makePlans(
  options: Options,
  { key, cert }: Certificate,
  subscribe: (response: Response) => void,
  webSockets: WebSocketServer,
): Plan[] {
  const onRequest = makeRequestHandler(subscribe)
  const http = attach(createHttpServer(onRequest))
  const https = attach(createSecureServer({ key, cert, allowHTTP1: true }, onRequest))
  const h2c = attach(createHttp2Server(onRequest))
  const tls = attach(createTlsServer({ key, cert, allowHalfOpen: true }, echoStream))
  const tcp = () => createServer({ allowHalfOpen: true }, echoStream)
  for (const server of [http, https]) {
    server.on('upgrade', (request, socket, head) => {
      webSockets.handleUpgrade(request, socket, head, echoMessages)
    })
  }
  for (const server of [https, h2c]) server.on('sessionError', () => {})
  for (const server of [https, tls]) server.on('tlsClientError', () => {})
  const plans: Plan[] = [
    { name: 'http', title: 'HTTP/1.1, WebSocket', url: (at) => `http://${at}/`, server: http },
    {
      name: 'https',
      title: 'HTTPS, HTTP/2, WebSocket',
      url: (at) => `https://${at}/`,
      server: https,
    },
    { name: 'h2c', title: 'HTTP/2 without TLS', url: (at) => `http://${at}/`, server: h2c },
    { name: 'tcp', title: 'TCP echo', url: (at) => `tcp://${at}`, server: tcp() },
    { name: 'tls', title: 'TLS echo', url: (at) => `tls://${at}`, server: tls },
    { name: 'unix', title: 'Unix socket echo', url: (at) => `unix:${at}`, server: tcp() },
  ]
  if (isLoopback4(options.host)) {
    plans.splice(4, 0, {
      name: 'tcp6',
      title: 'TCP echo, IPv6',
      url: (at) => `tcp://${at}`,
      server: tcp(),
    })
  }
  return plans
}

function track(plan: Plan): Listener {
  const sockets = new Set<Socket>()
  const { name, title } = plan
  const listener = { name, title, url: '', host: '', port: 0, path: '', sockets, accepted: 0 }
  // 'connection' carries the raw socket for TLS servers too, so each connection counts once.
  plan.server.on('connection', (socket: Socket) => {
    listener.accepted++
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return listener
}

interface Address {
  host?: string
  port?: number
  path?: string
}

function addressFor(
  name: ListenerName,
  options: Options,
  directory: string,
  started: Listener[],
): Address {
  if (name === 'unix') return { path: join(directory, 'echo.sock') }
  if (name === 'tcp6') {
    // The same port as the IPv4 echo when that one is fixed; a free port may be taken on the other family.
    const fixed = options.ports.tcp === 0 ? undefined : started.find((one) => one.name === 'tcp')
    return { host: '::1', port: fixed?.port ?? 0 }
  }
  return { host: options.host, port: options.ports[name] }
}

function listen(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(address, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function explain(error: NodeJS.ErrnoException, plan: Plan, { host, port, path }: Address): Error {
  const where = path ?? authority(host ?? '', port ?? 0)
  const flag = plan.name === 'unix' ? 'TMPDIR' : portFlags[plan.name === 'tcp6' ? 'tcp' : plan.name]
  const hints: Record<string, string> = {
    EADDRINUSE:
      `${where} (${plan.title}) is in use by another program. ` +
      `Choose another port with ${flag} <n>, or any free ports with --any-port.`,
    EACCES: `${where} (${plan.title}) may not be used by this user. Choose a port above 1023 with ${flag} <n>.`,
    EADDRNOTAVAIL: `${host} is no address of this machine. Choose another with --host <address>.`,
  }
  return new Error(hints[error.code ?? ''] ?? `${where} (${plan.title}): ${error.message}`, {
    cause: error,
  })
}

/** Asks a connection to end; one in the middle of something is destroyed when the grace is over. */
function endWhenIdle(socket: Socket): void {
  // A WebSocket's or HTTP/2 session's own goodbye goes first; a FIN now would cut it off.
  if (socket.writableLength === 0) setImmediate(() => socket.end())
}

function isLoopback4(host: string): boolean {
  return host.startsWith('127.') || host === 'localhost'
}

function authority(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
