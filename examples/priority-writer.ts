/**
 * A frame writer with priorities, the pattern that breaks on a careless completion wrapper: what it offers next depends on
 * what was refused before. Urgent frames (a PING) overtake data frames that were refused; never those that were accepted.
 * Owns the frames that nobody has accepted. Started directly it shows the order in which a slow peer gets them.
 *
 * `node dist/examples/priority-writer.js`
 */
import { connect, listen } from '../src/core/index'
import type { Connection } from '../src/core/index'
import { toReadiness } from '../src/adapters/readiness'

/** All the writer needs. Correct only if a refused write is not sent, now or later. */
export interface Sink {
  /** True: taken, whole. False: nothing of it was taken; onWritable will be called. */
  tryWrite(bytes: Uint8Array): boolean
  onWritable: (() => void) | null
}

export type FrameKind = 'data' | 'urgent'

export interface Frame {
  kind: FrameKind
  /** Counts the frames of its kind, from 0. */
  number: number
}

/** kind (1), number (4), length of the payload (4). */
const headerBytes = 9
const kinds: readonly FrameKind[] = ['data', 'urgent']

/** Payload bytes tell which frame they belong to and where in it. */
function payloadByte(frame: Frame, index: number): number {
  return (frame.number * 31 + kinds.indexOf(frame.kind) * 17 + index * 7) & 0xff
}

export function encodeFrame(frame: Frame, payloadLength: number): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + payloadLength)
  bytes.writeUInt8(kinds.indexOf(frame.kind), 0)
  bytes.writeUInt32BE(frame.number, 1)
  bytes.writeUInt32BE(payloadLength, 5)
  for (let i = 0; i < payloadLength; i++) bytes[headerBytes + i] = payloadByte(frame, i)
  return bytes
}

export class PriorityWriter {
  readonly #sink: Sink
  readonly #queues: Record<FrameKind, Buffer[]> = { urgent: [], data: [] }
  readonly #counts: Record<FrameKind, number> = { urgent: 0, data: 0 }
  #accepted = 0
  #onIdle: (() => void) | null = null

  constructor(sink: Sink) {
    this.#sink = sink
    sink.onWritable = () => this.#pump()
  }

  /** Frames that the sink has taken. */
  get accepted(): number {
    return this.#accepted
  }

  /** Frames that wait here. */
  get waiting(): number {
    return this.#queues.urgent.length + this.#queues.data.length
  }

  /** Queues a frame and offers what the sink will take. */
  write(kind: FrameKind, payloadLength: number): void {
    const frame = { kind, number: this.#counts[kind]++ }
    this.#queues[kind].push(encodeFrame(frame, payloadLength))
    this.#pump()
  }

  /** Resolves when the sink has taken every frame. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve
      this.#pump()
    })
  }

  #pump(): void {
    for (;;) {
      // Chosen anew at every attempt: this is what a wrapper must survive.
      const queue = this.#queues.urgent.length > 0 ? this.#queues.urgent : this.#queues.data
      const next = queue[0]
      if (next === undefined) break
      if (!this.#sink.tryWrite(next)) return
      queue.shift()
      this.#accepted++
    }
    this.#onIdle?.()
    this.#onIdle = null
  }
}

/** Takes a byte stream apart and checks every byte. Keeps the frames in the order they came. */
export class FrameReader {
  readonly frames: Frame[] = []
  /** The first thing that was wrong with the stream, or undefined. */
  corruption: string | undefined
  #rest: Buffer = Buffer.alloc(0)
  readonly #next: Record<FrameKind, number> = { data: 0, urgent: 0 }

  push(chunk: Uint8Array): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    let at = 0
    while (this.corruption === undefined && this.#rest.length - at >= headerBytes) {
      const length = this.#rest.readUInt32BE(at + 5)
      const end = at + headerBytes + length
      if (end > this.#rest.length) break
      this.#check(this.#rest.subarray(at, end))
      at = end
    }
    this.#rest = this.#rest.subarray(at)
  }

  /** At the end of the stream: a frame cut short is corruption, too, and so is a missing one. */
  finish(expected: Record<FrameKind, number>): void {
    if (this.#rest.length > 0) this.corruption ??= `${this.#rest.length} bytes of a frame cut short`
    for (const kind of kinds) {
      if (this.#next[kind] !== expected[kind]) {
        this.corruption ??= `${this.#next[kind]} of ${expected[kind]} ${kind} frames`
      }
    }
  }

  #check(bytes: Buffer): void {
    const kind = kinds[bytes[0]!]
    const number = bytes.readUInt32BE(1)
    if (kind === undefined) {
      this.corruption = `no frame starts with ${bytes[0]}`
      return
    }
    const frame = { kind, number }
    if (number !== this.#next[kind]) {
      this.corruption = `${kind} frame ${number} came where ${this.#next[kind]} was due`
    } else if (!encodeFrame(frame, bytes.length - headerBytes).equals(bytes)) {
      this.corruption = `${kind} frame ${number} is not what was written`
    }
    this.#next[kind]++
    this.frames.push(frame)
  }
}

const dataFrames = 200
const urgentFrames = 3

/** Reads nothing until `start`, then everything. */
async function readFrames(connection: Connection, start: Promise<void>): Promise<FrameReader> {
  const reader = new FrameReader()
  await start
  for await (const lease of connection) {
    reader.push(lease.bytes)
    lease.release()
  }
  reader.finish({ data: dataFrames, urgent: urgentFrames })
  await connection.close()
  return reader
}

async function main(): Promise<void> {
  await using listener = await listen({ port: 0, host: '127.0.0.1' })
  const { port } = listener.localName!
  const [accepted, connected] = await Promise.all([
    listener.accept(),
    connect({ port, host: '127.0.0.1' }),
  ])
  let startReading = (): void => {}
  const started = new Promise<void>((resolve) => (startReading = resolve))
  const reading = readFrames(accepted!, started)

  const socket = toReadiness(connected)
  const writer = new PriorityWriter(socket)
  for (let i = 0; i < dataFrames; i++) writer.write('data', 65536)
  console.log(`data frames accepted: ${writer.accepted}; refused and waiting: ${writer.waiting}`)
  for (let i = 0; i < urgentFrames; i++) writer.write('urgent', 8)
  startReading()
  await writer.idle()
  socket.shutdown()

  const { frames, corruption } = await reading
  await socket.close()
  const places = frames.flatMap(({ kind }, index) => (kind === 'urgent' ? [index + 1] : []))
  console.log(`frames received: ${frames.length}; urgent ones came as number ${places.join(', ')}`)
  console.log(`corruption: ${corruption ?? 'none'}`)
  if (corruption !== undefined) process.exitCode = 1
}

if (require.main === module) void main()
