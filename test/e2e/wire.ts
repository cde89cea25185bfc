/**
 * Small tools of the end-to-end tests: servers and connected pairs with a deadline, and bytes that tell where they
 * belong. No test waits without a deadline: Jest's own is the last one.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Subject } from './subjects'

/** Bytes whose value depends on their position, so that loss, repetition and reordering all show. */
export function pattern(length: number, seed = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let state = (seed * 2654435761 + 12345) >>> 0
  for (let i = 0; i < length; i++) {
    state = (state * 1664525 + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

export function digest(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex')
}

/** Listens on a free loopback port. */
export async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Everything a stream receives until its end. (`for await` would destroy a socket that is still sending.) */
export function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => resolve(Buffer.concat(chunks)))
    stream.on('error', reject)
    stream.resume()
  })
}

export interface Pair {
  server: Server
  /** The server's end. */
  accepted: Socket
  /** The client's end. */
  connected: Socket
  stop(): Promise<void>
}

/** A connected pair of sockets of a subject; allowHalfOpen on both ends. */
export async function pair(subject: Pick<Subject, 'server' | 'client'>): Promise<Pair> {
  const server = subject.server.createServer({ allowHalfOpen: true })
  const port = await listening(server)
  const connected = subject.client.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [[accepted]] = (await Promise.all([
    once(server, 'connection'),
    once(connected, 'connect'),
  ])) as [[Socket], unknown[]]
  return {
    server,
    accepted,
    connected,
    async stop() {
      accepted.destroy()
      connected.destroy()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}
