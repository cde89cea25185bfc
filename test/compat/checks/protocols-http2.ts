/**
 * HTTP/2 of Node's own on the judged end. Its scheduler decides anew at every opportunity what leaves next: the writer
 * that breaks on a stream which remembers what it had refused. The peer reads frames, not a session's opinion.
 */
import * as assert from 'node:assert/strict'
import * as http2 from 'node:http2'
import type { Check, CheckContext } from '../check'
import { Http2Peer } from '../http2-peer'
import type { Observed } from '../observe'
import { turns } from '../turns'
import { assertWire, payload } from '../wire'

const area = 'protocols'
const streamCount = 20

function lengthOf(number: number): number {
  return 30_000 + number * 2_001
}

function bodyOf(number: number): Buffer {
  return payload(lengthOf(number), number)
}

/** Sends the body in pieces, so that the scheduler has a choice between streams. */
function writeBody(stream: http2.Http2Stream, number: number): void {
  const body = bodyOf(number)
  for (let at = 0; at < body.length; at += 10_000) stream.write(body.subarray(at, at + 10_000))
  stream.end()
}

/** Stalls the peer while the session has data, and pings through the stall; then every byte has to be there. */
async function storm(
  context: CheckContext,
  { b, seenA }: Observed,
  peer: Http2Peer,
  session: http2.Http2Session,
  idOf: (number: number) => number,
): Promise<void> {
  const numbers = Array.from({ length: streamCount }, (_, i) => i)
  const pinged = new Set<string>()
  let pongs = 0
  const sessionErrors: string[] = []
  session.on('error', (error: NodeJS.ErrnoException) => sessionErrors.push(error.code ?? ''))
  for (let round = 0; round < 6; round++) {
    b.pause()
    // Answers to these overtake data that is queued: what was to be written next is not written next.
    for (let i = 0; i < 5; i++) peer.ping(`peer ${round}${i}.`)
    const opaque = `mine ${round}..`
    pinged.add(opaque)
    session.ping(Buffer.from(opaque), () => pongs++)
    await turns(4)
    b.resume()
    await turns(2)
  }
  const all = peer.when(
    () =>
      numbers.every((number) => peer.streams.get(idOf(number))?.isEnded === true) &&
      peer.pongs.length >= 30 &&
      peer.pings.length >= 6,
  )
  await context.within(all, 'every stream and every PING of an HTTP/2 session').catch((error) => {
    const told = [...sessionErrors, ...seenA.errors.map(({ code }) => code)].join(', ')
    assert.fail(`HTTP/2 frames: ${(error as Error).message}${told === '' ? '' : ` (${told})`}`)
  })
  for (const number of numbers) {
    assertWire(peer.bytesOf(idOf(number)), bodyOf(number), `the body of stream ${idOf(number)}`)
  }
  assert.equal(new Set(peer.pongs).size, 30, 'a PING was answered twice')
  assert.deepEqual([...peer.pings].sort(), [...pinged].sort(), 'PINGs came twice or changed')
  await context.until(() => pongs === pinged.size, 'the answers to our PINGs')
  assert.equal(peer.resets, 0, 'streams were reset')
}

export const http2Checks: readonly Check[] = [
  {
    id: 'W1-50',
    rule: 'W1',
    strength: 'required',
    area,
    requirement:
      'an HTTP/2 server session under pressure: frames leave once and whole, whatever overtook them',
    intent:
      'a stream that sends what it had refused makes the session send a frame twice: the connection dies, or a response is corrupt',
    hazards: [1, 8],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const session = http2.performServerHandshake(pair.a)
      session.on('stream', (stream: http2.ServerHttp2Stream) => {
        stream.on('error', () => {})
        stream.respond({ ':status': 200 })
        writeBody(stream, (stream.id! - 1) / 2)
      })
      const peer = new Http2Peer(pair.b, 'client')
      for (let number = 0; number < streamCount; number++) peer.request(2 * number + 1)
      await storm(context, pair, peer, session, (number) => 2 * number + 1)
    },
  },
  {
    id: 'W1-51',
    rule: 'W1',
    strength: 'required',
    area,
    requirement:
      'an HTTP/2 client session under pressure: frames leave once and whole, whatever overtook them',
    intent: 'grpc uploads many streams over one connection, with PINGs to keep it alive',
    hazards: [1, 8],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const peer = new Http2Peer(pair.b, 'server')
      const session = http2.connect('http://localhost', { createConnection: () => pair.a })
      for (let number = 0; number < streamCount; number++) {
        const stream = session.request({ ':method': 'POST' }, { endStream: false })
        stream.on('error', () => {})
        stream.resume()
        writeBody(stream, number)
      }
      await storm(context, pair, peer, session, (number) => 2 * number + 1)
    },
  },
  {
    id: 'W6-50',
    rule: 'W6',
    strength: 'required',
    area,
    requirement: 'the GOAWAY of an HTTP/2 session that is destroyed reaches the peer, then the end',
    intent:
      'without it the client does not know which requests were served, and repeats those that were',
    hazards: [21, 22],
    needs: ['kernel'],
    async run(context) {
      const { a, b } = await context.pair()
      const session = http2.performServerHandshake(a)
      session.on('error', () => {})
      const opened = new Promise<void>((resolve) => {
        session.on('stream', (stream: http2.ServerHttp2Stream) => {
          stream.on('error', () => {})
          stream.respond({ ':status': 200 })
          stream.write('half of it')
          resolve()
        })
      })
      const ended = new Promise((resolve) => b.once('end', resolve).once('close', resolve))
      const peer = new Http2Peer(b, 'client')
      peer.request(1)
      await context.within(opened, 'a stream')
      await context.within(
        peer.when(() => peer.bytesOf(1).length === 10),
        'the beginning of a response',
      )
      const code = http2.constants.NGHTTP2_ENHANCE_YOUR_CALM
      session.destroy(new Error('enough'), code)
      await context.within(ended, 'the end of the connection')
      assert.equal(peer.failure, undefined, 'the peer got what is no HTTP/2')
      assert.equal(peer.goaway?.code, code, 'the GOAWAY of a destroyed session was lost')
    },
  },
  {
    id: 'W3-50',
    rule: 'W3',
    strength: 'required',
    area,
    requirement:
      'an HTTP/2 session that is closed finishes its streams first, says GOAWAY, and ends the connection',
    intent: 'graceful shutdown: a deploy must not cut off responses',
    hazards: [22, 34],
    async run(context) {
      const { a, b } = await context.pair({ smallBuffers: true })
      const session = http2.performServerHandshake(a)
      const closed = new Promise((resolve) => session.once('close', resolve))
      session.on('error', () => {})
      session.on('stream', (stream: http2.ServerHttp2Stream) => {
        stream.on('error', () => {})
        stream.respond({ ':status': 200 })
        stream.end(payload(300_000, 1))
        session.close()
      })
      const ended = new Promise((resolve) => b.once('end', resolve).once('close', resolve))
      const peer = new Http2Peer(b, 'client')
      peer.request(1)
      const isWrong = peer.when(() => false)
      await context
        .within(Promise.race([ended, isWrong]), 'the end of the connection')
        .catch((error: Error) => assert.fail(`HTTP/2 frames: ${error.message}`))
      assertWire(peer.bytesOf(1), payload(300_000, 1), 'the response of a closed session')
      assert.equal(peer.streams.get(1)?.isEnded, true, 'the end of the response was lost')
      assert.equal(peer.goaway?.code, 0, 'the GOAWAY of a closed session was lost')
      b.end()
      await context.within(closed, "'close' of the session")
    },
  },
]
