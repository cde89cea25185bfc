/** Clients of the WebSocket echo through the `ws` package, plain and over TLS. */
import { connect as connectTls } from 'node:tls'
import type { Socket } from 'node:net'
import WebSocket, { createWebSocketStream } from 'ws'
import { reset, type Client, type Dial, type Protocol } from './client'
import type { Scope } from './scope'
import type { Listener } from './servers'

/** Bytes of each message when a large payload is sent as many. */
const PART_BYTES = 65_536

/** `ca` makes it TLS. */
export function webSocketProtocol(
  name: string,
  listener: Listener,
  dial: Dial,
  ca?: string,
): Protocol {
  return { name, listener, open: (scope) => open(scope, listener, dial, ca) }
}

async function open(
  scope: Scope,
  listener: Listener,
  dial: Dial,
  ca: string | undefined,
): Promise<WebSocketClient> {
  const socket = scope.hold(dial(listener))
  const createConnection = () =>
    ca === undefined
      ? socket
      : connectTls({ socket, ca, servername: 'localhost', ALPNProtocols: ['http/1.1'] })
  const webSocket = new WebSocket(`${ca === undefined ? 'ws' : 'wss'}://localhost/echo`, {
    createConnection,
    perMessageDeflate: false,
  })
  await new Promise<void>((resolve, reject) => {
    webSocket.once('open', resolve)
    webSocket.on('error', reject)
  })
  return new WebSocketClient(scope, webSocket, socket, listener)
}

class WebSocketClient implements Client {
  readonly #scope: Scope
  readonly #webSocket: WebSocket
  readonly #socket: Socket
  readonly #listener: Listener

  constructor(scope: Scope, webSocket: WebSocket, socket: Socket, listener: Listener) {
    this.#scope = scope
    this.#webSocket = webSocket
    this.#socket = socket
    this.#listener = listener
  }

  async exchange(payload: Buffer): Promise<Buffer> {
    return this.pipeline([payload])
  }

  async pipeline(payloads: Buffer[]): Promise<Buffer> {
    const answer = this.#take(payloads.length)
    for (const payload of payloads) this.#webSocket.send(payload)
    return answer
  }

  /** Message by message, for one message is one write and has no back-pressure within it. */
  async slowly(payload: Buffer, stalled: () => Promise<void>): Promise<Buffer> {
    const parts = Math.ceil(payload.length / PART_BYTES)
    this.#webSocket.pause()
    for (let offset = 0; offset < payload.length; offset += PART_BYTES) {
      this.#webSocket.send(payload.subarray(offset, offset + PART_BYTES))
    }
    await stalled()
    const answer = this.#take(parts, () => {
      this.#webSocket.pause()
      setTimeout(() => this.#webSocket.resume(), 1)
    })
    this.#webSocket.resume()
    return answer
  }

  async abort(payload: Buffer): Promise<void> {
    const stream = this.#scope.hold(createWebSocketStream(this.#webSocket))
    stream.on('error', () => {})
    const first = new Promise<void>((resolve) => stream.once('data', () => resolve()))
    for (let offset = 0; offset < payload.length; offset += PART_BYTES) {
      stream.write(payload.subarray(offset, offset + PART_BYTES))
    }
    await first
    this.#webSocket.on('error', () => {})
    reset(this.#socket, this.#listener)
  }

  #take(count: number, onMessage?: () => void): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const messages: Buffer[] = []
      const take = (data: Buffer) => {
        messages.push(data)
        onMessage?.()
        if (messages.length < count) return
        this.#webSocket.off('message', take)
        resolve(Buffer.concat(messages))
      }
      this.#webSocket.on('message', take)
      this.#webSocket.once('close', (code) => {
        reject(new Error(`closed (${code}) after ${messages.length} of ${count} messages`))
      })
    })
  }
}
