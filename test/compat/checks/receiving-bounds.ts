/**
 * R2 and R3: what is received for a consumer that does not read stays bounded, and a chunk that was handed out belongs to
 * who got it. Judges `a` as the reader; that its peer is held up is seen at the peer.
 */
import * as assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import type { Check, CheckContext } from '../check'
import type { Observed } from '../observe'
import { turn } from '../turns'
import { assertWire, payload } from '../wire'

const area = 'receiving'

// More than the kernel keeps for a loopback connection by default (tcp(7): tcp_rmem and tcp_wmem, 6 and 4 MiB). Not smaller
// buffers and less: reading a connection whose window was tiny takes a fifth of a second for every few KiB.
const total = 12 * 1024 * 1024
const piece = 256 * 1024

/** What a connection may hold whose consumer does not read: its high-water mark, and what was under way. */
const heldMost = 512 * 1024

/** Sends `total` bytes in pieces; answers the bytes whose callbacks have come. */
function flood(b: Socket): () => number {
  let taken = 0
  for (let at = 0; at < total; at += piece) {
    b.write(payload(piece, 0, at), (error) => void (error == null && (taken += piece)))
  }
  b.end()
  return () => taken
}

/** Fails unless the flood has stopped with little in `a`, then reads it all. */
async function assertHeld(
  context: CheckContext,
  pair: Observed,
  taken: () => number,
  from: number,
): Promise<void> {
  const { a, seenA } = pair
  let before = -1
  // Until it stands still: what it takes to fill the way is the kernel's affair.
  for (let round = 0; round < 20 && taken() + a.readableLength !== before; round++) {
    before = taken() + a.readableLength
    await context.silence()
  }
  assert.ok(
    a.readableLength <= heldMost,
    `a consumer that does not read has ${a.readableLength} bytes kept for it`,
  )
  assert.ok(taken() < total, 'the peer was not held up by a consumer that does not read')
  if (from === 0) seenA.read()
  else a.resume()
  await context.within(seenA.seen('end'), 'all data once the consumer reads')
  assertWire(seenA.bytes, payload(total), 'data kept for a slow consumer')
}

export const boundsChecks: readonly Check[] = [
  {
    id: 'R2-1',
    rule: 'R2',
    strength: 'required',
    area,
    requirement: 'a consumer that never reads holds up its peer: what is kept for it is bounded',
    intent: 'one client that sends and a handler that waits must not fill the memory of the server',
    hazards: [48],
    needs: ['kernel'],
    async run(context) {
      const pair = await context.pair()
      await assertHeld(context, pair, flood(pair.b), 0)
    },
  },
  {
    id: 'R2-2',
    rule: 'R2',
    strength: 'required',
    area,
    requirement: 'a consumer that pauses holds up its peer: what is kept for it is bounded',
    intent: 'a proxy whose other side is slow: pause() has to reach the peer',
    hazards: [47, 48],
    needs: ['kernel'],
    async run(context) {
      const pair = await context.pair()
      pair.seenA.read()
      const taken = flood(pair.b)
      await context.within(pair.seenA.received(1), 'the first data')
      pair.a.pause()
      await assertHeld(context, pair, taken, 1)
    },
  },
  {
    id: 'R2-3',
    rule: 'R2',
    strength: 'required',
    area,
    requirement:
      'highWaterMark is obeyed: once so much is kept, no more than what was under way is received',
    intent: 'a server with ten thousand connections sets it to know how much memory they take',
    hazards: [47, 48],
    needs: ['socket'],
    async run(context) {
      const { a, b } = await context.pair({ highWaterMark: 1000 })
      assert.equal(a.readableHighWaterMark, 1000, 'highWaterMark was not taken over')
      b.write(payload(2000))
      await context.until(() => a.readableLength >= 1000, 'data up to the high-water mark')
      for (let at = 2000; at < 1_000_000; at += 2000) b.write(payload(2000, 0, at))
      await context.silence()
      // What one receive may bring, twice: one under way, one already there.
      const most = 1000 + 2 * 65_536
      assert.ok(a.readableLength <= most, `highWaterMark 1000 and ${a.readableLength} bytes kept`)
    },
  },
  {
    id: 'R3-1',
    rule: 'R3',
    strength: 'required',
    area,
    requirement: 'a chunk that is kept never changes while later data comes',
    intent: 'bodies are collected chunk by chunk and joined at the end',
    hazards: [16],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const kept: Buffer[] = []
      a.on('data', (chunk: Buffer) => {
        kept.push(chunk)
        seenA.take(chunk)
      })
      const bytes = payload(300_000)
      for (let at = 0; at < bytes.length; at += 3000) {
        b.write(bytes.subarray(at, at + 3000))
        if (at % 9000 === 0) await turn()
      }
      await context.within(seenA.received(bytes.length), 'all chunks')
      assertWire(seenA.bytes, bytes, 'chunks when they came')
      assertWire(Buffer.concat(kept), bytes, 'a kept chunk has changed')
    },
  },
  {
    id: 'R3-2',
    rule: 'R3',
    strength: 'required',
    area,
    requirement: 'a chunk may be written into: no later chunk shows it',
    intent: 'WebSocket unmasks in place, ciphers decrypt in place',
    hazards: [16],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const kept: Buffer[] = []
      a.on('data', (chunk: Buffer) => {
        kept.push(chunk)
        seenA.take(chunk)
      })
      b.write(payload(3000))
      await context.within(seenA.received(3000), 'the first data')
      a.pause()
      b.write(payload(3000, 0, 3000))
      await context.until(() => a.readableLength === 3000, 'the second data, kept')
      for (const chunk of kept) chunk.fill(0)
      a.resume()
      await context.within(seenA.received(6000), 'the second data')
      assertWire(seenA.bytes, payload(6000), 'writing into a chunk changed a later one')
    },
  },
  {
    id: 'R3-3',
    rule: 'R3',
    strength: 'required',
    area,
    requirement:
      'the memory of a chunk may be transferred: no other chunk or connection loses its bytes',
    intent: 'a body is handed to a worker thread by transfer',
    hazards: [13, 16, 50],
    async run(context) {
      const [first, other] = [await context.pair(), await context.pair()]
      first.b.write(payload(3000, 1))
      other.b.write(payload(3000, 2))
      await context.until(
        () => first.a.readableLength === 3000 && other.a.readableLength === 3000,
        'data of two connections, kept',
      )
      const chunk = first.a.read() as Buffer
      first.seenA.take(chunk)
      const { buffer } = chunk
      try {
        structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
      } catch {
        // Memory that refuses to be transferred harms nobody.
        context.note('the memory of the chunk cannot be transferred')
      }
      first.b.write(payload(3000, 1, 3000))
      other.b.write(payload(3000, 2, 3000))
      for (const pair of [first, other]) pair.seenA.read()
      const both = Promise.all([first.seenA.received(6000), other.seenA.received(6000)])
      await context.within(both, 'data of both connections after a transfer')
      assertWire(first.seenA.bytes, payload(6000, 1), 'a transfer changed a later chunk')
      assertWire(other.seenA.bytes, payload(6000, 2), 'a transfer changed another connection')
    },
  },
  {
    id: 'R3-4',
    rule: 'R3',
    strength: 'recommended',
    area,
    requirement: 'the memory behind a chunk shows no bytes of another connection',
    intent:
      "a chunk's `buffer` may be handed on whole, to a worker or to a library, by mistake or not",
    hazards: [16],
    async run(context) {
      const [first, other] = [await context.pair(), await context.pair()]
      const secret = payload(600, 9)
      other.b.write(secret)
      await context.until(() => other.a.readableLength === 600, 'the data of the other connection')
      first.b.write(payload(600, 1))
      await context.until(() => first.a.readableLength === 600, 'the data of this connection')
      const chunk = first.a.read() as Buffer
      const memory = Buffer.from(chunk.buffer)
      const found = memory.indexOf(secret.subarray(0, 32)) >= 0
      assert.ok(!found, 'the memory behind a chunk shows bytes of another connection')
    },
  },
]
