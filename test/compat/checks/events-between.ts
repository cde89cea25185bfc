/**
 * E2: what holds between the callbacks of several connections that the kernel answered together. The peers write in one
 * tick, so that what they wrote is there when the loop looks.
 */
import * as assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Check } from '../check'
import type { Observed } from '../observe'
import { turn } from '../turns'
import { assertWire, payload } from '../wire'
import { listening, netOf } from './module-ends'

const area = 'events'

export const betweenChecks: readonly Check[] = [
  {
    id: 'E2-1',
    rule: 'E2',
    strength: 'required',
    area,
    requirement: "between the 'data' of two connections process.nextTick and promises run",
    intent:
      'what a handler queued is done before the next handler runs: promises are written for that',
    hazards: [58],
    async run(context) {
      const made = await context.pairs(4)
      const order: string[] = []
      made.forEach(({ a, seenA }, i) => {
        a.on('data', (chunk: Buffer) => {
          seenA.take(chunk)
          order.push(`data ${i}`)
          process.nextTick(() => {
            order.push(`tick ${i}`)
            process.nextTick(() => order.push(`tick of tick ${i}`))
          })
          void Promise.resolve().then(() => order.push(`promise ${i}`))
        })
      })
      for (const { b } of made) b.write(payload(64))
      await context.within(
        Promise.all(made.map(({ seenA }) => seenA.received(64))),
        'data of four connections',
      )
      await context.until(() => order.length >= 16, 'what their listeners queued')
      for (let at = 0; at < order.length; at += 4) {
        const of = order[at]?.slice(5) ?? ''
        const expected = [`data ${of}`, `tick ${of}`, `promise ${of}`, `tick of tick ${of}`].sort()
        const got = order.slice(at, at + 4).sort()
        assert.deepEqual(got, expected, "ticks of one 'data' ran after the next connection's")
      }
    },
  },
  {
    id: 'E2-2',
    rule: 'E2',
    strength: 'required',
    area,
    requirement: "a 'data' listener that throws breaks no other connection, nor its own",
    intent: 'one bad request: the uncaught exception is logged, everybody else is served',
    hazards: [59],
    async run(context) {
      const made = await context.pairs(6)
      const caught: unknown[] = []
      // Not process.on: the runner takes what comes there for a failure of the check.
      process.setUncaughtExceptionCaptureCallback((error) => void caught.push(error))
      context.after(() => process.setUncaughtExceptionCaptureCallback(null))
      let hasThrown = false
      for (const { a, seenA } of made) {
        a.on('data', (chunk: Buffer) => {
          seenA.take(chunk)
          if (hasThrown) return
          hasThrown = true
          throw new Error('a listener throws')
        })
      }
      made.forEach(({ b }, i) => b.write(payload(100, i)))
      const all = (length: number): Promise<unknown> =>
        Promise.all(made.map(({ seenA }) => seenA.received(length)))
      await context.within(all(100), 'data of connections beside one whose listener threw')
      made.forEach(({ b }, i) => b.end(payload(100, i, 100)))
      await context.within(all(200), 'data after a listener threw')
      const ends = Promise.all(made.map(({ seenA }) => seenA.seen('end')))
      await context.within(ends, "'end' after a listener threw")
      made.forEach(({ seenA }, i) => assertWire(seenA.bytes, payload(200, i)))
      const told = caught.map((error) => (error as Error).message)
      assert.deepEqual(told, ['a listener throws'], 'the exception was not told once, as thrown')
    },
  },
  {
    id: 'E2-3',
    rule: 'E2',
    strength: 'required',
    area,
    requirement:
      "a 'data' listener may write to, pause, end and destroy others that are readable too",
    intent: 'a chat server, a proxy, a pool: handlers act on other connections',
    hazards: [29, 42, 58],
    async run(context) {
      const made = await context.pairs(12)
      const late: number[] = []
      const isDestroyed = made.map(() => false)
      let first = -1
      made.forEach(({ a, seenA }, i) => {
        a.on('data', (chunk: Buffer) => {
          if (isDestroyed[i] === true) late.push(i)
          if (a.isPaused()) late.push(i)
          seenA.take(chunk)
          if (first >= 0) return
          first = i
          // The others have data waiting as well, most likely in this very batch.
          made.forEach((other, k) => {
            if (k === i) return
            if (k % 4 === 0) {
              isDestroyed[k] = true
              other.a.destroy()
            }
            if (k % 4 === 1) other.a.end(payload(100, k))
            if (k % 4 === 2) other.a.pause()
            if (k % 4 === 3) other.a.write(payload(100, k))
          })
        })
      })
      for (const { seenB } of made) seenB.read()
      made.forEach(({ b }, i) => b.write(payload(100, i)))
      await context.until(() => first >= 0, 'the first data')
      await context.silence()
      assert.deepEqual(late, [], "'data' came to a connection that was destroyed or paused")
      for (const [k, { a, seenA, seenB }] of made.entries()) {
        if (k === first) continue
        if (k % 4 === 0) {
          await context.within(
            seenA.seen('close'),
            "'close' of one destroyed by another's listener",
          )
          continue
        }
        if (k % 4 === 2) a.resume()
        await context.within(seenA.received(100), "data of one that another's listener touched")
        assertWire(seenA.bytes, payload(100, k), "one that another's listener touched")
        if (k % 4 === 2) continue
        await context.within(seenB.received(100), "what another's listener wrote")
        assertWire(seenB.bytes, payload(100, k), "what another's listener wrote")
      }
    },
  },
  {
    id: 'E2-4',
    rule: 'E2',
    strength: 'required',
    area,
    requirement: "a write's callback sees the AsyncLocalStorage of that write",
    intent: 'tracing: the span of the request goes on in the callback',
    hazards: [],
    async run(context) {
      const { a, seenA, seenB } = await context.pair()
      seenB.read()
      const storage = new AsyncLocalStorage<string>()
      const told: unknown[] = []
      // One at a time: what a stream joins into one write has one context, in node:net as well.
      for (const [name, length] of [
        ['small', 10],
        ['large', 8_000_000],
        ['small again', 10],
      ] as const) {
        const written = new Promise<void>((resolve) => {
          storage.run(name, () => {
            a.write(payload(length), () => {
              told.push(storage.getStore())
              resolve()
            })
          })
        })
        await context.within(written, `the callback of a ${name} write`)
      }
      const expected = ['small', 'large', 'small again']
      assert.deepEqual(told, expected, "AsyncLocalStorage in a write's callback")
      assert.equal(seenA.errors.length, 0, 'a write failed')
    },
  },
  {
    id: 'E2-5',
    rule: 'E2',
    strength: 'required',
    area,
    requirement: "'data' is told in the connection's own context, not in that of a passer-by",
    intent: "tracing: one request's data must never be booked on another's span",
    hazards: [],
    needs: ['socket'],
    async run(context) {
      const storage = new AsyncLocalStorage<string>()
      const made: { pair: Observed; name: string }[] = []
      for (const name of ['one', 'two']) {
        made.push({ pair: await storage.run(name, () => context.pair()), name })
      }
      const told: unknown[] = []
      for (const [i, { pair }] of made.entries()) {
        const { a, seenA } = pair
        storage.run('whoever listens', () => {
          a.on('data', (chunk: Buffer) => {
            told[i] = storage.getStore()
            seenA.take(chunk)
          })
        })
      }
      await turn()
      storage.run('whoever writes', () => {
        for (const { pair } of made) pair.b.write('x')
      })
      const all = Promise.all(made.map(({ pair }) => pair.seenA.received(1)))
      await context.within(all, 'data of two connections')
      // An accepted socket has none in node:net, a client that of its connect().
      const foreign = told.filter((name, i) => name !== undefined && name !== made[i]?.name)
      assert.deepEqual(foreign, [], "'data' was told in a foreign AsyncLocalStorage")
    },
  },
  {
    id: 'E2-6',
    rule: 'E2',
    strength: 'required',
    area,
    requirement:
      "connect()'s callback and the client's data see the AsyncLocalStorage of connect()",
    intent: 'tracing of clients: the connection belongs to the request that opened it',
    hazards: [],
    needs: ['module'],
    async run(context) {
      const net = netOf(context)
      const server = net.createServer((socket) => {
        socket.on('error', () => {})
        socket.end('hello')
      })
      const port = await listening(context, server)
      const storage = new AsyncLocalStorage<string>()
      const told: unknown[] = []
      const closed = new Promise<void>((resolve) => {
        const client = storage.run('request', () =>
          net.connect(port, '127.0.0.1', () => told.push(storage.getStore())),
        )
        context.after(() => void client.destroy())
        client.on('data', () => told.push(storage.getStore()))
        client.on('close', resolve)
      })
      await context.within(closed, 'a connection that says hello')
      assert.deepEqual(told, ['request', 'request'], 'AsyncLocalStorage of connect()')
    },
  },
]
