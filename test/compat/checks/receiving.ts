/**
 * R1: what was received reaches the consumer, whole, in order and before 'end', however it is read: by 'data', by
 * 'readable', by iteration, through a pipe, with pauses, after a hand-over. Bounds (R2) and memory (R3) are in
 * receiving-bounds.ts. Judges `a` as the reader; `b` is believed to have sent what it was given.
 */
import * as assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import type { Check } from '../check'
import { turn } from '../turns'
import { assertWire, payload } from '../wire'
import { boundsChecks } from './receiving-bounds'
import { handOverChecks } from './receiving-hand-over'
import { manyChecks } from './receiving-many'

const area = 'receiving'

const orderChecks: readonly Check[] = [
  {
    id: 'R1-1',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'data that came before the first listener is delivered to it, and nothing is lost',
    intent: 'a server looks something up before it attaches its parser: the request must be there',
    hazards: [46],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const early = payload(100)
      b.write(early)
      await context.until(() => a.readableLength === early.length, 'data without a listener')
      await turn()
      b.write(payload(200_000, 0, 100))
      await context.silence()
      seenA.read()
      await context.within(seenA.received(200_100), 'the data that came before the listener')
      assertWire(seenA.bytes, payload(200_100), 'data before the first listener')
    },
  },
  {
    id: 'R1-2',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      "data and end of stream that came before the first listener lead to 'data', then 'end'",
    intent:
      'a peer that sends a request and half-closes must not leave the server waiting for ever',
    hazards: [46],
    async run(context) {
      for (const length of [100, 300_000]) {
        const { b, seenA } = await context.pair()
        b.end(payload(length))
        await context.silence()
        assert.ok(!seenA.events.includes('end'), "'end' was emitted before anybody read")
        seenA.read()
        await context.within(seenA.seen('end'), "'end' after data that came before the listener")
        assertWire(seenA.bytes, payload(length), "data before the first listener's 'end'")
      }
    },
  },
  {
    id: 'R1-3',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: "pause() in a 'data' listener is obeyed at once: no 'data' after it returned",
    intent:
      'a consumer that pauses has no room: a chunk more is lost or grows memory without bound',
    hazards: [47],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      let isPaused = false
      let late = 0
      a.on('data', (chunk: Buffer) => {
        if (isPaused) late++
        seenA.take(chunk)
        isPaused = true
        a.pause()
        setImmediate(() => {
          isPaused = false
          a.resume()
        })
      })
      const bytes = payload(400_000)
      // Enough that more is there already when the first pause comes; then some while paused, some while resumed.
      b.write(bytes.subarray(0, 300_000))
      for (let at = 300_000; at < bytes.length; at += 10_000) {
        b.write(bytes.subarray(at, at + 10_000))
        await turn()
      }
      await context.within(seenA.received(bytes.length), 'all data over many pauses')
      assert.equal(late, 0, "'data' came after pause() had returned")
      assertWire(seenA.bytes, bytes, 'data over many pauses')
    },
  },
  {
    id: 'R1-4',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'pause() from outside is obeyed, and what comes meanwhile is kept for resume()',
    intent: 'flow control by another party (a proxy, a parser): nothing lost, nothing too early',
    hazards: [24, 47],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      seenA.read()
      b.write(payload(1000))
      await context.within(seenA.received(1000), 'data before the pause')
      for (let round = 0; round < 3; round++) {
        a.pause()
        const had = seenA.length
        b.write(payload(700, 0, had))
        b.write(payload(300, 0, had + 700))
        await context.silence()
        assert.equal(seenA.length, had, "'data' came while paused")
        a.resume()
        await context.within(seenA.received(had + 1000), 'the data kept while paused')
      }
      assertWire(seenA.bytes, payload(4000), 'data between pause and resume')
    },
  },
  {
    id: 'R1-5',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'pause() and resume() in one tick leave the socket reading',
    intent:
      'a filled buffer that empties at once: reading that is still being stopped must start again',
    hazards: [25],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      seenA.read()
      b.write(payload(500))
      await context.within(seenA.received(500), 'data before the pause')
      for (let round = 1; round <= 4; round++) {
        for (let i = 0; i < round; i++) a.pause().resume()
        b.write(payload(500, 0, seenA.length))
        await context.within(seenA.received(500 + round * 500), 'data after pause and resume')
      }
      assertWire(seenA.bytes, payload(2500), 'data after pause and resume in one tick')
    },
  },
  {
    id: 'R1-6',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      'pause() and resume() at any time within a stream of data neither lose nor reorder it',
    intent: 'cancelling a receive that already has data: those bytes belong to the stream',
    hazards: [24, 25],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      seenA.read()
      const bytes = payload(400_000)
      b.end(bytes)
      // Numbered, not random: which of them meets data under way is the kernel's affair, that many do is enough.
      for (let round = 0; round < 200 && seenA.length < bytes.length; round++) {
        a.pause()
        if (round % 3 === 1) await turn()
        if (round % 3 === 2) await new Promise<void>((resolve) => process.nextTick(resolve))
        a.resume()
        await turn()
      }
      await context.within(seenA.seen('end'), "'end' after many pauses")
      assertWire(seenA.bytes, bytes, 'data with pauses at any time')
    },
  },
  {
    id: 'R1-7',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: "'end' waits until the data before it has been consumed, and comes after it, once",
    intent: "'end' means that there is no more: who gets it early cuts the message short",
    hazards: [46],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      b.end(payload(100))
      await context.until(() => a.readableLength === 100, 'data in the buffer')
      await context.silence()
      assert.ok(!seenA.events.includes('end'), "'end' was emitted before the data was consumed")
      a.on('end', () => seenA.note(`ended after ${seenA.length}`))
      seenA.read()
      await context.within(seenA.seen('end'), "'end' once the data was consumed")
      await turn()
      assert.equal(seenA.events.filter((event) => event === 'end').length, 1, "'end' came twice")
      assert.ok(seenA.events.includes('ended after 100'), "'end' came before the data")
    },
  },
  {
    id: 'R1-8',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'data and end of stream that come together are delivered as data, then end',
    intent: 'an answer and the FIN in one packet: the last bytes must not go under',
    hazards: [51],
    async run(context) {
      for (const length of [1, 1000, 70_000]) {
        const { b, seenA } = await context.pair()
        seenA.read()
        b.end(payload(length))
        await context.within(seenA.seen('end'), "'end' after data and FIN at once")
        assertWire(seenA.bytes, payload(length), 'data that came with the FIN')
      }
    },
  },
  {
    id: 'R1-9',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'after our half is closed the peer may go on sending, and all of it arrives',
    intent: 'a request that ends its half and then reads a long answer',
    hazards: [36],
    needs: ['halfOpen'],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair()
      seenA.read()
      seenB.read()
      a.end('request')
      await context.within(seenB.seen('end'), 'our FIN at the peer')
      const bytes = payload(1_000_000)
      b.end(bytes)
      await context.within(seenA.seen('close'), "'close' after both halves")
      assertWire(seenA.bytes, bytes, 'data after our FIN')
      assert.ok(seenA.events.includes('end'), "'end' is missing after our FIN")
    },
  },
  {
    id: 'R1-10',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'an empty write sends nothing and ends nothing, and read(0) takes nothing',
    intent: 'an empty chunk taken for end of stream closes a connection that is alive',
    hazards: [54],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair()
      seenA.read()
      seenB.read()
      const empty: number[] = []
      a.on('data', (chunk: Buffer) => void (chunk.length === 0 && empty.push(0)))
      for (const end of [a, b]) {
        end.write('')
        end.write(Buffer.alloc(0))
      }
      a.read(0)
      await context.silence()
      assert.ok(!seenB.events.includes('end'), 'an empty write ended our half')
      assert.ok(!seenA.events.includes('end'), 'an empty write of the peer ended its half')
      for (const end of [a, b]) end.write(payload(10))
      await context.within(seenA.received(10), 'data after an empty write')
      await context.within(seenB.received(10), 'data of a after an empty write')
      assert.equal(empty.length, 0, "an empty chunk was given to 'data'")
    },
  },
  {
    id: 'R1-11',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'a stream of writes of any size arrives as those bytes in that order',
    intent: 'the least that a byte stream promises',
    hazards: [4, 51, 53],
    async run(context) {
      const { b, seenA } = await context.pair()
      seenA.read()
      const bytes = payload(1_000_000)
      const sizes = [1, 15, 1460, 4096, 65_536, 3, 20_000, 65_535]
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length] ?? 1
        b.write(bytes.subarray(at, at + size))
        at += size
        if (i % 4 === 0) await turn()
      }
      b.end()
      await context.within(seenA.seen('end'), "'end' of a stream of writes")
      assertWire(seenA.bytes, bytes, 'a stream of writes')
    },
  },
  {
    id: 'R1-12',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'setEncoding() decodes characters whose bytes come apart',
    intent:
      'text protocols: a character cut by a packet must not become two replacement characters',
    hazards: [],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      a.setEncoding('utf8')
      const text = 'grün € 😀 水, all of it'
      let got = ''
      a.on('data', (chunk: string) => void (got += chunk))
      const bytes = Buffer.from(text)
      for (const byte of bytes) {
        b.write(Buffer.from([byte]))
        // Each byte by itself, as far as the way allows.
        await turn()
        await turn()
      }
      b.end()
      await context.within(seenA.seen('end'), "'end' of a text")
      assert.equal(got, text, 'characters were broken where their bytes were')
    },
  },
  {
    id: 'R1-13',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'a pipe to a slow destination delivers all, and does not run ahead of it',
    intent: 'a proxy with a slow client: its memory must not hold what the client has not taken',
    hazards: [47],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      let most = 0
      const slow = new Writable({
        highWaterMark: 10_000,
        write(chunk: Buffer, _encoding, done) {
          most = Math.max(most, slow.writableLength)
          seenA.take(chunk)
          setImmediate(done)
        },
      })
      const finished = new Promise<void>((resolve) => slow.on('finish', resolve))
      a.pipe(slow)
      const bytes = payload(600_000)
      b.end(bytes)
      await context.within(finished, 'the end of the pipe')
      assertWire(seenA.bytes, bytes, 'data through a pipe')
      // One chunk more than fills it, and one chunk is 64 KiB at most in every implementation so far.
      assert.ok(most <= 10_000 + 2 * 65_536, `a pipe ran ahead of its destination: ${most} bytes`)
    },
  },
  {
    id: 'R1-14',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: "a reset by the peer is an error, not an 'end'",
    intent: 'a message cut short by a reset must not look complete',
    hazards: [51],
    needs: ['socket', 'reset'],
    async run(context) {
      const { b, seenA } = await context.pair()
      seenA.read()
      b.write(payload(100))
      await context.within(seenA.received(100), 'data before the reset')
      b.resetAndDestroy()
      await context.within(seenA.seen('close'), "'close' after a reset")
      assert.ok(!seenA.events.includes('end'), "a reset was told as 'end'")
      assert.equal(seenA.errors[0]?.code, 'ECONNRESET', 'a reset was not told as ECONNRESET')
    },
  },
  {
    id: 'R1-15',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'a reset discards what was not read: an error and no later data, as with node:net',
    intent: 'programs rely on silence after the error: their state is gone by then',
    hazards: [51],
    needs: ['socket', 'reset'],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      b.write(payload(100))
      await context.until(() => a.readableLength === 100, 'data in the buffer')
      b.resetAndDestroy()
      await context.within(seenA.seen('close'), "'close' after a reset of an unread socket")
      seenA.read()
      await turn()
      assert.equal(seenA.length, 0, "'data' came after the reset's 'close'")
      assert.ok(!seenA.events.includes('end'), "'end' came after a reset")
    },
  },
  {
    id: 'R1-16',
    rule: 'R1',
    strength: 'recommended',
    area,
    requirement: 'what the peer wrote at once, and waited after, is one chunk',
    intent:
      'programs that take a chunk for a message work over loopback, until a buffer of the transport ends in one',
    hazards: [52],
    async run(context) {
      const { b, seenA } = await context.pair()
      seenA.read()
      const lengths: number[] = []
      const message = 3000
      // Enough to come to the end of every buffer that is likely.
      const bytes = payload(100 * message)
      for (let at = 0; at < bytes.length; at += message) {
        const before = seenA.chunks
        b.write(bytes.subarray(at, at + message))
        await context.within(seenA.received(at + message), 'a message')
        lengths.push(seenA.chunks - before)
      }
      assert.deepEqual(new Set(lengths), new Set([1]), 'a message came in several chunks')
      assertWire(seenA.bytes, bytes, 'messages one after the other')
    },
  },
]

export const receivingChecks: readonly Check[] = [
  ...orderChecks,
  ...handOverChecks,
  ...boundsChecks,
  ...manyChecks,
]
