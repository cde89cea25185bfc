/**
 * What the self-check asks of a client of any protocol, and the reading that several of them share. The clients
 * themselves are in clients-*.ts.
 */
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { Scope } from './scope'
import type { Listener } from './servers'

/** One open connection (or a place for one) to an echo. */
export interface Client {
  /** Sends all of it, gives back what returned. */
  exchange(payload: Buffer): Promise<Buffer>
  /** Sends all of them before waiting for any answer, gives back the answers in the order of sending. */
  pipeline(payloads: Buffer[]): Promise<Buffer>
  /** Sends all of it and reads nothing until `stalled` has settled, then reads slowly. */
  slowly(payload: Buffer, stalled: () => Promise<void>): Promise<Buffer>
  /** Sends, waits for the first bytes of the answer, then vanishes without a goodbye: RST where there is one. */
  abort(payload: Buffer): Promise<void>
  /** Sends all of it and end of stream, gives back everything up to the other side's end of stream. */
  halfClose?(payload: Buffer): Promise<Buffer>
  /** GET /. */
  page?(): Promise<Buffer>
}

export interface Protocol {
  name: string
  listener: Listener
  open(scope: Scope): Promise<Client>
}

/** Makes a raw connection to a listener: with node:net or with our own connect(). */
export type Dial = (listener: Listener) => Socket

/** Everything up to end of stream. Rejects when it ends early. */
export function readAll(stream: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.once('end', () => resolve(Buffer.concat(chunks)))
    // on, not once: a second error of a stream that already failed must not end the process.
    stream.on('error', reject)
    stream.once('close', () => reject(new Error('closed before end of stream')))
  })
}

/** Reads `length` bytes in small steps with a rest between them, as a client on a thin line would. */
export async function readSlowly(stream: Readable, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let read = 0
  let rested = 0
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk as Buffer)
    read += (chunk as Buffer).length
    if (read >= length) break
    if (read - rested >= 250_000) {
      rested = read
      await new Promise((done) => setTimeout(done, 2))
    }
  }
  return Buffer.concat(chunks)
}

/** Resolves when the first bytes can be read. */
export function firstBytes(stream: Readable): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('data', () => resolve())
    stream.on('error', reject)
    stream.once('close', () => reject(new Error('closed before the first bytes')))
  })
}

/** Ends a connection as abruptly as its kind can. */
export function reset(socket: Socket, listener: Listener): void {
  // What follows is of the check's own making.
  socket.on('error', () => {})
  // Unix sockets have no RST: closing with unread bytes is what resets the peer.
  if (listener.path === '') socket.resetAndDestroy()
  else socket.destroy()
}
