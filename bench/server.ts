/**
 * The server side of one trial, a process of its own: `node server.js <case> <target>`. It owns the smallest server
 * that does the job, the same code for every target; only where `createServer` comes from differs. When it listens it
 * prints one JSON line with its port and the driver that really runs. It never measures: the load generator reads
 * this process's CPU clock from outside.
 */
import * as http from 'node:http'
import { createRequire } from 'node:module'
import * as net from 'node:net'
import type * as uringNet from '../src/index'
import type { Case, Target } from './matrix'
import { CHUNK_BYTES, selectCases, selectTargets } from './matrix'

/** What a server says when it is ready. */
export interface Ready {
  port: number
  driver: { name: string; reason: string; features: string[] }
}

/** Node's default of 511 would make 2000 connections wait for a SYN to be sent again. */
const BACKLOG = 4096

/** The package is loaded only when it is the target, so that node:net runs in an untouched process. */
function loadPackage(): typeof uringNet {
  return createRequire(__filename)('../src/index') as typeof uringNet
}

function describeDriver(target: Target): Ready['driver'] {
  if (target === 'node') return { name: 'node', reason: '', features: [] }
  const { name, reason, features } = loadPackage().driver
  return { name, reason, features: [...features] }
}

function makeServer(one: Case, library: typeof uringNet | undefined): net.Server {
  if (one.kind === 'http') {
    const body = one.bytes === 0 ? 'Hello, world!\n' : Buffer.alloc(one.bytes, 'x')
    const server = http.createServer((_request, response) => {
      response.setHeader('Content-Type', 'text/plain')
      response.end(body)
    })
    library?.attach(server)
    return server
  }
  const createServer = (library ?? net).createServer as typeof net.createServer
  const serve = { echo, churn: echo, 'stream-out': streamOut, 'stream-in': streamIn }[one.kind]
  return createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {}) // at the end of a trial the load generator leaves with answers unread
    serve(socket)
  })
}

function echo(socket: net.Socket): void {
  socket.on('data', (data) => socket.write(data))
}

/** Byte i of every 64 KB: the load generator compares samples with it. */
function makeChunk(): Buffer {
  const chunk = Buffer.alloc(CHUNK_BYTES)
  for (let i = 0; i < CHUNK_BYTES; i++) chunk[i] = i * 31 + (i >> 8)
  return chunk
}

function streamOut(socket: net.Socket): void {
  const chunk = makeChunk()
  // Ends by itself: the socket's high-water mark is reached before any write of this turn is called back.
  const fill = () => {
    while (socket.write(chunk)) continue
  }
  socket.on('drain', fill)
  fill()
}

function streamIn(socket: net.Socket): void {
  const chunk = makeChunk()
  let position = 0
  socket.on('data', (data) => {
    if (data[0] !== chunk[position % CHUNK_BYTES]) {
      throw new Error(`byte ${position} of the stream is not what was sent`)
    }
    position += data.length
  })
}

function main(): void {
  const [one] = selectCases([process.argv[2] ?? ''])
  const [target] = selectTargets([process.argv[3] ?? ''])
  if (!one || !target) throw new Error('usage: server.js <case> <target>')
  // In register mode the program knows nothing of the package.
  const library = target === 'node' || target === 'register' ? undefined : loadPackage()
  const server = makeServer(one, library)
  server.listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG }, () => {
    const { port } = server.address() as net.AddressInfo
    const ready: Ready = { port, driver: describeDriver(target) }
    process.stdout.write(`${JSON.stringify(ready)}\n`)
  })
}

if (require.main === module) main()
