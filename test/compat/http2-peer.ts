/**
 * An HTTP/2 peer that believes nothing: it reads frames off the wire (RFC 9113, 4) and keeps what they carried, grants
 * windows, and answers only what it is told to. Headers are neither compressed nor understood. Owns its half of the frames;
 * never the stream.
 */
import * as assert from 'node:assert/strict'
import type { Socket } from 'node:net'

const headBytes = 9
/** RFC 9113, 4.2: what may come before anything else was agreed. */
const frameBytesMax = 16_384
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

const Type = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const
const known = new Set<number>(Object.values(Type))

const Flag = { ack: 1, endStream: 1, endHeaders: 4 } as const

/** HPACK (RFC 7541, appendix A), indexed: POST, /, http, and :authority as a literal; and :status 200. */
const requestHeaders = Buffer.from([0x83, 0x84, 0x86, 0x41, 0x01, 0x78])
const responseHeaders = Buffer.from([0x88])

export interface Received {
  chunks: Buffer[]
  isEnded: boolean
}

export class Http2Peer {
  /** By stream id. */
  readonly streams = new Map<number, Received>()
  /** Opaque data of PINGs and of answers to ours, in order of arrival. */
  readonly pings: string[] = []
  readonly pongs: string[] = []
  goaway: { code: number; opaque: string } | undefined
  resets = 0
  /** The first thing that was wrong. */
  failure: string | undefined
  readonly #socket: Socket
  readonly #role: 'client' | 'server'
  #pending = Buffer.alloc(0)
  #isGreeted: boolean
  #onChange: (() => void)[] = []

  constructor(socket: Socket, role: 'client' | 'server') {
    this.#socket = socket
    this.#role = role
    this.#isGreeted = role === 'client'
    if (role === 'client') socket.write(preface)
    this.#send(Type.settings, 0, 0)
    socket.on('data', (chunk: Buffer) => {
      this.#take(chunk)
      for (const look of this.#onChange) look()
    })
  }

  /** Asks for a stream, with the whole body in advance; for clients. */
  request(id: number): void {
    this.#send(Type.headers, Flag.endHeaders | Flag.endStream, id, requestHeaders)
  }

  ping(opaque: string): void {
    this.#send(Type.ping, 0, 0, Buffer.from(opaque))
  }

  /** Resolves when it holds; rejects with the first thing that is wrong on the wire. */
  when(holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.failure !== undefined) reject(new assert.AssertionError({ message: this.failure }))
        else if (holds()) resolve()
        else return
        this.#onChange = this.#onChange.filter((other) => other !== look)
      }
      this.#onChange.push(look)
      look()
    })
  }

  bytesOf(id: number): Buffer {
    return Buffer.concat(this.streams.get(id)?.chunks ?? [])
  }

  #take(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk])
    if (!this.#isGreeted) {
      if (this.#pending.length < preface.length) return
      const greeting = this.#pending.toString('latin1', 0, preface.length)
      if (greeting !== preface) this.#fail('the connection does not begin with the preface')
      this.#pending = this.#pending.subarray(preface.length)
      this.#isGreeted = true
    }
    while (this.failure === undefined && this.#pending.length >= headBytes) {
      const length = this.#pending.readUIntBE(0, 3)
      const type = this.#pending[3]!
      const id = this.#pending.readUInt32BE(5)
      // Lost or foreign bytes show here: what is read as a head is none.
      if (length > frameBytesMax || !known.has(type) || id >= 1000) {
        return this.#fail(`no frame where one begins: type ${type}, stream ${id}, ${length} bytes`)
      }
      if (this.#pending.length < headBytes + length) return
      const body = this.#pending.subarray(headBytes, headBytes + length)
      this.#pending = this.#pending.subarray(headBytes + length)
      this.#frame(type, this.#flagsOf(body), id, body)
    }
  }

  #flagsOf(body: Buffer): number {
    // The head lies before the body, in the same memory.
    return Buffer.from(body.buffer, body.byteOffset - headBytes, headBytes)[4]!
  }

  #frame(type: number, flags: number, id: number, body: Buffer): void {
    if (type === Type.settings && (flags & Flag.ack) === 0) {
      this.#send(Type.settings, Flag.ack, 0)
    } else if (type === Type.ping) {
      const opaque = body.toString()
      if ((flags & Flag.ack) !== 0) this.pongs.push(opaque)
      else {
        this.pings.push(opaque)
        this.#send(Type.ping, Flag.ack, 0, body)
      }
    } else if (type === Type.goaway) {
      this.goaway = { code: body.readUInt32BE(4), opaque: body.toString('latin1', 8) }
    } else if (type === Type.reset) {
      this.resets++
    } else if (type === Type.headers) {
      if (this.streams.has(id)) {
        // Trailers, or the same once more.
        return this.#fail(`headers of stream ${id} came twice`)
      }
      this.streams.set(id, { chunks: [], isEnded: (flags & Flag.endStream) !== 0 })
      if (this.#role === 'server') {
        this.#send(Type.headers, Flag.endHeaders | Flag.endStream, id, responseHeaders)
      }
    } else if (type === Type.data) {
      const stream = this.streams.get(id)
      if (stream === undefined) return this.#fail(`data of stream ${id}, which nobody opened`)
      if (stream.isEnded) return this.#fail(`data of stream ${id} after its end`)
      if (body.length > 0) {
        stream.chunks.push(Buffer.from(body))
        this.#grant(id, body.length)
        this.#grant(0, body.length)
      }
      stream.isEnded = (flags & Flag.endStream) !== 0
    }
  }

  #grant(id: number, bytes: number): void {
    const increment = Buffer.alloc(4)
    increment.writeUInt32BE(bytes)
    this.#send(Type.windowUpdate, 0, id, increment)
  }

  #send(type: number, flags: number, id: number, body: Uint8Array = Buffer.alloc(0)): void {
    const head = Buffer.alloc(headBytes)
    head.writeUIntBE(body.length, 0, 3)
    head[3] = type
    head[4] = flags
    head.writeUInt32BE(id, 5)
    if (this.#socket.writable) this.#socket.write(Buffer.concat([head, body]))
  }

  #fail(failure: string): void {
    this.failure ??= failure
  }
}
