/** The checks that are more than one payload: what each one does, for a client of any protocol. */
import { driver } from '../../src/index'
import type { Protocol } from './client'
import { assertSame, makePayload } from './payload'
import { readPage } from './page'
import type { Scope } from './scope'
import type { ListenerName } from './servers'

/** What a check gives back: the bytes that were echoed. */
export type Scenario = (protocol: Protocol, scope: Scope) => Promise<number>

const PIPELINED = 500
const PARALLEL = 200
const RESETS = 20
const SLOW_BYTES = 10_000_000
/** What a server may hold for a reader that does not read: stream high-water marks and a chunk, never the payload. */
const HELD_BYTES_MAX = 3_000_000
const STALL_MS = 150

/** One payload there and back, on a connection that is already open. */
export function payloadScenario(length: number): Scenario {
  return async (protocol, scope) => {
    const client = await protocol.open(scope)
    const payload = makePayload(length, length)
    assertSame(await client.exchange(payload), payload)
    return length
  }
}

/** 500 payloads of 1 to 200 bytes, all sent before the first answer is awaited. */
export const pipelined: Scenario = async (protocol, scope) => {
  const client = await protocol.open(scope)
  const payloads = Array.from({ length: PIPELINED }, (_, index) =>
    makePayload(1 + ((index * 37) % 200), index),
  )
  const whole = Buffer.concat(payloads)
  assertSame(await client.pipeline(payloads), whole)
  return whole.length
}

/** 200 connections open at once, each with its own bytes. */
export const parallel: Scenario = async (protocol, scope) => {
  const clients = await Promise.all(Array.from({ length: PARALLEL }, () => protocol.open(scope)))
  const lengths = await Promise.all(
    clients.map(async (client, index) => {
      const payload = makePayload(4096 + index, index)
      assertSame(await client.exchange(payload), payload)
      return payload.length
    }),
  )
  return lengths.reduce((sum, length) => sum + length, 0)
}

/** Nobody reads 10 MB for a while, then somebody does, slowly: nothing may be lost, and nothing piled up meanwhile. */
export const slowReader: Scenario = async (protocol, scope) => {
  const client = await protocol.open(scope)
  const payload = makePayload(SLOW_BYTES, 7)
  const stalled = async () => {
    await rest(STALL_MS)
    const held = [...protocol.listener.sockets].map((socket) => socket.writableLength)
    const most = Math.max(0, ...held)
    if (most > HELD_BYTES_MAX) {
      throw new Error(`the server holds ${most} bytes for a client that does not read`)
    }
  }
  assertSame(await client.slowly(payload, stalled), payload)
  return SLOW_BYTES
}

/** Our end of stream first, everything echoed after it, then theirs. */
export const halfClose: Scenario = async (protocol, scope) => {
  let total = 0
  for (const length of [0, 1, 1_000_000]) {
    const client = await protocol.open(scope)
    const payload = makePayload(length, 3)
    if (!client.halfClose) throw new Error('this client cannot half-close')
    assertSame(await client.halfClose(payload), payload)
    total += length
  }
  return total
}

/** 20 clients vanish in the middle; the server must drop each of them and serve the next one. */
export const clientReset: Scenario = async (protocol, scope) => {
  const before = protocol.listener.sockets.size
  const clients = await Promise.all(Array.from({ length: RESETS }, () => protocol.open(scope)))
  await Promise.all(clients.map((client) => client.abort(makePayload(400_000, 5))))
  // No event tells that a listener has become idle; the check's deadline bounds the loop.
  while (protocol.listener.sockets.size > before) await rest(5)
  const next = await protocol.open(scope)
  const payload = makePayload(65_536, 6)
  assertSame(await next.exchange(payload), payload)
  return payload.length
}

/** The page, byte for byte. */
export const page: Scenario = async (protocol, scope) => {
  const client = await protocol.open(scope)
  if (!client.page) throw new Error('this client has no pages')
  const expected = readPage()
  assertSame(await client.page(), expected)
  return expected.length
}

/** Node itself reads and writes TLS and HTTP/2. */
const isNodes: readonly ListenerName[] = ['https', 'h2c', 'tls']

/** Node's parser reads HTTP, and an answer of this size and more may be Node's to send. */
const LARGE_ANSWER_BYTES = 16_000

/** Runs a scenario and makes sure that the driver carried something of it. */
export function onDriver(scenario: Scenario): Scenario {
  return async (protocol, scope) => {
    const before = carried()
    const bytes = await scenario(protocol, scope)
    // On node:net nobody counts.
    if (before === undefined || isNodes.includes(protocol.listener.name)) return bytes
    if (protocol.name.startsWith('http') && bytes >= LARGE_ANSWER_BYTES) return bytes
    if (carried()! > before) return bytes
    throw new Error(`echoed ${bytes} bytes, but the ${driver.name} driver carried none of them`)
  }
}

/** Connections and bytes so far: of large pieces on epoll the driver has only the connection. */
function carried(): number | undefined {
  const { opened, bytesReceived, bytesSent } = driver.stats()
  return opened === undefined ? undefined : opened + bytesReceived! + bytesSent!
}

function rest(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}
