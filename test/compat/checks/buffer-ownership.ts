/**
 * W2: the bytes on the wire are those of the moment of the write. What fits into the kernel is taken inside write() by
 * node:net, too, so that is required of everybody. What has to wait a Writable keeps by reference, and a net.Socket is one:
 * only of who says that it copies is it expected to be sent as it was.
 */
import * as assert from 'node:assert/strict'
import * as nodeNet from 'node:net'
import type { Check } from '../check'
import { turns } from '../turns'
import { assertWire, payload } from '../wire'
import { connectionTo, listening, netOf, recorded } from './module-ends'
import { Writes, arrive, collectGarbage } from './sends'

const area = 'buffer ownership'

/** Memory that can be transferred: a Buffer of the pool cannot. */
function own(length: number, stream: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  bytes.set(payload(length, stream))
  return bytes
}

interface Resizable extends ArrayBuffer {
  resize(length: number): void
}

/** Missing where the engine cannot shrink memory in place. */
function resizable(length: number, stream: number): [Uint8Array, Resizable] | undefined {
  const options = { maxByteLength: length * 2 }
  const memory = new (ArrayBuffer as unknown as new (length: number, options: object) => Resizable)(
    length,
    options,
  )
  if (typeof memory.resize !== 'function') return undefined
  const bytes = new Uint8Array(memory, 0, length)
  bytes.set(payload(length, stream))
  return [bytes, memory]
}

function shared(length: number, stream: number): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(length))
  bytes.set(payload(length, stream))
  return bytes
}

/** What may happen to a chunk after its write: makes one, and changes it. */
const changes: Record<string, (length: number) => [Uint8Array, () => unknown] | undefined> = {
  'bytes overwritten after write()': (length) => {
    const chunk = own(length, 1)
    return [chunk, () => chunk.fill(0)]
  },
  'memory transferred after write()': (length) => {
    const chunk = own(length, 2)
    // The other side writes to what it was given.
    return [
      chunk,
      () => new Uint8Array(structuredClone(chunk.buffer, { transfer: [chunk.buffer] })).fill(0),
    ]
  },
  'memory shrunk after write()': (length) => {
    const made = resizable(length, 3)
    return made && [made[0], () => made[1].resize(0)]
  },
  'shared memory overwritten after write()': (length) => {
    const chunk = shared(length, 4)
    return [chunk, () => chunk.fill(0)]
  },
}

export const ownershipChecks: readonly Check[] = [
  {
    id: 'W2-1',
    rule: 'W2',
    strength: 'required',
    area,
    requirement: 'a small chunk may be changed, transferred or shrunk as soon as write() returns',
    intent: 'codecs that reuse one buffer send the next message twice',
    hazards: [12, 13, 14, 16],
    async run(context) {
      const pair = await context.pair()
      const writes = new Writes(pair)
      for (const length of [1, 900, 9000]) {
        for (const [what, make] of Object.entries(changes)) {
          const made = make(length)
          if (made === undefined) continue
          const [chunk, change] = made
          writes.put(chunk)
          change()
          assertWire(await arrive(context, pair, writes.length), writes.bytes, what)
        }
      }
    },
  },
  {
    id: 'W2-2',
    rule: 'W2',
    // node:net hands libuv the chunk's own memory: what does not fit at once is sent as it is later.
    strength: 'recommended',
    area,
    requirement: 'a chunk that the kernel takes in parts is sent as it was when it was written',
    intent: 'a buffer reused after write() corrupts the tail of what a slow client gets',
    hazards: [11, 13, 14],
    async run(context) {
      for (const [what, make] of Object.entries(changes)) {
        const pair = await context.pair({ smallBuffers: true })
        const writes = new Writes(pair)
        const made = make(400_000)
        if (made === undefined) continue
        const [chunk, change] = made
        writes.put(chunk)
        change()
        await turns(2)
        assertWire(await arrive(context, pair, writes.length), writes.bytes, `${what}, large`)
      }
    },
  },
  {
    id: 'W2-3',
    rule: 'W2',
    strength: 'recommended',
    area,
    requirement: 'chunks that wait behind a blocked one are sent as they were when written',
    intent: 'a buffer reused after write() corrupts what a slow client gets, and only that',
    hazards: [11, 13, 14],
    needs: ['copies'],
    async run(context) {
      for (const [what, make] of Object.entries(changes)) {
        const pair = await context.pair({ smallBuffers: true })
        const writes = new Writes(pair)
        await writes.fill(context)
        for (const length of [1, 100, 70_000]) {
          const made = make(length)
          if (made === undefined) continue
          const [chunk, change] = made
          writes.put(chunk)
          change()
        }
        assertWire(await arrive(context, pair, writes.length), writes.bytes, `${what}, queued`)
      }
    },
  },
  {
    id: 'W2-4',
    rule: 'W2',
    strength: 'recommended',
    area,
    requirement: 'corked chunks are sent as they were when they were written',
    intent:
      'a header written into one buffer before each of several messages is the last one thrice',
    hazards: [11],
    needs: ['copies'],
    async run(context) {
      const pair = await context.pair()
      const writes = new Writes(pair)
      pair.a.cork()
      // The large one and what follows it: early or late, in this order.
      for (const length of [1, 100, 9000, 100_000, 50]) {
        const chunk = own(length, 6)
        writes.put(chunk)
        chunk.fill(0)
      }
      pair.a.uncork()
      const actual = await arrive(context, pair, writes.length)
      assertWire(actual, writes.bytes, 'bytes overwritten after write(), corked')
    },
  },
  {
    id: 'W2-5',
    rule: 'W2',
    strength: 'required',
    area,
    requirement:
      'the memory of a blocked chunk may be transferred; its bytes are sent nevertheless',
    intent: 'a chunk posted to a worker after write() is sent as zeros, as nothing, or crashes',
    hazards: [13],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      const chunk = own(400_000, 2)
      writes.put(chunk)
      // Held and left as it is: node:net goes on to read from it.
      const moved = structuredClone(chunk.buffer, { transfer: [chunk.buffer] })
      await turns(2)
      const actual = await arrive(context, pair, writes.length)
      assertWire(actual, writes.bytes, 'a transferred chunk')
      assert.equal(moved.byteLength, 400_000)
    },
  },
  {
    id: 'W2-6',
    rule: 'W2',
    strength: 'required',
    area,
    requirement:
      'chunks that only the stream still holds are sent as they are, whatever is collected',
    intent: 'memory freed while the kernel still reads it: pieces of other buffers on the wire',
    hazards: [11, 15],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      for (let i = 0; i < 150; i++) writes.put(own(8000, i), payload(8000, i))
      await collectGarbage()
      const garbage = Array.from({ length: 100 }, () => new Uint8Array(8000).fill(0x5a))
      const actual = await arrive(context, pair, writes.length)
      assertWire(actual, writes.bytes, 'chunks after a collection')
      assert.equal(garbage.length, 100)
    },
  },
  {
    id: 'W2-7',
    rule: 'W2',
    strength: 'recommended',
    area,
    requirement: 'what is written before the connection is there is sent as it was when written',
    intent: 'a client that builds each of its first messages in one buffer sends the last of them',
    hazards: [11],
    needs: ['module', 'copies'],
    async run(context) {
      const net = netOf(context)
      const server = nodeNet.createServer()
      const port = await listening(context, server)
      const accepted = connectionTo(server)
      const client = net.connect({ port, host: '127.0.0.1' })
      recorded(context, client)
      const sent: Buffer[] = []
      for (const length of [1, 100, 70_000]) {
        const chunk = own(length, 7)
        sent.push(Buffer.from(chunk))
        client.write(chunk)
        chunk.fill(0)
      }
      const seen = recorded(context, await context.within(accepted, 'a connection'), 'b').read()
      const bytes = Buffer.concat(sent)
      await context.within(seen.received(bytes.length), 'what was written while connecting')
      assertWire(seen.bytes, bytes, 'bytes overwritten after write(), connecting')
    },
  },
  {
    id: 'W2-8',
    rule: 'W2',
    strength: 'recommended',
    area,
    requirement: "end()'s chunk is sent as it was when end() was called, whatever waits before it",
    intent: 'the last message of a connection is the one whose buffer is given back at once',
    hazards: [11, 22],
    needs: ['copies'],
    async run(context) {
      const pair = await context.pair({ smallBuffers: true })
      const writes = new Writes(pair)
      await writes.fill(context)
      const chunk = own(5000, 8)
      const bytes = Buffer.concat([writes.bytes, chunk])
      pair.a.end(chunk)
      chunk.fill(0)
      const actual = await arrive(context, pair, bytes.length)
      assertWire(actual, bytes, 'bytes overwritten after end()')
    },
  },
]
