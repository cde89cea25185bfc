/** C1 to C3, C5: dropping a stream cancels what is under way, tells everybody who waits, and frees nothing early. */
import * as assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { addAbortSignal } from 'node:stream'
import type { Check, CheckContext } from '../check'
import type { Observed } from '../observe'
import { turns } from '../turns'
import { assertWire, assertWirePrefix, payload } from '../wire'
import { Writes, assertClosedLast, collectGarbage, eventsOf } from './sends'

const area = 'destroying'

/** A stream with writes in the kernel, in flight and queued. */
async function blocked(context: CheckContext): Promise<[Observed, Writes]> {
  const pair = await context.pair({ smallBuffers: true })
  const writes = new Writes(pair)
  await writes.fill(context)
  writes.write(10)
  writes.write(100_000)
  writes.write(20)
  return [pair, writes]
}

/** The peer hears of it, by an end or a reset, and has got nothing but the beginning. */
async function assertCut(context: CheckContext, pair: Observed, writes: Writes): Promise<void> {
  pair.seenB.read()
  const heard = Promise.race([pair.seenB.seen('end'), pair.seenB.seen('error')])
  await context.within(heard, 'the end of a destroyed connection at its peer')
  await turns(2)
  assertWirePrefix(pair.seenB.bytes, writes.bytes, 'after destroy()')
  const isWhole = pair.seenB.length === writes.length
  assert.equal(isWhole, false, 'bytes were sent that the kernel had no room for at destroy()')
}

/** `done` callbacks had come before the destruction; the one after them was in flight. */
function assertTold(writes: Writes, done: number): void {
  writes.assertCallbacks()
  // Node 20 calls the one in flight back without an error.
  const queued = writes.outcomes.slice(done + 1)
  assert.equal(queued.includes('ok'), false, 'a queued write succeeded after destroy()')
  // Libuv's code for a cancelled request; Node 22 and later hand it to all that wait.
  const known = queued.every((code) => code === 'ERR_STREAM_DESTROYED' || code === 'ECANCELED')
  assert.equal(known, true, `queued writes were told ${queued.join(', ')}`)
}

export const destroyChecks: readonly Check[] = [
  {
    id: 'C1-1',
    rule: 'C1',
    strength: 'required',
    area,
    requirement: 'what was called back before a destroy() in mid-transfer has been sent, no less',
    intent: 'a cancel that drops what the kernel had taken: acknowledged bytes are lost',
    hazards: [20, 23],
    needs: ['kernel'],
    async run(context) {
      for (let round = 0; round < 12; round++) {
        const pair = await context.pair({ smallBuffers: true })
        const writes = new Writes(pair)
        for (let i = 0; i < 40; i++) writes.write(16 << 10)
        pair.seenB.read()
        await context.within(pair.seenB.received(1 + round * 20_000), 'a part of the transfer')
        const done = writes.outcomes.filter((outcome) => outcome === 'ok').length
        pair.a.destroy()
        await Promise.race([
          context.within(pair.seenB.seen('end'), 'the end of a cancelled transfer'),
          pair.seenB.seen('error'),
        ])
        assertWirePrefix(pair.seenB.bytes, writes.bytes, 'after destroy()')
        const lost = done * (16 << 10) - pair.seenB.length
        assert.equal(lost > 0, false, `${lost} bytes that were called back never arrived`)
      }
    },
  },
  {
    id: 'C2-1',
    rule: 'C2',
    strength: 'required',
    area,
    requirement: 'after destroy() the memory of blocked chunks may be reused: none of it is sent',
    intent: 'memory freed by the cancel and not by the end of the send: foreign bytes on the wire',
    hazards: [15, 20],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      const chunks = Array.from({ length: 20 }, (_, i) => payload(20_000, 40 + i))
      for (const chunk of chunks) writes.put(chunk, Buffer.from(chunk))
      await turns(1)
      pair.a.destroy()
      for (const chunk of chunks) chunk.fill(0x5a)
      chunks.length = 0
      await collectGarbage()
      await assertCut(context, pair, writes)
    },
  },
  {
    id: 'C3-1',
    rule: 'C3',
    strength: 'required',
    area,
    requirement: 'destroy() of a blocked stream: each waiting write is told once, then close',
    intent: 'callers of write() wait for ever; a request is settled twice; use after the close',
    hazards: [20, 21],
    async run(context) {
      const [pair, writes] = await blocked(context)
      const done = writes.called.length
      pair.a.destroy()
      await context.within(pair.seenA.seen('close'), "'close' of a blocked stream")
      await context.until(() => writes.waiting === 0, 'the callbacks of what waited')
      await turns(3)
      assertTold(writes, done)
      assertClosedLast(pair.seenA)
      assert.equal(pair.seenA.errors.length, 0, 'destroy() without an error emitted one')
      assert.equal(eventsOf(pair.seenA).includes('finish'), false, "'finish' after destroy()")
      await assertCut(context, pair, writes)
    },
  },
  {
    id: 'C3-2',
    rule: 'C3',
    strength: 'required',
    area,
    requirement: "destroy(error) emits that error once, then 'close', also when blocked",
    intent: 'the reason is lost or told twice; close handlers run before the error is known',
    hazards: [20, 42],
    async run(context) {
      for (const isBlocked of [false, true]) {
        const [pair, writes] = isBlocked
          ? await blocked(context)
          : [await context.pair(), undefined]
        const error = new Error('the reason')
        pair.a.destroy(error)
        await context.within(pair.seenA.seen('close'), "'close' after destroy(error)")
        await turns(3)
        assert.equal(pair.seenA.errors.length, 1, `'error' came ${pair.seenA.errors.length} times`)
        assert.equal(pair.seenA.errors[0], error, "'error' came with another error")
        const names = eventsOf(pair.seenA).filter((name) => name !== 'drain')
        assert.deepEqual(names, ['error', 'close'], 'other events than error and close')
        if (context.subject.capabilities.socket === true) {
          assert.equal(pair.seenA.events.includes('close(true)'), true, "'close' denies the error")
        }
        writes?.assertCallbacks()
        assertClosedLast(pair.seenA)
      }
    },
  },
  {
    id: 'C3-3',
    rule: 'C3',
    strength: 'required',
    area,
    requirement: 'an abort signal destroys a blocked stream: AbortError, close, only a prefix sent',
    intent: 'what was given up goes on, and holds the connection and its memory',
    hazards: [20, 21],
    async run(context) {
      const [pair, writes] = await blocked(context)
      const abort = new AbortController()
      addAbortSignal(abort.signal, pair.a)
      abort.abort()
      await context.within(pair.seenA.seen('close'), "'close' of an aborted stream")
      await context.until(() => writes.waiting === 0, 'the callbacks of what waited')
      assert.deepEqual(
        pair.seenA.errors.map(({ name }) => name),
        ['AbortError'],
        'an abort was not told once, as an AbortError',
      )
      writes.assertCallbacks()
      assertClosedLast(pair.seenA)
      await assertCut(context, pair, writes)
    },
  },
  {
    id: 'C3-4',
    rule: 'C3',
    strength: 'required',
    area,
    requirement:
      'an idle connection that only waits for bytes closes at once: its peer sees the end',
    intent: 'a receive under way keeps the descriptor: clients hang until they give up',
    hazards: [30],
    async run(context) {
      const pair = await context.pair({ allowHalfOpen: false })
      pair.seenA.read()
      pair.seenB.read()
      pair.b.write('x')
      await context.within(pair.seenA.received(1), 'a byte')
      await turns(3)
      pair.a.destroy()
      await context.within(pair.seenA.seen('close'), "'close' of an idle connection")
      await context.within(pair.seenB.seen('end'), 'the end of an idle connection at its peer')
      assertClosedLast(pair.seenA)
    },
  },
  {
    id: 'C3-5',
    rule: 'C3',
    strength: 'required',
    area,
    requirement: 'resetAndDestroy() of an idle connection resets: the peer gets ECONNRESET',
    intent: 'a peer that must not take the stream for complete sees an ordinary end',
    hazards: [42],
    needs: ['socket', 'reset'],
    async run(context) {
      const pair = await context.pair()
      pair.seenA.read()
      pair.seenB.read()
      pair.a.resetAndDestroy()
      await context.within(pair.seenA.seen('close'), "'close' after a reset")
      await Promise.race([
        context.within(pair.seenB.seen('error'), 'a reset at the peer'),
        pair.seenB.seen('end'),
      ])
      assert.equal(pair.seenB.errors[0]?.code, 'ECONNRESET', 'the peer saw an end and no reset')
      assert.equal(pair.seenA.errors.length, 0, 'resetAndDestroy() emitted an error')
      assertClosedLast(pair.seenA)
    },
  },
  {
    id: 'C3-6',
    rule: 'C3',
    strength: 'required',
    area,
    requirement: 'resetAndDestroy() of a blocked connection resets: the peer cannot write any more',
    intent: 'queued data keeps a connection alive that was to be cut',
    hazards: [20, 42],
    needs: ['socket', 'reset'],
    async run(context) {
      const [pair, writes] = await blocked(context)
      const done = writes.called.length
      pair.a.resetAndDestroy()
      await context.within(pair.seenA.seen('close'), "'close' after a reset")
      await context.until(() => writes.waiting === 0, 'the callbacks of what waited')
      assertTold(writes, done)
      assertClosedLast(pair.seenA)
      // Not by 'error' alone: before libuv 1.52 a reader with bytes left sees an end, reset or not.
      const result = new Promise<string>((resolve) => {
        pair.b.write('x', (error) => resolve(error ? 'reset' : 'open'))
      })
      const state = await context.within(result, 'the callback of the peer')
      assert.equal(state, 'reset', 'the peer could write: the connection was not reset')
    },
  },
  {
    id: 'C3-7',
    rule: 'C3',
    strength: 'required',
    area,
    requirement: 'after 150 readers were destroyed in mid-transfer the next one gets everything',
    intent: 'each dropped connection keeps a buffer: after a day of clients that leave, all wait',
    hazards: [27],
    async run(context) {
      for (let i = 0; i < 150; i++) {
        const { a, b, seenA } = await context.pair()
        seenA.read()
        b.write(payload(100_000, i))
        await context.within(seenA.received(1), 'the beginning of a transfer')
        a.destroy()
        await context.within(seenA.seen('close'), "'close' in mid-transfer")
        b.destroy()
      }
      const { b, seenA } = await context.pair()
      seenA.read()
      b.end(payload(1_000_000))
      await context.within(seenA.seen('end'), "a transfer after others' were cut off")
      assertWire(seenA.bytes, payload(1_000_000), "a transfer after others' were cut off")
    },
  },
  {
    id: 'C3-8',
    rule: 'C3',
    strength: 'required',
    area,
    requirement: 'a child process inherits no connection: its parent can close it, and go on',
    intent: 'a server that starts helpers: its clients hang until the helper has ended',
    hazards: [62],
    async run(context) {
      const [closed, open] = (await context.pairs(2)) as [Observed, Observed]
      for (const { seenA, seenB } of [closed, open]) {
        seenA.read()
        seenB.read()
      }
      const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'])
      const ended = new Promise((resolve) => child.once('exit', resolve))
      context.after(() => void child.kill())
      await context.within(new Promise((resolve) => child.once('spawn', resolve)), 'a child')
      closed.a.destroy()
      const heard = Promise.race([closed.seenB.seen('end'), closed.seenB.seen('error')])
      await context.within(heard, 'the end at the peer while a child lives')
      child.kill()
      await context.within(ended, 'the end of the child')
      open.a.write(payload(100_000))
      open.b.write(payload(100_000, 1))
      await context.within(open.seenA.received(100_000), 'data after the end of a child')
      await context.within(open.seenB.received(100_000), 'data after the end of a child')
      assertWire(open.seenA.bytes, payload(100_000, 1), 'after the end of a child')
      assertWire(open.seenB.bytes, payload(100_000), 'after the end of a child')
    },
  },
  {
    id: 'C5-1',
    rule: 'C5',
    strength: 'required',
    area,
    requirement: '40 connections destroyed in one tick, receiving and blocked, all close',
    intent: 'a full submission queue loses a cancel: one connection in a thousand never closes',
    hazards: [32, 33],
    async run(context) {
      const all: [Observed, Writes | undefined][] = []
      for (let i = 0; i < 40; i++) {
        const pair = await context.pair({ smallBuffers: true, allowHalfOpen: false })
        pair.seenA.read()
        const writes = i % 4 === 0 ? new Writes(pair, i) : undefined
        await writes?.fill(context)
        all.push([pair, writes])
      }
      for (const [pair] of all) pair.a.destroy()
      for (const [i, [pair, writes]] of all.entries()) {
        await context.within(pair.seenA.seen('close'), `'close' of stream ${i} of 40`)
        pair.seenB.read()
        const heard = Promise.race([pair.seenB.seen('end'), pair.seenB.seen('error')])
        await context.within(heard, `the end of stream ${i} of 40 at its peer`)
        if (writes !== undefined) assertWirePrefix(pair.seenB.bytes, writes.bytes)
        assertClosedLast(pair.seenA)
      }
    },
  },
]
