/** C4 and hazard 42: every way to end and to destroy, and the order of finish, end, error and close in each. */
import * as assert from 'node:assert/strict'
import type { Check, CheckContext } from '../check'
import type { Observed } from '../observe'
import { turns } from '../turns'
import { assertWire, payload } from '../wire'
import { listening } from './module-ends'
import { Writes, assertClosedLast, eventsOf } from './sends'

const area = 'closing'

/** Waits for 'close', and then for what must not come behind it. */
async function closed(context: CheckContext, pair: Observed, when: string): Promise<string[]> {
  await context.within(pair.seenA.seen('close'), `'close' ${when}`)
  await turns(4)
  assertClosedLast(pair.seenA)
  return eventsOf(pair.seenA)
}

export const closingEventChecks: readonly Check[] = [
  {
    id: 'C4-10',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: "when both ends have ended: finish and end once each, then 'close' once, the last",
    intent: 'pools count a connection twice or never; handlers run on a closed one',
    hazards: [42],
    async run(context) {
      for (const isFirst of [true, false]) {
        const pair = await context.pair()
        pair.seenA.read()
        pair.seenB.read()
        if (isFirst) pair.a.end('a')
        pair.b.end('b')
        await context.within(pair.seenA.seen('end'), "'end'")
        if (!isFirst) pair.a.end('a')
        const events = await closed(context, pair, 'after both ends')
        assert.deepEqual([...events].sort(), ['close', 'end', 'finish'], 'other events at the end')
        assert.equal(pair.a.destroyed, true, 'a closed stream is not destroyed')
        assertWire(pair.seenA.bytes, Buffer.from('b'), 'after both ends')
      }
    },
  },
  {
    id: 'C4-11',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: "'close' comes after the callbacks of all writes, whatever destroyed the stream",
    intent: 'cleaning up on close frees what a callback then uses',
    hazards: [20, 42],
    async run(context) {
      const ways: Record<string, (pair: Observed) => unknown> = {
        'destroy()': ({ a }) => a.destroy(),
        'destroy(error)': ({ a }) => a.destroy(new Error('the reason')),
        'end() and destroy()': ({ a }) => a.end().destroy(),
      }
      for (const [name, destroy] of Object.entries(ways)) {
        for (const isBlocked of [false, true]) {
          const pair = await context.pair({ smallBuffers: true })
          const writes = new Writes(pair)
          if (isBlocked) await writes.fill(context)
          writes.write(10)
          writes.write(10)
          let waitingAtClose = -1
          pair.a.on('close', () => (waitingAtClose = writes.waiting))
          destroy(pair)
          await context.within(pair.seenA.seen('close'), `'close' after ${name}`)
          assert.equal(waitingAtClose, 0, `'close' came before a callback, after ${name}`)
          await closed(context, pair, `after ${name}`)
          writes.assertCallbacks()
        }
      }
    },
  },
  {
    id: 'C4-12',
    rule: 'C4',
    strength: 'required',
    area,
    requirement:
      'a reset while end() waits for its bytes: an error, then close, nobody is forgotten',
    intent: 'the close waits for a send that has failed: descriptors are lost',
    hazards: [35, 41],
    needs: ['reset'],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      const ended = new Promise<string>((resolve) => {
        pair.a.end((error?: Error | null) => resolve(error ? 'error' : 'ok'))
      })
      await turns(3)
      pair.b.resetAndDestroy()
      const events = await closed(context, pair, 'after a reset during end()')
      assert.deepEqual(
        events.filter((name) => name !== 'drain'),
        ['error', 'close'],
        'other events than error and close',
      )
      const outcome = await context.within(ended, 'the callback of end()')
      assert.equal(outcome, 'error', "end()'s callback succeeded although bytes were lost")
      writes.assertCalledOnce()
    },
  },
  {
    id: 'C4-13',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: "destroy() twice is destroy() once: one 'close', no second error",
    intent: 'a descriptor closed twice is somebody else’s the second time',
    hazards: [42],
    async run(context) {
      const pair = await context.pair()
      pair.seenA.read()
      pair.a.destroy()
      pair.a.destroy()
      pair.a.destroy(new Error('too late'))
      const events = await closed(context, pair, 'after destroy() twice')
      pair.a.destroy(new Error('much too late'))
      await turns(3)
      assert.deepEqual(events, ['close'], 'other events than one close')
      assert.deepEqual(eventsOf(pair.seenA), ['close'], 'an event after the close')
    },
  },
  {
    id: 'C4-14',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: "destroy() after end(), before 'finish': close without it, end()'s callback told",
    intent: "a 'finish' for a stream that was cut: uploads count as complete",
    hazards: [42],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      const ended = new Promise<string>((resolve) => {
        pair.a.end((error?: Error | null) => resolve(error ? 'error' : 'ok'))
      })
      pair.a.destroy()
      const events = await closed(context, pair, 'after end() and destroy()')
      assert.deepEqual(
        events.filter((name) => name !== 'drain'),
        ['close'],
        'other events than one close',
      )
      const outcome = await context.within(ended, 'the callback of end()')
      assert.equal(outcome, 'error', "end()'s callback succeeded although it was destroyed")
    },
  },
  {
    id: 'C4-15',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'write() and end() after destroy() send nothing, tell only their callbacks',
    intent: 'a late answer throws, or is written to whoever has the descriptor now',
    hazards: [39, 42],
    async run(context) {
      const pair = await context.pair()
      const writes = new Writes(pair)
      pair.seenB.read()
      pair.a.destroy()
      const late: string[] = []
      const tell = (error?: Error | null): void => {
        late.push((error as NodeJS.ErrnoException | null)?.code ?? 'ok')
      }
      assert.equal(writes.write(100), false, 'write() after destroy() returned true')
      pair.a.end(payload(100, 9), tell)
      await context.within(pair.seenA.seen('close'), "'close' after destroy()")
      pair.a.write(payload(100, 10), tell)
      await context.until(() => late.length >= 2, 'the callbacks of late calls')
      await context.within(pair.seenB.seen('end'), 'the end at the peer')
      assert.equal(pair.seenB.length, 0, 'bytes that were written after destroy() were sent')
      assert.deepEqual(writes.outcomes, ['ERR_STREAM_DESTROYED'], 'a late write was told otherwise')
      const destroyed = ['ERR_STREAM_DESTROYED', 'ERR_STREAM_DESTROYED']
      assert.deepEqual(late, destroyed, 'late calls were told otherwise')
      assert.deepEqual(eventsOf(pair.seenA), ['close'], 'other events than one close')
    },
  },
  {
    id: 'C4-16',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'end() twice is end() once: one finish, one FIN, both callbacks called once',
    intent: 'a second shutdown(2) fails and destroys a stream that was all right',
    hazards: [42],
    async run(context) {
      const pair = await context.pair()
      const { a, seenA, seenB } = pair
      seenA.read()
      seenB.read()
      const called: string[] = []
      const tell = (name: string) => (error?: Error | null) => {
        called.push(`${name} ${(error as NodeJS.ErrnoException | null)?.code ?? 'ok'}`)
      }
      a.end(payload(100, 1), tell('first'))
      a.end(tell('second'))
      await context.within(seenB.seen('end'), 'the end at the peer')
      await context.within(seenA.seen('finish'), "'finish'")
      a.end(tell('third'))
      pair.b.end(payload(100, 2))
      const events = await closed(context, pair, 'after end() twice')
      assert.deepEqual(events, ['finish', 'end', 'close'], 'other events after end() twice')
      assert.deepEqual(
        called,
        ['first ok', 'second ok', 'third ERR_STREAM_ALREADY_FINISHED'],
        'callbacks of end() came otherwise',
      )
      assertWire(seenB.bytes, payload(100, 1))
      assertWire(seenA.bytes, payload(100, 2))
    },
  },
  {
    id: 'C4-17',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'after a destroy() inside a callback or listener only close comes',
    intent: 'the rest of a batch is delivered to a stream that its owner has let go',
    hazards: [42, 58],
    async run(context) {
      const scenes: Record<string, (pair: Observed, writes: Writes, act: () => void) => void> = {
        'a write callback': ({ a, seenB }, writes, act) => {
          seenB.read()
          for (let i = 0; i < 5; i++) writes.write(50)
          a.write('x', act)
          writes.write(50)
        },
        "'data'": ({ a, b }, _writes, act) => {
          a.once('data', act)
          for (let i = 0; i < 20; i++) b.write(payload(20_000, 1))
          b.end()
        },
        "'end'": ({ a, b, seenA }, _writes, act) => {
          a.once('end', act)
          seenA.read()
          b.end('x')
        },
        "'drain'": ({ a, seenB }, writes, act) => {
          a.once('drain', act)
          for (let i = 0; i < 200 && writes.write(64 << 10); i++);
          seenB.read()
        },
        "'finish'": ({ a, seenB }, writes, act) => {
          a.once('finish', act)
          writes.write(10)
          a.end()
          seenB.read()
        },
      }
      for (const [name, play] of Object.entries(scenes)) {
        const pair = await context.pair({ smallBuffers: true })
        const { a, seenA } = pair
        const writes = new Writes(pair)
        let atDestroy = -1
        let dataAfter = 0
        const acted = new Promise<void>((resolve) => {
          play(pair, writes, () => {
            if (atDestroy >= 0) return
            a.destroy()
            atDestroy = eventsOf(seenA).length
            a.on('data', () => dataAfter++)
            resolve()
          })
        })
        await context.within(acted, name)
        const events = await closed(context, pair, `after destroy() in ${name}`)
        assert.deepEqual(events.slice(atDestroy), ['close'], `after destroy() in ${name}`)
        assert.equal(dataAfter, 0, `data came after destroy() in ${name}`)
        writes.assertCallbacks()
      }
    },
  },
  {
    id: 'C4-18',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: "destroy() in 'connect': no data, no end, one close; the server sees the end",
    intent: 'a connection given up as it came up stays open at the server',
    hazards: [42, 43],
    needs: ['module'],
    async run(context) {
      const net = context.subject.net!
      const server = net.createServer()
      const events: string[] = []
      let onClosed = (): void => {}
      const serverClosed = new Promise<void>((resolve) => (onClosed = resolve))
      server.on('connection', (socket) => {
        socket.write('greeting')
        socket.on('error', () => {})
        socket.on('close', onClosed).resume()
        context.after(() => void socket.destroy())
      })
      const port = await listening(context, server)
      const client = net.connect({ port, host: '127.0.0.1' })
      context.after(() => void client.destroy())
      for (const name of ['connect', 'ready', 'data', 'end', 'finish', 'error', 'close']) {
        client.on(name, () => {
          events.push(name)
          if (name === 'connect') client.destroy()
        })
      }
      const clientClosed = new Promise<void>((resolve) => client.on('close', () => resolve()))
      await context.within(clientClosed, "'close' after destroy() in 'connect'")
      await context.within(serverClosed, "the server's socket to close")
      await turns(3)
      const expected = ['connect', 'ready', 'close']
      assert.deepEqual(events, expected, "other events after destroy() in 'connect'")
    },
  },
]
