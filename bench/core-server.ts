/**
 * The servers of the target `core`: what server.ts does on sockets, on the low-level API. Each is written as its examples show
 * it. It never measures.
 */
import { connect, listen, orThrow } from '../src/core/index'
import type { Connection } from '../src/core/index'
import { bind } from '../src/udp'
import type { Case } from './matrix'
import { checkPattern, makeFile } from './pattern'

const BACKLOG = 4096

/** Resolves to the port that it listens on. */
export async function start(one: Case): Promise<number> {
  if (one.kind === 'datagrams') return echoDatagrams()
  const serve = makeServe(one)
  const listener = await listen({ port: 0, host: '127.0.0.1', backlog: BACKLOG })
  void acceptAll(listener, serve)
  return listener.localName!.port
}

async function acceptAll(
  listener: AsyncIterable<Connection>,
  serve: (connection: Connection) => Promise<void>,
): Promise<void> {
  for await (const connection of listener) {
    connection.setNoDelay()
    serve(connection)
      .catch(tell)
      .finally(() => connection.close())
  }
}

function makeServe(one: Case): (connection: Connection) => Promise<void> {
  switch (one.kind) {
    case 'stream-in':
      return takeStream
    case 'proxy':
      return proxy
    case 'send-file':
      return serveFile(makeFile(one.bytes))
    default:
      return echo
  }
}

/** As in server.ts: the load generator leaves with answers unread. */
function tell(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') console.error(error.message)
}

async function echo(connection: Connection): Promise<void> {
  for await (const received of connection) {
    using lease = received
    orThrow(await connection.send(lease))
  }
}

async function takeStream(connection: Connection): Promise<void> {
  const check = checkPattern()
  for await (const received of connection) {
    using lease = received
    check(lease.bytes)
  }
}

/** The first two bytes say to which port. */
async function proxy(near: Connection): Promise<void> {
  using head = await near.receive()
  if (head === null) return
  await using far = await connect({ port: head.bytes.readUInt16BE(), host: '127.0.0.1' })
  far.setNoDelay()
  if (head.length > 2) orThrow(await far.send(head.bytes.subarray(2)))
  await Promise.all([forward(near, far), forward(far, near)])
}

async function forward(from: Connection, to: Connection): Promise<void> {
  orThrow(await from.pipeTo(to))
  await to.shutdown()
}

/** The load generator sends one request at a time, and each of them in one piece. */
function serveFile({ fd, bytes }: { fd: number; bytes: number }) {
  const head = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`)
  return async (connection: Connection): Promise<void> => {
    for await (const request of connection) {
      request.release()
      const sent = connection.send(head)
      orThrow(await connection.sendFile(fd))
      orThrow(await sent)
    }
  }
}

async function echoDatagrams(): Promise<number> {
  const socket = await bind({ port: 0, address: '127.0.0.1' })
  const echoAll = async (): Promise<void> => {
    for await (const datagram of socket) {
      using lease = datagram.lease
      void socket.send(lease, datagram)
    }
  }
  void echoAll()
  return socket.localName!.port
}
