/**
 * R1 and R2 for many connections at once: what they share (a pool of buffers, a batch of completions) must not show. Judges
 * the `a` of each pair as the reader.
 */
import * as assert from 'node:assert/strict'
import type { Check } from '../check'
import type { Observed } from '../observe'
import { assertWire, payload } from '../wire'

const area = 'receiving'

export const manyChecks: readonly Check[] = [
  {
    id: 'R1-30',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: '64 connections that receive at once each get their own bytes, all of them',
    intent: 'a burst after a pause of the network: no connection pays for the others',
    hazards: [49, 51],
    async run(context) {
      const made = await context.pairs(64)
      for (const { seenA } of made) seenA.read()
      const length = 24_000
      made.forEach(({ b }, i) => b.write(payload(length, i)))
      const all = Promise.all(made.map(({ seenA }) => seenA.received(length)))
      await context.within(all, 'the bytes of 64 bursting connections')
      made.forEach(({ seenA }, i) => {
        assertWire(seenA.bytes, payload(length, i), 'one of 64 bursting connections')
        assert.equal(seenA.errors.length, 0, 'a burst led to an error')
      })
    },
  },
  {
    id: 'R1-31',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: "64 connections that receive and end at once each get their 'end'",
    intent: 'an end of stream that comes when buffers have run out is an end of stream nonetheless',
    hazards: [49, 51],
    async run(context) {
      const made = await context.pairs(64)
      for (const { seenA } of made) seenA.read()
      const length = 4000
      made.forEach(({ b }, i) => b.end(payload(length, i)))
      const ends = Promise.all(made.map(({ seenA }) => seenA.seen('end')))
      await context.within(ends, "the 'end' of 64 bursting connections")
      made.forEach(({ seenA }, i) => {
        assertWire(seenA.bytes, payload(length, i), 'one of 64 ending connections')
      })
    },
  },
  {
    id: 'R2-4',
    rule: 'R2',
    strength: 'required',
    area,
    requirement: 'a connection whose consumer does not read does not hold up others',
    intent: 'one stuck client must not stop a server',
    hazards: [48, 49, 50],
    async run(context) {
      const made = await context.pairs(12)
      const [slow, stuck, ...quick] = made as [Observed, Observed, ...Observed[]]
      const much = 1_000_000
      slow.b.end(payload(much, 100))
      stuck.b.end(payload(much, 101))
      await context.until(
        () => slow.a.readableLength > 0 && stuck.a.readableLength > 0,
        'data that nobody reads',
      )
      await context.silence()
      const length = 20_000
      quick.forEach(({ b, seenA }, i) => {
        seenA.read()
        b.write(payload(length, i))
      })
      const all = Promise.all(quick.map(({ seenA }) => seenA.received(length)))
      await context.within(all, 'the bytes of connections beside two that are stuck')
      for (const [i, { seenA }] of [slow, stuck].entries()) {
        seenA.read()
        await context.within(seenA.seen('end'), 'the end of a connection that was stuck')
        assertWire(seenA.bytes, payload(much, 100 + i), 'a connection that was stuck')
      }
    },
  },
  {
    id: 'R2-5',
    rule: 'R2',
    strength: 'required',
    area,
    requirement: 'chunks that their consumer keeps do not stop anybody from receiving',
    intent: 'a body is collected in memory: what lends it must have more, or copy',
    hazards: [50],
    async run(context) {
      const [holder, other] = await context.pairs(2)
      assert.ok(holder !== undefined && other !== undefined)
      const kept: Buffer[] = []
      holder.a.on('data', (chunk: Buffer) => {
        kept.push(chunk)
        holder.seenA.take(chunk)
      })
      other.seenA.read()
      const much = 4_000_000
      const bytes = payload(much, 1)
      holder.b.write(bytes)
      await context.within(holder.seenA.received(much), 'data whose chunks are all kept')
      other.b.write(payload(1000, 2))
      await context.within(other.seenA.received(1000), 'data beside a holder of many chunks')
      assertWire(Buffer.concat(kept), bytes, 'chunks that are all kept')
    },
  },
]
