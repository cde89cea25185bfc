/** W4: what callbacks, return values, drain and the counters say about bytes under way. */
import * as assert from 'node:assert/strict'
import type { Check } from '../check'
import { turns } from '../turns'
import { assertWire, payload } from '../wire'
import { Writes, arrive, eventsOf } from './sends'

const area = 'write callbacks'

export const callbackChecks: readonly Check[] = [
  {
    id: 'W4-1',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: 'no callback of a write is called before write() has returned',
    intent: 'code that sets up state after write() finds its callback gone by: exchanges never end',
    hazards: [],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      writes.write(10)
      writes.put('text', Buffer.from('text'))
      writes.put(new Uint8Array(0))
      pair.a.cork()
      writes.write(10)
      pair.a.uncork()
      assert.equal(writes.hasCalledInside, false, 'a callback was called inside write()')
      await context.until(() => writes.waiting === 0, 'the callbacks of small writes')
      await writes.fill(context)
      writes.write(10)
      assert.equal(writes.hasCalledInside, false, 'a callback was called inside write()')
      let isInside = true
      let wasInside = false
      const ended = new Promise<void>((resolve) => {
        pair.a.end(() => {
          wasInside = isInside
          resolve()
        })
      })
      isInside = false
      pair.seenB.read()
      await context.within(ended, 'the callback of end()')
      assert.equal(writes.hasCalledInside, false, 'a callback was called inside write()')
      assert.equal(wasInside, false, "end()'s callback was called inside end()")
    },
  },
  {
    id: 'W4-2',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: 'each write is called back exactly once, in the order of the writes',
    intent: 'a request settled twice, or by the answer of another; a producer that waits for ever',
    hazards: [5, 51],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      for (let i = 0; i < 30; i++) {
        if (i === 10) await writes.fill(context)
        if (i === 20) pair.a.cork()
        writes.write(i % 5 === 4 ? 0 : i * 37)
      }
      pair.a.uncork()
      await arrive(context, pair, writes.length)
      await context.until(() => writes.waiting === 0, 'a callback for each write')
      await turns(3)
      writes.assertCallbacks()
      const wrong = writes.outcomes.find((outcome) => outcome !== 'ok')
      assert.equal(wrong, undefined, `a write that arrived was called back with ${wrong}`)
    },
  },
  {
    id: 'W4-3',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: 'while the kernel cannot take a write, its callback does not come',
    intent: 'a program that exits or frees in the callback loses what it thought was sent',
    hazards: [5],
    needs: ['kernel'],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      writes.write(40)
      writes.write(40_000)
      await context.silence()
      assert.deepEqual(
        writes.outcomes.slice(-2),
        ['waiting', 'waiting'],
        'the callback of a blocked write came',
      )
      await arrive(context, pair, writes.length)
      await context.until(() => writes.waiting === 0, 'the callbacks once the peer reads')
    },
  },
  {
    id: 'W4-4',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: "after write() returned false 'drain' comes once, when all is gone; else never",
    intent: 'pipes that stop for ever, or write into a stream that is still full',
    hazards: [2],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const { a, seenA } = pair
      const writes = new Writes(pair)
      const drains = (): number => eventsOf(seenA).filter((name) => name === 'drain').length
      assert.equal(writes.write(10), true, 'write() of 10 bytes returned false')
      await context.until(() => writes.waiting === 0, 'the callback of 10 bytes')
      await turns(2)
      assert.equal(drains(), 0, "'drain' came although no write() had returned false")
      await writes.fill(context)
      await turns(2)
      // Those of the writes that went through while it filled.
      const before = drains()
      assert.equal(a.writableNeedDrain, true, 'a blocked stream needs no drain')
      let lengthAtDrain = -1
      a.once('drain', () => (lengthAtDrain = a.writableLength))
      await arrive(context, pair, writes.length)
      await context.until(() => drains() > before, "'drain'")
      await turns(3)
      assert.equal(drains(), before + 1, `'drain' came ${drains() - before} times for one need`)
      assert.equal(lengthAtDrain, 0, "'drain' came with bytes still waiting")
      assert.equal(a.writableNeedDrain, false, 'a drained stream still needs a drain')
      pair.b.pause()
      await writes.fill(context)
      const last = drains()
      a.end()
      await arrive(context, pair, writes.length)
      await context.within(seenA.seen('finish'), "'finish'")
      assert.equal(drains(), last, "'drain' came after end()")
    },
  },
  {
    id: 'W4-5',
    rule: 'W4',
    strength: 'required',
    area,
    requirement:
      'write() returns false as soon as the high-water mark is reached, and true below it',
    intent: 'a producer that is never told to wait fills the memory while its client is slow',
    hazards: [48],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const { a } = pair
      const writes = new Writes(pair)
      const mark = a.writableHighWaterMark
      assert.equal(writes.write(mark - 1), true, 'write() below the mark returned false')
      await context.until(() => writes.waiting === 0, 'the callback of a write below the mark')
      await writes.fill(context)
      assert.equal(writes.write(1), false, 'write() returned true to a stream that is full')
      assert.equal(a.writableNeedDrain, true, 'writableNeedDrain is false on a full stream')
      await arrive(context, pair, writes.length)
      await context.until(() => a.writableLength === 0, 'an empty queue')
      assert.equal(writes.write(1), true, 'write() returned false to a drained stream')
    },
  },
  {
    id: 'W4-6',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: 'writableLength is the bytes of the writes without a callback, 0 in the end',
    intent: 'servers drop slow clients by it: it has to be neither 0 nor for ever growing',
    hazards: [],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const { a } = pair
      const writes = new Writes(pair)
      await writes.fill(context)
      const before = a.writableLength
      assert.equal(before > 0, true, 'writableLength is 0 while a write waits')
      writes.write(1000)
      writes.put('ab', Buffer.from('ab'))
      a.cork()
      writes.write(5)
      assert.equal(a.writableLength, before + 1007, 'writableLength leaves out what is queued')
      a.uncork()
      assert.equal(a.writableLength, before + 1007, 'writableLength leaves out what is queued')
      await arrive(context, pair, writes.length)
      await context.until(() => writes.waiting === 0, 'all callbacks')
      assert.equal(a.writableLength, 0, 'writableLength keeps bytes that were sent')
    },
  },
  {
    id: 'W4-7',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: 'bytesWritten counts bytes, waiting ones too, exactly, also after the close',
    intent: 'accounting and progress by it are wrong',
    hazards: [5],
    needs: ['socket'],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const { a } = pair
      const writes = new Writes(pair)
      pair.seenA.read()
      writes.write(1000)
      writes.put('äöü€', Buffer.from('äöü€'))
      writes.put('äöü', Buffer.from('äöü', 'latin1'), 'latin1')
      writes.put(new Uint8Array(0))
      assert.equal(a.bytesWritten, writes.length, 'bytesWritten is not the number of bytes')
      await writes.fill(context)
      a.cork()
      writes.write(10)
      assert.equal(a.bytesWritten, writes.length, 'bytesWritten leaves out what is queued')
      writes.put('äöü', Buffer.from('äöü'))
      a.uncork()
      await arrive(context, pair, writes.length)
      assert.equal(a.bytesWritten, writes.length, 'bytesWritten is not what has arrived')
      a.end()
      pair.b.end()
      await context.within(pair.seenA.seen('close'), "'close'")
      assert.equal(a.bytesWritten, writes.length, 'bytesWritten is another one after the close')
    },
  },
  {
    id: 'W4-8',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: "'finish' and end()'s callback come after the callbacks of all writes",
    intent: 'a client told of success destroys the stream: the tail is lost',
    hazards: [22],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      let waitingAtFinish = -1
      let waitingAtEnd = -1
      pair.a.on('finish', () => (waitingAtFinish = writes.waiting))
      await writes.fill(context)
      writes.write(10)
      writes.write(30_000)
      const ended = new Promise<void>((resolve) => {
        pair.a.end(() => {
          waitingAtEnd = writes.waiting
          resolve()
        })
      })
      await context.silence()
      assert.deepEqual(
        eventsOf(pair.seenA).includes('finish'),
        false,
        "'finish' came while blocked",
      )
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      await context.within(ended, "end()'s callback")
      await context.within(pair.seenA.seen('finish'), "'finish'")
      assert.equal(waitingAtFinish, 0, "'finish' came before the callbacks of all writes")
      assert.equal(waitingAtEnd, 0, "end()'s callback came before those of all writes")
      const finishes = eventsOf(pair.seenA).filter((name) => name === 'finish').length
      assert.equal(finishes, 1, `'finish' came ${finishes} times`)
    },
  },
  {
    id: 'W4-9',
    rule: 'W4',
    strength: 'required',
    area,
    requirement: 'once the peer reads, a blocked stream goes on by itself and calls back',
    intent: 'a lost wakeup: the connection stands with room in the socket',
    hazards: [51, 57],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      pair.b.on('data', (chunk: Buffer) => pair.seenB.take(chunk))
      for (let round = 0; round < 8; round++) {
        pair.b.pause()
        await writes.fill(context)
        pair.b.resume()
        await context.until(() => writes.waiting === 0, `the callback after stall ${round}`)
      }
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
      const more = payload(5, 7)
      writes.put(more)
      assertWire(await arrive(context, pair, writes.length), writes.bytes)
    },
  },
]
