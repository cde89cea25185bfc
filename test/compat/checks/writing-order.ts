/** W1 and W3: what was accepted leaves whole, once, in order, without another call. Judged by the peer's bytes. */
import * as assert from 'node:assert/strict'
import type { Check } from '../check'
import { turns } from '../turns'
import { assertWire, payload } from '../wire'
import { Writes, arrive } from './sends'

const area = 'writing'

export const orderChecks: readonly Check[] = [
  {
    id: 'W1-1',
    rule: 'W1',
    strength: 'required',
    area,
    requirement: 'a frame whose write() returned false is sent whole, once, before the urgent one',
    intent: 'HTTP/2 writers choose another frame after a refusal: a frame goes out twice or split',
    hazards: [1, 2],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      for (let round = 0; round < 4; round++) {
        for (let frame = 0; frame < 16 && writes.write(9000); frame++);
        const urgent = payload(64, 100 + round)
        writes.put(urgent)
        await turns(2)
        assertWire(await arrive(context, pair, writes.length), writes.bytes)
        pair.b.pause()
        await writes.fill(context)
      }
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      writes.assertCallbacks()
    },
  },
  {
    id: 'W1-2',
    rule: 'W1',
    strength: 'required',
    area,
    requirement:
      'a chunk whose write() returned false is sent once, also if no one waits for drain',
    intent: 'false taken for a refusal: the last chunk before end() is missing, or there twice',
    hazards: [2],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      writes.write(20_000)
      writes.write(7)
      pair.a.end()
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      await context.within(pair.seenB.seen('end'), 'the end after the last chunk')
    },
  },
  {
    id: 'W1-3',
    rule: 'W1',
    strength: 'required',
    area,
    requirement: '2,000 small writes to a peer that does not read are all accepted and all sent',
    intent: 'loggers and pub-sub servers ignore false: a bounded queue drops their messages',
    hazards: [2, 65],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      for (let i = 0; i < 2000; i++) writes.write(1 + (i % 97))
      await turns(2)
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      await context.until(() => writes.waiting === 0, 'the callbacks of 2,000 writes')
      writes.assertCallbacks()
    },
  },
  {
    id: 'W1-4',
    rule: 'W1',
    strength: 'required',
    area,
    requirement: 'of a write that throws nothing is sent, and its neighbours are sent whole',
    intent: 'a rejected argument leaves half a message, or the string "null", in the stream',
    hazards: [3],
    async run(context) {
      const pair = await context.pair()
      const writes = new Writes(pair)
      const refused: [string, () => unknown][] = [
        ['ERR_INVALID_ARG_TYPE', () => pair.a.write(7 as unknown as string)],
        ['ERR_INVALID_ARG_TYPE', () => pair.a.write({} as unknown as string)],
        ['ERR_STREAM_NULL_VALUES', () => pair.a.write(null as unknown as string)],
        ['ERR_UNKNOWN_ENCODING', () => pair.a.write('abc', 'utf-7' as BufferEncoding)],
      ]
      for (const [code, refuse] of refused) {
        writes.write(50)
        assert.throws(refuse, { code }, `a wrong write is not refused with ${code}`)
      }
      writes.write(50)
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      assert.equal(pair.seenA.errors.length, 0, 'a refused write destroyed the stream')
    },
  },
  {
    id: 'W3-1',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: '100 writes of 16 KiB arrive in order while the peer stalls and resumes',
    intent: 'two sends in flight overtake each other on a full socket: downloads are corrupt',
    hazards: [4, 6, 65],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      for (let i = 0; i < 100; i++) writes.write(16 << 10)
      let stalledAt = 0
      pair.b.on('data', () => {
        if (pair.seenB.length < stalledAt + (150 << 10)) return
        stalledAt = pair.seenB.length
        pair.b.pause()
        void turns(3).then(() => pair.b.resume())
      })
      pair.seenB.read()
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      await context.until(() => writes.waiting === 0, 'the callbacks of 100 writes')
      writes.assertCallbacks()
    },
  },
  {
    id: 'W3-2',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'a single write of 1 MB that the kernel takes in parts arrives whole',
    intent: 'the tail of a short send is forgotten: large responses are cut',
    hazards: [5],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      writes.write(1_000_003)
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      await context.until(() => writes.waiting === 0, 'the callback of the write')
      writes.assertCallbacks()
    },
  },
  {
    id: 'W3-3',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: '1,500 corked chunks of all encodings, some empty, arrive whole and in order',
    intent: 'writev(2) takes 1,024 vectors, and a short one ends inside of one: headers are cut',
    hazards: [7],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      const encodings = ['latin1', 'utf8', 'hex', 'ucs2', 'base64', 'ascii'] as const
      pair.a.cork()
      for (let i = 0; i < 1500; i++) {
        if (i % 50 === 49) writes.put(i % 100 === 99 ? '' : new Uint8Array(0), new Uint8Array(0))
        else if (i % 2 === 0) writes.write(1 + (i % 331))
        else {
          const encoding = encodings[(i >> 1) % encodings.length]!
          const text =
            encoding === 'hex'
              ? payload(1 + (i % 90), 3, i * 16).toString('hex')
              : encoding === 'base64'
                ? payload(1 + (i % 90), 3, i * 16).toString('base64')
                : encoding === 'ascii'
                  ? `plain ${i};`
                  : `grüße ${i} ${encoding === 'latin1' ? '' : 'κόσμε 🜚'};`
          writes.put(text, Buffer.from(text, encoding), encoding)
        }
      }
      pair.a.uncork()
      await turns(2)
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      await context.until(() => writes.waiting === 0, 'the callbacks of 1,500 writes')
      writes.assertCallbacks()
    },
  },
  {
    id: 'W3-4',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'a byte that was written arrives although its writer only reads from then on',
    intent:
      'a buffered byte that waits for a flush: prompt and request wait for each other for ever',
    hazards: [10],
    async run(context) {
      const pair = await context.pair()
      pair.seenA.read()
      pair.seenB.read()
      for (let i = 1; i <= 3; i++) {
        pair.a.write(payload(1, 5, i))
        await context.within(pair.seenB.received(i), 'a single byte at the peer')
        pair.b.write(payload(1, 6, i))
        await context.within(pair.seenA.received(i), "the peer's answer")
      }
      assertWire(pair.seenB.bytes, payload(3, 5, 1))
    },
  },
  {
    id: 'W3-5',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'empty writes send nothing, end nothing, call back, and hold nothing up',
    intent: 'a send of no bytes never completes, or its 0 is taken for an end: the queue stands',
    hazards: [54],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      const nothing = new Uint8Array(0)
      writes.put(nothing)
      await context.until(() => writes.waiting === 0, 'the callback of an empty write')
      writes.put('', nothing)
      writes.write(10)
      writes.put(nothing)
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      pair.b.pause()
      await writes.fill(context)
      writes.put(nothing)
      writes.put('', nothing, 'ucs2')
      writes.write(10)
      writes.put(nothing)
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      await context.until(() => writes.waiting === 0, 'the callbacks of empty writes')
      writes.assertCallbacks()
      assert.deepEqual(pair.seenB.events, [], 'an empty write ended the stream')
    },
  },
  {
    id: 'W3-6',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'large strings arrive whole, whatever number of bytes a character has',
    intent: 'a length in characters used as one in bytes: pages with accents are cut at their end',
    hazards: [5],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      const count = 30_000
      const texts = [
        ['utf8', 'aé€🜚'],
        ['latin1', 'aéÿ'],
        ['ucs2', 'a€🜚'],
        ['utf8', 'only ascii'],
      ] as const
      for (const [encoding, unit] of texts) {
        // Flat in memory or not, a row of numbers makes repetition and loss visible.
        const text = Array.from({ length: count / 10 }, (_, i) => `${i}${unit}`).join('')
        writes.put(text, Buffer.from(text, encoding), encoding)
        writes.write(11)
      }
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      writes.assertCallbacks()
    },
  },
  {
    id: 'W3-7',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'a string is sent in its encoding, or in the default encoding that was set',
    intent: 'hex and base64 of binary protocols go out as text',
    hazards: [],
    async run(context) {
      const pair = await context.pair()
      const writes = new Writes(pair)
      const bytes = payload(33, 8)
      for (const encoding of ['hex', 'base64', 'base64url', 'latin1', 'binary'] as const) {
        writes.put(bytes.toString(encoding), bytes, encoding)
      }
      for (const encoding of ['ucs2', 'utf16le', 'utf8'] as const) {
        writes.put('zwölf €', Buffer.from('zwölf €', encoding), encoding)
      }
      writes.put('ünd', Buffer.from('ünd', 'utf8'))
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      pair.a.setDefaultEncoding('hex')
      writes.put(bytes.toString('hex'), bytes)
      writes.put('ünd', Buffer.from('ünd', 'latin1'), 'latin1')
      assertWire(await arrive(context, pair, writes.length), writes.bytes, 'the default encoding')
    },
  },
  {
    id: 'W3-8',
    rule: 'W3',
    strength: 'required',
    area,
    requirement:
      'what was written while corked is sent at the last uncork(), or at end(), in order',
    intent: 'header and body of a message change places, or the last corked chunk stays',
    hazards: [7],
    async run(context) {
      const pair = await context.pair()
      const writes = new Writes(pair)
      writes.write(100)
      pair.a.cork()
      writes.write(200)
      pair.a.cork()
      writes.write(300)
      pair.a.uncork()
      assert.equal(pair.a.writableLength >= 500, true, 'the first of two uncork() sent already')
      pair.a.uncork()
      writes.write(400)
      pair.a.cork()
      writes.write(1)
      pair.a.uncork()
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      pair.a.cork()
      pair.a.cork()
      writes.write(500)
      writes.write(600)
      pair.a.end()
      assertWire(await arrive(context, pair, writes.length), writes.bytes, 'end() while corked')
      await context.within(pair.seenB.seen('end'), 'the end after what was corked')
      writes.assertCallbacks()
    },
  },
  {
    id: 'W3-9',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'the chunk given to end() is the last of the stream, in its encoding',
    intent: 'a last chunk overtakes what is queued, or goes out in the wrong encoding',
    hazards: [22],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      const last = payload(40, 8)
      const expected = Buffer.concat([writes.bytes, last])
      const ended = new Promise<void>((resolve) => pair.a.end(last.toString('hex'), 'hex', resolve))
      assertWire(await arrive(context, pair, expected.length), expected)
      await context.within(ended, 'the callback of end()')
      await context.within(pair.seenB.seen('end'), 'the end after the chunk of end()')
    },
  },
  {
    id: 'W3-10',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'writes made inside callbacks and in drain follow those made before them',
    intent: 'a write in a callback overtakes the queue: pipelined answers change places',
    hazards: [58],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      let chains = 3
      const chain = (stream: number, left: number): void => {
        writes.put(payload(700 + left, stream, left * 16_000))
        if (left > 0) pair.a.write(new Uint8Array(0), () => chain(stream, left - 1))
        else chains--
      }
      await writes.fill(context)
      pair.a.once('drain', () => chain(30, 5))
      chain(31, 10)
      writes.write(3000)
      chain(32, 10)
      pair.seenB.read()
      await context.until(() => chains === 0 && writes.waiting === 0, 'the chains')
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
    },
  },
  {
    id: 'W3-11',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'of a view exactly its bytes are sent, wherever it lies in its memory',
    intent: 'slices of a pool go out from the start of the pool: other requests leak',
    hazards: [16],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      const whole = payload(300_000, 12)
      for (const [from, to] of [
        [0, 10],
        [17, 18],
        [4096, 9000],
        [120_001, 299_999],
        [64, 64],
      ] as const) {
        writes.put(new Uint8Array(whole.buffer, whole.byteOffset + from, to - from))
        writes.put(whole.subarray(from, to))
      }
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
    },
  },
  {
    id: 'W3-12',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'of many connections that are blocked at once each sends its own bytes',
    intent: 'send memory shared between connections: one customer sees the answer to another',
    hazards: [4, 15],
    async run(context) {
      const all = []
      for (let i = 0; i < 12; i++) {
        const pair = await context.pair({ smallBuffers: true })
        all.push({ pair, writes: new Writes(pair, i) })
      }
      for (let round = 0; round < 5; round++) {
        for (const { writes } of all) writes.write(round === 1 ? 150_000 : 1000)
        await turns(1)
      }
      for (const { pair } of all) pair.seenB.read()
      for (const { pair, writes } of all) {
        assertWire(await arrive(context, pair, writes.length), writes.bytes)
      }
    },
  },
]
