/**
 * The connections of an http, https or http2 (allowHTTP1) server, as Node itself keeps them. Found by behaviour; where they
 * are not found there are none. It changes nothing in Node.
 */
import type { ServerResponse } from 'node:http'
import type * as net from 'node:net'

/** A connection that http's parser reads. */
export interface HttpSocket extends net.Socket {
  /** The response that is being sent. */
  _httpMessage?: ServerResponse | null
  parser?: { incoming?: unknown } | null
}

interface ConnectionsList {
  all(): { socket: HttpSocket | null }[]
  idle(): { socket: HttpSocket | null }[]
}

function listOf(server: net.Server): ConnectionsList | undefined {
  const name = Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === 'http.server.connections',
  )
  if (name === undefined) return undefined
  const list = (server as unknown as Record<symbol, Partial<ConnectionsList> | undefined>)[name]
  const isKnown = typeof list?.all === 'function' && typeof list.idle === 'function'
  return isKnown ? (list as ConnectionsList) : undefined
}

export function httpConnections(server: net.Server): HttpSocket[] {
  return socketsOf(listOf(server)?.all())
}

/**
 * Those that wait for a request. Server.closeIdleConnections() of Node 20 to 26 also takes one for idle whose response has
 * ended and is not sent yet, and cuts it short; so does Server.close() of http, which calls it.
 */
export function idleHttpConnections(server: net.Server): HttpSocket[] {
  const idle = socketsOf(listOf(server)?.idle())
  return idle.filter((socket) => socket._httpMessage == null && socket.writableLength === 0)
}

function socketsOf(parsers: { socket: HttpSocket | null }[] = []): HttpSocket[] {
  return parsers.flatMap(({ socket }) => socket ?? [])
}
