/** W6 and C4: what was accepted before the close reaches the peer, and then the end of the stream does. */
import * as assert from 'node:assert/strict'
import type { Check, CheckContext } from '../check'
import type { Observed } from '../observe'
import { turns } from '../turns'
import { assertWire, payload } from '../wire'
import { Writes, arrive, assertClosedLast, eventsOf } from './sends'

const area = 'flushing'

/** All bytes, and behind them an end that is no reset. */
async function assertFlushed(
  context: CheckContext,
  pair: Observed,
  expected: Buffer,
): Promise<void> {
  assertWire(await arrive(context, pair, expected.length), expected)
  await Promise.race([
    context.within(pair.seenB.seen('end'), 'the end of the stream at the peer'),
    pair.seenB.seen('error'),
  ])
  const [error] = pair.seenB.errors
  assert.equal(error, undefined, `the peer was told of ${error?.code} in place of the end`)
}

async function reuse(context: CheckContext, leave: (pair: Observed) => void): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const pair = await context.pair({ allowHalfOpen: false })
    const [there, back] = [payload(300, i), payload(300, 255 - i)]
    pair.seenA.read()
    pair.seenB.read()
    pair.b.write(back)
    await context.within(pair.seenA.received(300), `the bytes of connection ${i}`)
    assertWire(pair.seenA.bytes, back, `connection ${i}`)
    pair.a.write(there)
    leave(pair)
    await context.within(pair.seenB.seen('end'), `the end of connection ${i}`)
    assertWire(pair.seenB.bytes, there, `the peer of connection ${i}`)
  }
}

export const flushChecks: readonly Check[] = [
  {
    id: 'W6-1',
    rule: 'W6',
    strength: 'required',
    area,
    requirement:
      'what the kernel had room for is delivered when destroy() follows in the same tick',
    intent: 'an error answer that is written before the connection is dropped never arrives',
    hazards: [21, 28],
    needs: ['kernel'],
    async run(context) {
      for (const count of [1, 50]) {
        const pair = await context.pair()
        const writes = new Writes(pair)
        for (let i = 0; i < count; i++) writes.write(100 + i)
        pair.a.cork()
        writes.write(10)
        writes.put('grüße', Buffer.from('grüße'))
        pair.a.uncork()
        pair.a.destroy()
        await assertFlushed(context, pair, writes.bytes)
        await context.within(pair.seenA.seen('close'), "'close'")
        writes.assertCallbacks()
      }
    },
  },
  {
    id: 'W6-2',
    rule: 'W6',
    strength: 'required',
    area,
    requirement: 'the chunk of end() is delivered when destroy() follows in the same tick',
    intent: 'servers that end and destroy in one go lose their last answer',
    hazards: [22, 42],
    needs: ['kernel'],
    async run(context) {
      const pair = await context.pair()
      pair.a.write(payload(700, 4))
      pair.a.end(payload(300, 4, 700))
      pair.a.destroy()
      await assertFlushed(context, pair, payload(1000, 4))
    },
  },
  {
    id: 'W6-3',
    rule: 'W6',
    strength: 'required',
    area,
    requirement: 'a write that was called back is delivered, also when the callback destroys',
    intent: 'write(bytes, () => destroy()) loses the tail: the callback came too early',
    hazards: [5, 21],
    needs: ['kernel'],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const bytes = payload(300_000, 4)
      const called = new Promise<void>((resolve) => {
        pair.a.write(bytes, () => {
          pair.a.destroy()
          resolve()
        })
      })
      await turns(3)
      pair.seenB.read()
      await context.within(called, 'the callback')
      await assertFlushed(context, pair, bytes)
    },
  },
  {
    id: 'C4-1',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'end() with 2 MB waiting: the peer gets them all, and then the end',
    intent: 'the FIN overtakes queued data: downloads are cut without an error',
    hazards: [34],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      for (let i = 0; i < 32; i++) writes.write(64 << 10)
      const ended = new Promise<void>((resolve) => pair.a.end(resolve))
      await turns(5)
      await assertFlushed(context, pair, writes.bytes)
      await context.within(ended, 'the callback of end()')
      writes.assertCallbacks()
    },
  },
  {
    id: 'C4-2',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'end() in the tick of a small write: the bytes, and then the end',
    intent: 'short answers arrive as an empty stream',
    hazards: [22, 34],
    async run(context) {
      for (const count of [1, 40]) {
        const pair = await context.pair()
        const writes = new Writes(pair)
        for (let i = 0; i < count; i++) writes.write(60)
        pair.a.end()
        await assertFlushed(context, pair, writes.bytes)
      }
    },
  },
  {
    id: 'C4-3',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'destroySoon() sends all that was accepted, then the end, then closes',
    intent: 'HTTP closes with it: responses to slow clients are cut',
    hazards: [22],
    needs: ['socket'],
    async run(context) {
      for (const isEnded of [true, false]) {
        const pair = await context.pair({ smallBuffers: true })
        const writes = new Writes(pair)
        await writes.fill(context)
        writes.write(200_000)
        writes.write(10)
        if (isEnded) pair.a.end()
        pair.a.destroySoon()
        await assertFlushed(context, pair, writes.bytes)
        await context.within(pair.seenA.seen('close'), "'close' after destroySoon()")
        writes.assertCallbacks()
        assertClosedLast(pair.seenA)
      }
    },
  },
  {
    id: 'C4-4',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'end() closes only our half: what the peer sends afterwards still arrives',
    intent: 'requests that end before the answer: the answer is lost',
    hazards: [36],
    needs: ['halfOpen'],
    async run(context) {
      const pair = await context.pair()
      const { seenA, seenB } = pair
      seenA.read()
      seenB.read()
      pair.a.end(payload(10, 1))
      await context.within(seenB.seen('end'), 'the end of our half at the peer')
      const late = payload(200_000, 2)
      pair.b.end(late)
      await Promise.race([
        context.within(seenA.seen('end'), 'the end of the other half'),
        seenA.seen('close'),
      ])
      assertWire(seenA.bytes, late, 'after our half was closed')
      await context.within(seenA.seen('close'), "'close' after both halves")
      const events = ['finish', 'end', 'close']
      assert.deepEqual(eventsOf(seenA), events, 'other events of two halves')
    },
  },
  {
    id: 'C4-5',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'after the end of the peer a half-open stream can send, until it ends itself',
    intent: 'clients that shut their half after the request get no answer',
    hazards: [36, 37],
    needs: ['halfOpen'],
    async run(context) {
      const pair = await context.pair()
      const { seenA, seenB } = pair
      const writes = new Writes(pair)
      seenA.read()
      seenB.read()
      pair.b.end(payload(10, 1))
      await context.within(seenA.seen('end'), "the peer's end")
      await turns(5)
      assert.deepEqual(eventsOf(seenA), ['end'], 'the stream ended because its peer did')
      writes.write(200_000)
      writes.write(10)
      await turns(2)
      pair.a.end()
      await assertFlushed(context, pair, writes.bytes)
      await context.within(seenA.seen('close'), "'close' after both halves")
      assert.deepEqual(
        eventsOf(seenA).filter((name) => name !== 'drain'),
        ['end', 'finish', 'close'],
        'other events of two halves',
      )
    },
  },
  {
    id: 'C4-6',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'without allowHalfOpen the end of the peer ends us, after all that we accepted',
    intent: 'the answer still in the queue is dropped because the client ended its request',
    hazards: [37],
    async run(context) {
      const pair = await context.pair({ allowHalfOpen: false, smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      writes.write(100_000)
      pair.seenA.read()
      // Its own half only: the peer, too, would end by itself.
      pair.b.end()
      await context.within(pair.seenA.seen('end'), "the peer's end")
      await assertFlushed(context, pair, writes.bytes)
      await context.within(pair.seenA.seen('close'), "'close' after the end of the peer")
      assertClosedLast(pair.seenA)
    },
  },
  {
    id: 'C4-7',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'end() with unread bytes of the peer: our bytes arrive, and the end, no reset',
    intent: 'close(2) with unread bytes resets: a refusal of an upload never reaches the client',
    hazards: [38],
    needs: ['halfOpen'],
    async run(context) {
      const pair = await context.pair()
      pair.a.pause()
      pair.b.write(payload(150_000, 1))
      await turns(3)
      const writes = new Writes(pair)
      writes.write(20_000)
      pair.a.end()
      await assertFlushed(context, pair, writes.bytes)
      await turns(3)
      assert.equal(pair.seenB.errors.length, 0, 'the peer was reset although nobody closed')
      pair.seenA.read()
      pair.a.resume()
      await Promise.race([
        context.within(pair.seenA.received(150_000), 'what was unread'),
        pair.seenA.seen('close'),
      ])
      assertWire(pair.seenA.bytes, payload(150_000, 1), 'what was unread')
    },
  },
  {
    id: 'C4-8',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'of 200 connections, one after the other, each gets its own bytes before end()',
    intent:
      'an operation on a descriptor whose number is reused: bytes of one client reach another',
    hazards: [23, 28, 29],
    async run(context) {
      await reuse(context, ({ a }) => void a.end())
    },
  },
  {
    id: 'C4-9',
    rule: 'C4',
    strength: 'required',
    area,
    requirement:
      'of 200 connections, one after the other, each gets its own bytes before destroy()',
    intent: 'a write not yet submitted when its number is closed and reused strays or is lost',
    hazards: [23, 28, 29],
    needs: ['kernel'],
    async run(context) {
      await reuse(context, ({ a }) => void a.destroy())
    },
  },
]
