/**
 * E1: the order of a connection's events, the shape of its errors, and its timeout. What holds between connections
 * (E2) is in events-between.ts. Here events themselves are the requirement; Node's documentation and node:net say which.
 */
import * as assert from 'node:assert/strict'
import type { Check } from '../check'
import type { Recorder } from '../observe'
import { turn } from '../turns'
import { assertWire, payload } from '../wire'
import { betweenChecks } from './events-between'
import { timeoutChecks } from './events-timeout'

const area = 'events'

/** The events among these, without what is in brackets. */
const only = (seen: Recorder, ...names: string[]): string[] =>
  seen.events.map((event) => event.replace(/\(.*/, '')).filter((event) => names.includes(event))

const count = (seen: Recorder, name: string): number => only(seen, name).length

const orderChecks: readonly Check[] = [
  {
    id: 'E1-21',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "a connection that its peer ends first: 'end', 'finish', 'close', each once",
    intent: 'cleaning up happens on each of them: too early cuts data, twice frees twice',
    hazards: [37, 42],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair()
      seenA.read()
      seenB.read()
      a.on('end', () => a.end('last words'))
      b.end(payload(100))
      await context.within(seenA.seen('close'), "'close' of a connection that both have ended")
      await turn()
      const order = only(seenA, 'end', 'finish', 'close')
      assert.deepEqual(order, ['end', 'finish', 'close'], 'events of an ended connection')
      await context.within(seenB.received(10), "what was written at 'end'")
      assertWire(seenB.bytes, Buffer.from('last words'), "what was written at 'end'")
    },
  },
  {
    id: 'E1-22',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "a connection that we end first: 'finish', 'end', 'close', each once",
    intent:
      'a client that ends its half waits for the answer until end, for the resources until close',
    hazards: [42],
    needs: ['halfOpen'],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair()
      seenA.read()
      seenB.read()
      a.end(payload(100))
      await context.within(seenB.seen('end'), 'our FIN at the peer')
      await context.within(seenA.seen('finish'), "'finish'")
      assert.equal(count(seenA, 'close'), 0, "'close' came before the peer had ended")
      b.end('answer')
      await context.within(seenA.seen('close'), "'close' of a connection that both have ended")
      await turn()
      const order = only(seenA, 'end', 'finish', 'close')
      assert.deepEqual(order, ['finish', 'end', 'close'], 'events of a connection ended by us')
    },
  },
  {
    id: 'E1-23',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "destroy(error) tells 'error', then 'close', each once and neither at once",
    intent: 'whoever destroys a socket is in the middle of something: listeners run after it',
    hazards: [42],
    async run(context) {
      const { a, seenA } = await context.pair()
      seenA.read()
      a.destroy(new Error('our own'))
      a.destroy(new Error('another'))
      assert.equal(count(seenA, 'close'), 0, "'close' was emitted within destroy()")
      assert.equal(seenA.errors.length, 0, "'error' was emitted within destroy()")
      await context.within(seenA.seen('close'), "'close' after destroy(error)")
      await context.silence()
      const told = seenA.events.map((event) => event.replace(/\(.*/, ''))
      assert.deepEqual(told, ['error our own', 'close'], 'events after destroy(error)')
    },
  },
  {
    id: 'E1-24',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "destroy() tells 'close' alone: no 'error', no 'end', and nothing after it",
    intent: 'a socket that its owner drops is not an incident',
    hazards: [42],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      seenA.read()
      b.write(payload(1000))
      await context.within(seenA.received(1000), 'data before destroy()')
      b.write(payload(1000))
      a.destroy()
      await context.within(seenA.seen('close'), "'close' after destroy()")
      await context.silence()
      const told = seenA.events.map((event) => event.replace(/\(.*/, ''))
      assert.deepEqual(told, ['close'], 'events after destroy()')
      assert.equal(seenA.length, 1000, "'data' came after destroy()")
    },
  },
  {
    id: 'E1-25',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "'close' says whether there was an error",
    intent: 'reconnecting clients decide by it',
    hazards: [42],
    needs: ['socket'],
    async run(context) {
      const told: string[] = []
      for (const how of ['ended', 'destroyed', 'failed']) {
        const { a, b, seenA } = await context.pair()
        seenA.read()
        if (how === 'ended') b.end()
        if (how === 'ended') a.end()
        if (how === 'destroyed') a.destroy()
        if (how === 'failed') a.destroy(new Error('failed'))
        await context.within(seenA.seen('close'), `'close' of a socket that was ${how}`)
        told.push(...seenA.events.filter((event) => event.startsWith('close')))
      }
      const expected = ['close(false)', 'close(false)', 'close(true)']
      assert.deepEqual(told, expected, "hadError of 'close'")
    },
  },
  {
    id: 'E1-26',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "a reset tells 'error', then 'close' with an error, and they are the last",
    intent: 'the handler of the error cleans up what the handler of close relies on',
    hazards: [41, 42],
    needs: ['socket', 'reset'],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      seenA.read()
      b.write('x')
      await context.within(seenA.received(1), 'data before the reset')
      b.resetAndDestroy()
      await context.within(seenA.seen('close'), "'close' after a reset")
      await context.silence()
      const expected = ['error ECONNRESET', 'close(true)']
      assert.deepEqual(seenA.events, expected, 'events after a reset')
      assert.ok(a.destroyed, 'a reset socket is not destroyed')
    },
  },
  {
    id: 'E1-1',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "with allowHalfOpen off the peer's end is answered by ours, after what 'end' writes",
    intent: 'most servers: the last answer leaves, then the connection closes by itself',
    hazards: [37],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair({ allowHalfOpen: false })
      seenA.read()
      seenB.read()
      a.on('end', () => a.write('answer'))
      b.end('question')
      await context.within(seenB.seen('end'), 'the automatic end')
      assertWire(seenB.bytes, Buffer.from('answer'), "what 'end' wrote before the automatic end")
      await context.within(seenA.seen('close'), "'close' after the automatic end")
      const order = only(seenA, 'end', 'finish', 'close')
      assert.deepEqual(order, ['end', 'finish', 'close'], 'events of the automatic end')
    },
  },
  {
    id: 'E1-2',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "with allowHalfOpen on the peer's end leaves our half open",
    intent: 'a server that answers later than the client has half-closed',
    hazards: [37],
    needs: ['halfOpen'],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair({ allowHalfOpen: true })
      seenA.read()
      seenB.read()
      b.end('question')
      await context.within(seenA.seen('end'), "the peer's end")
      await context.silence()
      const isOpen = !seenB.events.includes('end') && a.writable
      assert.ok(isOpen, "our half was closed with the peer's although allowHalfOpen is on")
      a.end('late answer')
      await context.within(seenB.seen('end'), 'our end')
      assertWire(seenB.bytes, Buffer.from('late answer'), 'what was written after the peer ended')
    },
  },
  {
    id: 'E1-3',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "a failed read is node's error: code, errno, syscall and message",
    intent: 'retries are decided by code and syscall',
    hazards: [41],
    needs: ['socket', 'reset'],
    async run(context) {
      const { b, seenA } = await context.pair()
      seenA.read()
      b.resetAndDestroy()
      await context.within(seenA.seen('error'), 'the error of a reset')
      const [error] = seenA.errors
      assert.ok(error instanceof Error, 'the error is not an Error')
      const { code, errno, syscall, message } = error
      assert.deepEqual(
        { code, errno, syscall, message },
        { code: 'ECONNRESET', errno: -104, syscall: 'read', message: 'read ECONNRESET' },
        'shape of a read error',
      )
    },
  },
  {
    id: 'E1-4',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "'data' comes neither after 'end' nor after 'close'",
    intent: 'the parser is gone by then',
    hazards: [42, 51],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      let late = 0
      let isOver = false
      a.on('end', () => void (isOver = true))
      a.on('close', () => void (isOver = true))
      a.on('data', (chunk: Buffer) => {
        if (isOver) late++
        seenA.take(chunk)
        // Held back, so that the end of stream is known before the data is consumed.
        a.pause()
        setImmediate(() => a.resume())
      })
      b.end(payload(150_000))
      await context.within(seenA.seen('end'), "'end'")
      a.end()
      await context.within(seenA.seen('close'), "'close'")
      await turn()
      assert.equal(late, 0, "'data' came after 'end'")
      assertWire(seenA.bytes, payload(150_000), "data before 'end'")
    },
  },
]

export const eventsChecks: readonly Check[] = [...orderChecks, ...timeoutChecks, ...betweenChecks]
