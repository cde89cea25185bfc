/** Clients of HTTP/1.1, plain and over TLS: node:http and node:https, and raw pipelined requests, which those lack. */
import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as PlainAgent } from 'node:http'
import { Agent as SecureAgent, request as requestSecure } from 'node:https'
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

/**
 * Requests sent at once on one connection. Node 20's own https server, on node:net too, closes a connection on which
 * more pipelined requests arrive than one TLS record (16 KB) holds.
 */
const PIPELINED_MAX = 50

/** `ca` makes it HTTPS. */
export function httpProtocol(name: string, listener: Listener, dial: Dial, ca?: string): Protocol {
  return { name, listener, open: async (scope) => new HttpClient(scope, listener, dial, ca) }
}

class HttpClient implements Client {
  readonly #scope: Scope
  readonly #listener: Listener
  readonly #agent: PlainAgent | SecureAgent
  readonly #secure: boolean
  readonly #connect: () => Duplex
  #socket: Socket | undefined

  constructor(scope: Scope, listener: Listener, dial: Dial, ca: string | undefined) {
    this.#scope = scope
    this.#listener = listener
    this.#secure = ca !== undefined
    this.#connect = () => {
      const socket = (this.#socket = scope.hold(dial(listener)))
      if (ca === undefined) return socket
      return scope.hold(
        connectTls({ socket, ca, servername: 'localhost', ALPNProtocols: ['http/1.1'] }),
      )
    }
    // One connection, kept alive, so that a later exchange finds what an earlier one left behind.
    const agent = ca === undefined ? PlainAgent : SecureAgent
    this.#agent = scope.hold(new agent({ keepAlive: true, maxSockets: 1 }))
    Object.assign(this.#agent, { createConnection: this.#connect })
  }

  async exchange(payload: Buffer): Promise<Buffer> {
    const { request, response } = this.#send('POST', '/echo', payload.length)
    request.end(payload)
    return readAll(checkStatus(await response))
  }

  async page(): Promise<Buffer> {
    const { request, response } = this.#send('GET', '/')
    request.end()
    return readAll(checkStatus(await response))
  }

  async slowly(payload: Buffer, stalled: () => Promise<void>): Promise<Buffer> {
    const { request, response } = this.#send('POST', '/echo', payload.length)
    request.end(payload)
    const message = checkStatus(await response)
    await stalled()
    return readSlowly(message, payload.length)
  }

  async abort(payload: Buffer): Promise<void> {
    const { request, response } = this.#send('POST', '/echo', payload.length * 2)
    request.on('error', () => {})
    request.write(payload)
    const message = await response
    message.on('error', () => {})
    await firstBytes(message)
    if (this.#socket) reset(this.#socket, this.#listener)
  }

  async pipeline(payloads: Buffer[]): Promise<Buffer> {
    const answers: Buffer[] = []
    for (let first = 0; first < payloads.length; first += PIPELINED_MAX) {
      answers.push(await this.#pipelineOnce(payloads.slice(first, first + PIPELINED_MAX)))
    }
    return Buffer.concat(answers)
  }

  /** RFC 9112 9.3.2: all requests in one write, the answers must come in their order. */
  async #pipelineOnce(payloads: Buffer[]): Promise<Buffer> {
    const stream = this.#connect()
    const last = payloads.length - 1
    const requests = payloads.flatMap((payload, index) => [
      Buffer.from(
        `POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${payload.length}\r\n` +
          `connection: ${index === last ? 'close' : 'keep-alive'}\r\n\r\n`,
      ),
      payload,
    ])
    const answer = readAll(stream)
    stream.write(Buffer.concat(requests))
    return splitResponses(await answer)
  }

  #send(method: string, path: string, length?: number) {
    const send = this.#secure ? requestSecure : request
    const headers = length === undefined ? {} : { 'content-length': length }
    const sent: ClientRequest = this.#scope.hold(
      send({ method, path, headers, host: 'localhost', agent: this.#agent }),
    )
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve)
      sent.on('error', reject)
    })
    return { request: sent, response }
  }
}

function checkStatus(response: IncomingMessage): IncomingMessage {
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
  return response
}

/** The bodies of responses that all carry content-length, one after the other. */
function splitResponses(bytes: Buffer): Buffer {
  const bodies: Buffer[] = []
  let offset = 0
  while (offset < bytes.length) {
    const start = bytes.indexOf('\r\n\r\n', offset) + 4
    const head = bytes.toString('latin1', offset, start)
    const length = /\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1]
    if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
      throw new Error(`unexpected response head at offset ${offset}: ${JSON.stringify(head)}`)
    }
    offset = start + Number(length)
    bodies.push(bytes.subarray(start, offset))
  }
  return Buffer.concat(bodies)
}
