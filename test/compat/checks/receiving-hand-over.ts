/**
 * R1 where the reader changes: Upgrade, CONNECT, STARTTLS, and every program that reads a header by itself and gives the
 * rest to somebody else; and the ways of reading without 'data'. Judges `a` as the reader.
 */
import * as assert from 'node:assert/strict'
import type { Check } from '../check'
import { turn } from '../turns'
import { assertWire, payload } from '../wire'

const area = 'receiving'

export const handOverChecks: readonly Check[] = [
  {
    id: 'R1-20',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'what is put back with unshift() comes first, before what was received since',
    intent: 'HTTP Upgrade: the first bytes of the new protocol came with the header of the old',
    hazards: [55],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const bytes = payload(5000)
      b.write(bytes.subarray(0, 1000))
      const first = await context.within(
        new Promise<Buffer>((resolve) => {
          a.once('data', (chunk: Buffer) => {
            a.pause()
            resolve(chunk)
          })
        }),
        'the first chunk',
      )
      // A transport may have cut what was written.
      const head = Math.min(48, first.length)
      seenA.take(first.subarray(0, head))
      b.write(bytes.subarray(1000, 3000))
      const since = 3000 - first.length
      await context.until(() => a.readableLength === since, 'data received since')
      a.unshift(first.subarray(head))
      b.end(bytes.subarray(3000))
      await context.silence()
      a.on('data', (chunk: Buffer) => seenA.take(chunk))
      a.resume()
      await context.within(seenA.seen('end'), "'end' for the new reader")
      assertWire(seenA.bytes, bytes, 'data after unshift()')
    },
  },
  {
    id: 'R1-21',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      'a hand-over in the middle loses nothing: pause, take the listener away, attach another',
    intent:
      'STARTTLS, CONNECT, a multiplexer: the next owner must get every byte after the last one',
    hazards: [24, 55],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const bytes = payload(300_000)
      let owners = 0
      const own = (): void => {
        owners++
        const onData = (chunk: Buffer): void => {
          seenA.take(chunk)
          a.off('data', onData)
          a.pause()
          // The next owner is ready at once, in a tick, or a turn later.
          const next = (): void => {
            own()
            a.resume()
          }
          if (owners % 3 === 0) next()
          else if (owners % 3 === 1) process.nextTick(next)
          else setImmediate(next)
        }
        a.on('data', onData)
      }
      own()
      // More than one chunk at first: the second is there already when the first owner leaves.
      b.write(bytes.subarray(0, 150_000))
      for (let at = 150_000; at < bytes.length; at += 30_000) {
        b.write(bytes.subarray(at, at + 30_000))
        await turn()
      }
      b.end()
      await context.within(seenA.seen('end'), "'end' for the last owner")
      assert.ok(owners > 2, 'there was no hand-over')
      assertWire(seenA.bytes, bytes, 'data over hand-overs')
    },
  },
  {
    id: 'R1-22',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      "'readable' and read(n) give the bytes as asked for: null until n are there, then those n",
    intent: 'frame parsers (undici, amqplib) read a length, then that many bytes',
    hazards: [55],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const frame = 150
      const bytes = payload(frame * 40)
      a.on('readable', () => {
        for (;;) {
          const chunk = a.read(frame) as Buffer | null
          if (chunk === null) return
          seenA.note(`frame of ${chunk.length}`)
          seenA.take(chunk)
        }
      })
      for (let at = 0; at < bytes.length; at += 100) {
        b.write(bytes.subarray(at, at + 100))
        if (at % 300 === 0) await turn()
      }
      await context.within(seenA.received(bytes.length), "frames by 'readable' and read(n)")
      b.end()
      await context.within(seenA.seen('end'), "'end' by 'readable'")
      const odd = seenA.events.filter((event) => /^frame/.test(event) && event !== 'frame of 150')
      assert.deepEqual(odd, [], 'read(n) gave another number of bytes')
      assertWire(seenA.bytes, bytes, 'data by read(n)')
    },
  },
  {
    id: 'R1-23',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      'asynchronous iteration gives all bytes and ends with the stream, however slow its body',
    intent: '`for await (const chunk of socket)` is how new programs read',
    hazards: [55],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const bytes = payload(300_000)
      b.write(bytes.subarray(0, 299_000))
      const iterate = async (): Promise<void> => {
        for await (const chunk of a) {
          seenA.take(chunk as Buffer)
          await turn()
          if (seenA.length !== 299_000) continue
          // The last data and the end come while the body is busy.
          b.end(bytes.subarray(299_000))
          await context.silence()
        }
      }
      try {
        await context.within(iterate(), 'the end of the iteration')
      } catch (error) {
        assert.fail(`the iteration was cut short: ${(error as Error).message}`)
      }
      assertWire(seenA.bytes, bytes, 'data by iteration')
    },
  },
  {
    id: 'R1-24',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      "from 'readable' to 'data' and back: each kind of reader continues where the last one stopped",
    intent: 'a parser reads the header in pull mode, the body is piped',
    hazards: [55],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      const bytes = payload(60_000)
      b.write(bytes.subarray(0, 20_000))
      await context.within(
        new Promise<void>((resolve) => {
          const onReadable = (): void => {
            const header = a.read(100) as Buffer | null
            if (header === null) return
            seenA.take(header)
            a.off('readable', onReadable)
            resolve()
          }
          a.on('readable', onReadable)
        }),
        "the header by 'readable'",
      )
      b.write(bytes.subarray(20_000, 40_000))
      await turn()
      const onData = (chunk: Buffer): void => {
        seenA.take(chunk)
        if (seenA.length < 20_000) return
        a.off('data', onData)
        a.pause()
      }
      a.on('data', onData)
      a.resume()
      await context.within(seenA.received(20_000), "the body by 'data'")
      b.end(bytes.subarray(40_000))
      await context.silence()
      a.on('readable', () => {
        for (let rest = a.read() as Buffer | null; rest !== null; rest = a.read() as Buffer | null)
          seenA.take(rest)
      })
      await context.within(seenA.seen('end'), "'end' after three kinds of readers")
      assertWire(seenA.bytes, bytes, 'data over three kinds of readers')
    },
  },
  {
    id: 'R1-25',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'bytesRead is what has been received, at any time and after close',
    intent: 'accounting, and errors of HTTP clients that tell whether an answer had begun',
    hazards: [],
    needs: ['socket'],
    async run(context) {
      const { a, b, seenA } = await context.pair()
      b.write(payload(1000))
      await context.until(() => a.readableLength === 1000, 'data in the buffer')
      assert.equal(a.bytesRead, 1000, 'bytesRead is wrong before anything was consumed')
      seenA.read()
      await context.within(seenA.received(1000), 'the first data')
      a.pause()
      b.end(payload(50_000, 0, 1000))
      await context.silence()
      a.resume()
      await context.within(seenA.seen('end'), "'end' after 51000 bytes")
      assert.equal(a.bytesRead, 51_000, "bytesRead is wrong at 'end'")
      a.end()
      await context.within(seenA.seen('close'), "'close'")
      assert.equal(a.bytesRead, 51_000, "bytesRead is wrong after 'close'")
    },
  },
]
