/** Clients of HTTP/2 through node:http2: with prior knowledge (RFC 9113 3.3), and by ALPN over TLS (3.2). */
import {
  connect as connectSession,
  type ClientHttp2Session,
  type ClientHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
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

/** The client hands 10 MB to its session at once; Node's default of 10 would refuse the stream (ENHANCE_YOUR_CALM). */
const SESSION_MEMORY_MB = 64

/** `ca` makes it TLS. */
export function http2Protocol(name: string, listener: Listener, dial: Dial, ca?: string): Protocol {
  return { name, listener, open: (scope) => open(scope, listener, dial, ca) }
}

async function open(
  scope: Scope,
  listener: Listener,
  dial: Dial,
  ca: string | undefined,
): Promise<Http2Client> {
  const socket = scope.hold(dial(listener))
  const createConnection = () =>
    ca === undefined
      ? socket
      : connectTls({ socket, ca, servername: 'localhost', ALPNProtocols: ['h2'] })
  const authority = `${ca === undefined ? 'http' : 'https'}://localhost`
  const session = scope.hold(
    connectSession(authority, { createConnection, maxSessionMemory: SESSION_MEMORY_MB }),
  )
  await new Promise<void>((resolve, reject) => {
    session.once('connect', () => resolve())
    session.on('error', reject)
    socket.on('error', reject)
  })
  return new Http2Client(session, socket, listener)
}

class Http2Client implements Client {
  readonly #session: ClientHttp2Session
  readonly #socket: Socket
  readonly #listener: Listener

  constructor(session: ClientHttp2Session, socket: Socket, listener: Listener) {
    this.#session = session
    this.#socket = socket
    this.#listener = listener
  }

  async exchange(payload: Buffer): Promise<Buffer> {
    const stream = this.#send()
    const answer = readAll(stream)
    stream.end(payload)
    return answer
  }

  async page(): Promise<Buffer> {
    return readAll(this.#session.request({ ':path': '/' }))
  }

  /** One stream each, all at once. */
  async pipeline(payloads: Buffer[]): Promise<Buffer> {
    return Buffer.concat(await Promise.all(payloads.map((payload) => this.exchange(payload))))
  }

  async slowly(payload: Buffer, stalled: () => Promise<void>): Promise<Buffer> {
    const stream = this.#send()
    stream.pause()
    stream.end(payload)
    await stalled()
    return readSlowly(stream, payload.length)
  }

  async abort(payload: Buffer): Promise<void> {
    const stream = this.#send()
    const first = firstBytes(stream)
    stream.write(payload)
    await first
    this.#session.on('error', () => {})
    reset(this.#socket, this.#listener)
  }

  #send(): ClientHttp2Stream {
    const stream = this.#session.request({ ':path': '/echo', ':method': 'POST' })
    // Whoever reads hears of it by its own listener; this one is for the time when nobody does.
    stream.on('error', () => {})
    return stream
  }
}
