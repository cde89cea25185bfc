/** W5: after an error nothing more is sent, and everybody who waits is told once. */
import * as assert from 'node:assert/strict'
import type { Check } from '../check'
import { turns } from '../turns'
import { assertWire, assertWirePrefix, payload } from '../wire'
import { Writes, assertClosedLast, eventsOf } from './sends'

const area = 'write errors'

/** Which of the two depends on whether the kernel tells of the reset by this call or has told by another. */
const isReset = (code: string | undefined): boolean => code === 'ECONNRESET' || code === 'EPIPE'

export const errorChecks: readonly Check[] = [
  {
    id: 'W5-1',
    rule: 'W5',
    strength: 'required',
    area,
    requirement:
      "write() after end() fails once, in the callback and in 'error', and sends nothing",
    intent: 'bytes after the end, or a late write that nobody hears of',
    hazards: [39],
    async run(context) {
      const pair = await context.pair()
      const { a, seenA } = pair
      const writes = new Writes(pair)
      pair.seenB.read()
      writes.write(100)
      const { bytes } = writes
      a.end()
      await context.within(seenA.seen('finish'), "'finish'")
      await context.within(pair.seenB.seen('end'), 'the end at the peer')
      assert.equal(writes.write(100), false, 'write() after end() returned true')
      await context.within(seenA.seen('close'), "'close' after a write after end()")
      assert.deepEqual(
        writes.outcomes.slice(1),
        ['ERR_STREAM_WRITE_AFTER_END'],
        'the callback of a write after end() was given another result',
      )
      assert.deepEqual(
        seenA.errors.map(({ code }) => code),
        ['ERR_STREAM_WRITE_AFTER_END'],
        "'error' was not emitted once for a write after end()",
      )
      writes.assertCallbacks()
      assertWire(pair.seenB.bytes, bytes)
    },
  },
  {
    id: 'W5-2',
    rule: 'W5',
    strength: 'required',
    area,
    requirement: 'writes after a reset by the peer fail, each callback once, and are not kept',
    intent: 'a server goes on to buffer for a client that is gone',
    hazards: [39, 40],
    needs: ['reset'],
    async run(context) {
      const pair = await context.pair()
      const { a, seenA } = pair
      const writes = new Writes(pair)
      pair.b.resetAndDestroy()
      // In the closing phase: the reset is out, and we have not been told of it by a read.
      await context.within(pair.seenB.seen('close'), "the peer's 'close'")
      writes.write(100)
      writes.write(200_000)
      await context.within(seenA.seen('close'), "'close' after a reset")
      assert.equal(
        seenA.errors.length,
        1,
        `'error' came ${seenA.errors.length} times for one reset`,
      )
      const { code } = seenA.errors[0]!
      assert.equal(isReset(code), true, `a reset was reported as ${code}`)
      await context.until(() => writes.waiting === 0, 'the callbacks of writes to a gone peer')
      assert.equal(writes.outcomes.includes('ok'), false, 'a write to a gone peer succeeded')
      assert.equal(writes.write(100), false, 'write() to a gone peer returned true')
      await context.until(() => writes.waiting === 0, 'the callback of a write after the reset')
      const [, , last] = writes.outcomes
      assert.equal(last, 'ERR_STREAM_DESTROYED', `a write after the reset was told ${last}`)
      writes.assertCallbacks()
      assert.equal(a.writableLength, 0, 'writes to a gone peer are kept')
      assert.equal(seenA.errors.length, 1, "'error' came again for a write after the reset")
    },
  },
  {
    id: 'W5-3',
    rule: 'W5',
    strength: 'required',
    area,
    requirement: 'a reset during a blocked send fails all that waits: one error, then close',
    intent: 'a part that was sent counts as success, or waiting callers are never told',
    hazards: [35, 41],
    needs: ['reset'],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const { seenA } = pair
      const writes = new Writes(pair)
      await writes.fill(context)
      writes.write(10)
      writes.write(100_000)
      const done = writes.called.length
      pair.b.resetAndDestroy()
      await context.within(seenA.seen('error'), "'error' after a reset during a send")
      await context.within(seenA.seen('close'), "'close' after a reset during a send")
      assert.equal(
        seenA.errors.length,
        1,
        `'error' came ${seenA.errors.length} times for one reset`,
      )
      const { code } = seenA.errors[0]!
      assert.equal(isReset(code), true, `a reset was reported as ${code}`)
      await context.until(() => writes.waiting === 0, 'the callbacks of what waited')
      writes.assertCallbacks()
      // The one in flight: Node 20 calls it back without the error when 'error' was first.
      const behind = writes.outcomes.slice(done + 1)
      assert.equal(behind.includes('ok'), false, 'a write behind a failed one succeeded')
      const names = eventsOf(seenA).filter((name) => name === 'error' || name === 'close')
      assert.deepEqual(names, ['error', 'close'], "'error' and 'close' in another order")
      if (context.subject.capabilities.socket === true) {
        assert.equal(seenA.events.includes('close(true)'), true, "'close' denies the error")
      }
      assertClosedLast(seenA)
    },
  },
  {
    id: 'W5-4',
    rule: 'W5',
    strength: 'required',
    area,
    requirement: 'after a failed write nothing is sent: no later bytes behind a hole',
    intent: 'a lost chunk, and the next one sent: the stream goes on, corrupt',
    hazards: [40],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const { a, seenA } = pair
      const writes = new Writes(pair)
      await writes.fill(context)
      const { bytes } = writes
      a.end()
      writes.put(payload(500, 60))
      await context.until(() => seenA.errors.length > 0, "the 'error' of a write after end()")
      writes.put(payload(500, 61))
      a.uncork()
      pair.seenB.read()
      await context.within(seenA.seen('close'), "'close' after a failed write")
      await turns(5)
      assertWirePrefix(pair.seenB.bytes, bytes)
      assert.equal(seenA.errors.length, 1, `'error' came ${seenA.errors.length} times`)
      assert.equal(writes.outcomes.slice(-2).includes('ok'), false, 'a refused write succeeded')
      writes.assertCalledOnce()
    },
  },
]
