/** Clients of the raw echoes: TCP over IPv4 and IPv6, Unix sockets, and TLS on TCP. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import {
  firstBytes,
  readAll,
  readSlowly,
  reset,
  type Client,
  type Dial,
  type Protocol,
} from './client'
import type { Scope } from './scope'
import type { Listener } from './servers'

/** Raw bytes, no framing. */
export function streamProtocol(name: string, listener: Listener, dial: Dial): Protocol {
  return {
    name,
    listener,
    open: async (scope) => {
      const socket = scope.hold(dial(listener))
      await happened(socket, 'connect')
      return new StreamClient(socket, socket, listener)
    },
  }
}

/** Raw bytes inside TLS, verified against the demo's certificate. */
export function tlsProtocol(name: string, listener: Listener, dial: Dial, ca: string): Protocol {
  return { name, listener, open: (scope) => openTls(scope, listener, dial, ca) }
}

async function openTls(
  scope: Scope,
  listener: Listener,
  dial: Dial,
  ca: string,
): Promise<StreamClient> {
  const socket = scope.hold(dial(listener))
  const stream = scope.hold(
    connectTls({ socket, ca, servername: 'localhost', ALPNProtocols: ['echo'] }),
  )
  await happened(stream, 'secureConnect')
  return new StreamClient(stream, socket, listener)
}

class StreamClient implements Client {
  readonly #stream: Duplex
  /** What carries the stream; the stream itself unless there is TLS. */
  readonly #socket: Socket
  readonly #listener: Listener

  constructor(stream: Duplex, socket: Socket, listener: Listener) {
    this.#stream = stream
    this.#socket = socket
    this.#listener = listener
    // Whoever waits hears of it through their own listener; between exchanges nobody does.
    stream.on('error', () => {})
  }

  async exchange(payload: Buffer): Promise<Buffer> {
    const answer = this.#take(payload.length)
    this.#stream.write(payload)
    return answer
  }

  async pipeline(payloads: Buffer[]): Promise<Buffer> {
    const answer = this.#take(payloads.reduce((sum, { length }) => sum + length, 0))
    for (const payload of payloads) this.#stream.write(payload)
    return answer
  }

  async slowly(payload: Buffer, stalled: () => Promise<void>): Promise<Buffer> {
    this.#stream.pause()
    this.#stream.write(payload)
    await stalled()
    return readSlowly(this.#stream, payload.length)
  }

  async abort(payload: Buffer): Promise<void> {
    const first = firstBytes(this.#stream)
    this.#stream.write(payload)
    await first
    reset(this.#socket, this.#listener)
  }

  async halfClose(payload: Buffer): Promise<Buffer> {
    const answer = readAll(this.#stream)
    const closed = happened(this.#stream, 'close')
    this.#stream.end(payload)
    const received = await answer
    await closed
    return received
  }

  /** Reads until `length` bytes are there; more than that is part of the answer too, so that it is noticed. */
  #take(length: number): Promise<Buffer> {
    const stream = this.#stream
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      let read = 0
      const onClose = () => settle(new Error(`closed after ${read} of ${length} bytes`))
      const onData = (chunk: Buffer) => {
        chunks.push(chunk)
        read += chunk.length
        if (read >= length) settle()
      }
      const settle = (error?: Error) => {
        stream.off('data', onData).off('close', onClose).off('error', settle)
        if (error) reject(error)
        else resolve(Buffer.concat(chunks))
      }
      stream.on('data', onData).on('close', onClose).on('error', settle)
    })
  }
}

function happened(stream: Duplex, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once(event, () => resolve())
    stream.on('error', reject)
  })
}
