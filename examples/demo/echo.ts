/**
 * What the demo's servers answer with: echoes for sockets and WebSockets, and the HTTP routes, which HTTP/1.1 and
 * HTTP/2 share. Everything is streamed under back-pressure, so no peer decides how much memory is held.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { pipeline, type Duplex, type Writable } from 'node:stream'
import type { WebSocket } from 'ws'
import { readPage } from './page'

export type Request = IncomingMessage | Http2ServerRequest
export type Response = ServerResponse | Http2ServerResponse

/** Above this many unsent bytes a WebSocket's messages are not read any more. */
const WEBSOCKET_UNSENT_BYTES_MAX = 1_000_000

/** Sends back what arrives, then end of stream for end of stream. */
export function echoStream(stream: Duplex): void {
  // A reset or a failed handshake is the peer's business; the stream destroys itself.
  stream.on('error', () => {})
  stream.pipe(stream)
}

/** Sends back every message as the kind it came in. */
export function echoMessages(socket: WebSocket): void {
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => {
    socket.send(data, { binary: isBinary }, () => {
      if (socket.bufferedAmount <= WEBSOCKET_UNSENT_BYTES_MAX) socket.resume()
    })
    if (socket.bufferedAmount > WEBSOCKET_UNSENT_BYTES_MAX) socket.pause()
  })
}

/** `GET /` the page, `GET /events` the live state, `POST /echo` the request's body. */
export function makeRequestHandler(
  subscribe: (response: Response) => void,
): (request: Request, response: Response) => void {
  return (request, response) => {
    // The compatibility classes of http2 extend Stream in types but are a Readable and a Writable in fact.
    const body = request as IncomingMessage
    const reply = response as Writable & ServerResponse
    const path = request.url?.split('?')[0]
    if (request.method === 'POST' && path === '/echo') {
      const length = request.headers['content-length']
      reply.writeHead(200, {
        'content-type': 'application/octet-stream',
        ...(length !== undefined && { 'content-length': length }),
      })
      pipeline(body, reply, () => {})
      return
    }
    body.resume()
    body.on('error', () => {})
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      reply.writeHead(405, { allow: 'GET, HEAD, POST' }).end()
    } else if (path === '/') {
      reply.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'content-security-policy':
          "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; " +
          "img-src data:; connect-src 'self' ws: wss:",
      })
      reply.end(request.method === 'HEAD' ? undefined : readPage())
    } else if (path === '/events' && request.method === 'GET') {
      subscribe(response)
    } else {
      reply.writeHead(404, { 'content-type': 'text/plain' }).end('Not found\n')
    }
  }
}
