/**
 * The server side of one trial, a process of its own: `node server.js <case> <target> [folder of the certificate]`. It
 * owns the smallest server that does the job, the same code for every target; only where `createServer` comes from
 * differs. When it listens it prints one JSON line with its port and the driver that really runs. It never measures: the
 * load generator reads this process's CPU clock and memory from outside.
 */
import type * as grpc from '@grpc/grpc-js'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createReadStream, readFileSync } from 'node:fs'
import * as http from 'node:http'
import type * as nodeHttp2 from 'node:http2'
import type * as nodeHttps from 'node:https'
import { createRequire } from 'node:module'
import * as net from 'node:net'
import { join } from 'node:path'
import type * as ws from 'ws'
import type * as uringNet from '../src/index'
import type * as coreServer from './core-server'
import type * as service from './grpc-service'
import type { Case, Target } from './matrix'
import { CHUNK_BYTES, selectCases, selectTargets } from './matrix'
import { checkPattern, makeFile, makePattern } from './pattern'

/** What a server says when it is ready. */
export interface Ready {
  port: number
  driver: { name: string; reason: string; features: string[] }
}

type Library = typeof uringNet

/** Node's default of 511 would make 2000 connections wait for a SYN to be sent again. */
const BACKLOG = 4096

/** More than the kernel takes on a connection with small segments. */
const BLOCKED_BYTES = 256 << 10

/** What a case does not need is not loaded, so that its memory and start are its own. */
const load = createRequire(__filename)

/** The package is loaded only when it is the target, so that node:net runs in an untouched process. */
function loadPackage(): Library {
  return load('../src/index') as Library
}

function describeDriver(target: Target): Ready['driver'] {
  if (target === 'node') return { name: 'node', reason: '', features: [] }
  const { name, reason, features } = loadPackage().driver
  return { name, reason, features: [...features] }
}

function makeServer(one: Case, library: Library | undefined, certificate: string): net.Server {
  switch (one.kind) {
    case 'http':
    case 'h2':
    case 'upload':
    case 'ws-echo':
    case 'ws-broadcast': {
      const server = makeHttpServer(one, certificate)
      library?.attach(server)
      return server
    }
    case 'grpc':
      return makeSocketServer(library, grpcEcho())
    case 'stream-out':
      return makeSocketServer(library, streamOut)
    case 'stream-in':
      return makeSocketServer(library, streamIn)
    case 'proxy':
      return makeSocketServer(library, proxy)
    case 'send-file':
      return http.createServer(answerWithFile(makeFile(one.bytes)))
    case 'slow-readers':
      return makeSocketServer(library, writeOnce(makePattern(one.bytes)))
    case 'destroy':
    case 'fairness':
      return makeSocketServer(library, byRole())
    default:
      return makeSocketServer(library, echo)
  }
}

function makeSocketServer(
  library: Library | undefined,
  serve: (socket: net.Socket) => void,
): net.Server {
  const createServer = (library ?? net).createServer as typeof net.createServer
  return createServer({ noDelay: true }, (socket) => {
    socket.on('error', tell)
    serve(socket)
  })
}

/** At the end of a trial the load generator leaves with answers unread; any other error is told with the failed trial. */
function tell(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') console.error(error.message)
}

function echo(socket: net.Socket): void {
  socket.on('data', (data) => socket.write(data))
}

// ---- HTTP and what stands on it

interface Response {
  setHeader(name: string, value: string): unknown
  end(body: string | Buffer): unknown
}

function makeHttpServer(one: Case, certificate: string): net.Server {
  if (one.kind === 'upload') return http.createServer(takeUpload)
  if (one.kind === 'ws-echo' || one.kind === 'ws-broadcast') {
    const server = http.createServer()
    serveWebSockets(server, one.kind === 'ws-broadcast')
    return server
  }
  const respond = answerWith(one.bytes === 0 ? 'Hello, world!\n' : Buffer.alloc(one.bytes, 'x'))
  if (one.kind === 'h2') {
    const http2 = load('node:http2') as typeof nodeHttp2
    return one.tls
      ? http2.createSecureServer(readCertificate(certificate), respond)
      : http2.createServer(respond)
  }
  if (!one.tls) return http.createServer(respond)
  const https = load('node:https') as typeof nodeHttps
  return https.createServer(readCertificate(certificate), respond)
}

function answerWith(body: string | Buffer) {
  return (_request: unknown, response: Response) => {
    response.setHeader('Content-Type', 'text/plain')
    response.end(body)
  }
}

function readCertificate(folder: string): { key: Buffer; cert: Buffer } {
  return {
    key: readFileSync(join(folder, 'key.pem')),
    cert: readFileSync(join(folder, 'cert.pem')),
  }
}

/** The load generator compares the number with what it sent. */
function takeUpload(request: http.IncomingMessage, response: http.ServerResponse): void {
  const check = checkPattern()
  request.on('data', check)
  request.on('end', () => response.end(String(check())))
}

function serveWebSockets(server: http.Server, isBroadcast: boolean): void {
  const { WebSocketServer } = load('ws') as typeof ws
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) => {
    socket.on('error', () => {})
    socket.on('message', (data, binary) => {
      const receivers = isBroadcast ? sockets.clients : [socket]
      for (const receiver of receivers) receiver.send(data, { binary })
    })
  })
}

/** Connections are handed to gRPC one by one, since it has no way to be given a server. */
function grpcEcho(): (socket: net.Socket) => void {
  const { Server, ServerCredentials } = load('@grpc/grpc-js') as typeof grpc
  const { echoService } = load('./grpc-service') as typeof service
  const server = new Server()
  const answer: grpc.handleUnaryCall<Buffer, Buffer> = (call, done) => done(null, call.request)
  server.addService(echoService, { echo: answer })
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  return (socket) => injector.injectConnection(socket)
}

function answerWithFile({ fd, bytes }: { fd: number; bytes: number }): http.RequestListener {
  return (_request, response) => {
    response.setHeader('Content-Length', bytes)
    createReadStream('', { fd, start: 0, autoClose: false }).pipe(response)
  }
}

// ---- streams

function streamOut(socket: net.Socket): void {
  const chunk = makePattern(CHUNK_BYTES)
  // Ends by itself: the socket's high-water mark is reached before any write of this turn is called back.
  const fill = () => {
    while (socket.write(chunk)) continue
  }
  socket.on('drain', fill)
  fill()
}

function streamIn(socket: net.Socket): void {
  socket.on('data', checkPattern())
}

/** The first two bytes say to which port. */
function proxy(socket: net.Socket): void {
  socket.once('data', (head) => {
    socket.pause()
    const far = net.connect({ port: head.readUInt16BE(), host: '127.0.0.1', noDelay: true })
    far.on('error', tell)
    far.pipe(socket)
    far.write(head.subarray(2))
    socket.pipe(far)
  })
}

function writeOnce(bytes: Buffer): (socket: net.Socket) => void {
  return (socket) => socket.write(bytes)
}

// ---- connections that say with their first byte what they are for

/** `e` echoes, `r` is read, `w` is written to until it blocks, `d` destroys all that are blocked. */
function byRole(): (socket: net.Socket) => void {
  const blocked = new Set<net.Socket>()
  const bytes = makePattern(BLOCKED_BYTES)
  const block = (socket: net.Socket) => {
    blocked.add(socket)
    socket.write(bytes)
  }
  return (socket) => {
    socket.once('data', (role) => {
      if (String(role) === 'w') return block(socket)
      socket.write(role)
      if (String(role) === 'e') echo(socket)
      if (String(role) === 'r') streamIn(socket)
      if (String(role) === 'd') socket.on('data', () => destroyAll(blocked, socket))
    })
  }
}

/** In one tick; tells the number when the last one has closed. */
function destroyAll(sockets: ReadonlySet<net.Socket>, teller: net.Socket): void {
  let open = sockets.size
  for (const socket of sockets) {
    if (socket.writableLength === 0) throw new Error('a connection is not blocked')
    socket.on('close', () => {
      if (--open === 0) teller.write(String(sockets.size))
    })
    socket.destroy()
  }
}

/** Resolves to the port. */
async function start(one: Case, target: Target): Promise<number> {
  if (target === 'core') return (load('./core-server') as typeof coreServer).start(one)
  if (one.kind === 'datagrams') {
    const socket = createSocket('udp4')
    socket.on('message', (data, { port, address }) => socket.send(data, port, address))
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return socket.address().port
  }
  // In register mode the program knows nothing of the package.
  const library = target === 'node' || target === 'register' ? undefined : loadPackage()
  const server = makeServer(one, library, process.argv[4] ?? '')
  server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG })
  await once(server, 'listening')
  return (server.address() as net.AddressInfo).port
}

async function main(): Promise<void> {
  const [one] = selectCases([process.argv[2] ?? ''])
  const [target] = selectTargets([process.argv[3] ?? ''])
  if (!one || !target) throw new Error('usage: server.js <case> <target> [folder]')
  const ready: Ready = { port: await start(one, target), driver: describeDriver(target) }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
}

if (require.main === module) void main()
