/**
 * Records what happens at the two ends of a pair, from the first tick, in one trace. Reads only when told to: a listener
 * for 'data' would change what is observed.
 */
import type { Socket } from 'node:net'
import type { Pair } from './subject'

const recorded = [
  'lookup',
  'connect',
  'ready',
  'end',
  'finish',
  'drain',
  'timeout',
  'close',
] as const

export interface TraceEntry {
  /** Milliseconds since the check began. */
  ms: number
  /** 'a', 'b', 'a2', 'b2' of the second pair, …, or '' for the check itself. */
  side: string
  what: string
}

export class Recorder {
  /** Events in order: 'end', 'close(false)', 'error ECONNRESET', and what `note` adds. */
  readonly events: string[] = []
  readonly errors: NodeJS.ErrnoException[] = []
  readonly #chunks: Buffer[] = []
  readonly #stream: Socket
  readonly #log: (what: string) => void
  readonly #waiting = new Map<string, (() => void)[]>()
  #length = 0
  #wanted: { length: number; resolve: () => void }[] = []

  constructor(stream: Socket, log: (what: string) => void) {
    this.#stream = stream
    this.#log = log
    for (const name of recorded) {
      stream.on(name, (...values: unknown[]) => {
        this.note(name === 'close' && values.length > 0 ? `close(${String(values[0])})` : name)
        this.#tell(name)
      })
    }
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.errors.push(error)
      this.note(`error ${error.code ?? error.message}`)
      this.#tell('error')
    })
  }

  /** Adds a line, as for a callback. */
  note(event: string): void {
    this.events.push(event)
    this.#log(event)
  }

  /** Starts reading by 'data', as most programs do. */
  read(): this {
    this.#stream.on('data', (chunk: Buffer) => this.take(chunk))
    return this
  }

  /** Counts a chunk that the check itself has read. */
  take(chunk: Buffer): void {
    // A copy: whether the chunk changes later is another check's question.
    this.#chunks.push(Buffer.from(chunk))
    this.#length += chunk.length
    this.#log(`data ${chunk.length}`)
    const reached = this.#wanted.filter(({ length }) => length <= this.#length)
    this.#wanted = this.#wanted.filter(({ length }) => length > this.#length)
    for (const { resolve } of reached) resolve()
  }

  get length(): number {
    return this.#length
  }

  /** How many chunks they came in. */
  get chunks(): number {
    return this.#chunks.length
  }

  /** All that was read so far. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** Resolves when the event has been seen, also before this call. */
  seen(name: (typeof recorded)[number] | 'error'): Promise<void> {
    const has = this.events.some((event) => event.split(/[ (]/)[0] === name)
    if (has) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), resolve])
    })
  }

  /** Resolves when that many bytes have been read. */
  received(length: number): Promise<void> {
    if (this.#length >= length) return Promise.resolve()
    return new Promise((resolve) => this.#wanted.push({ length, resolve }))
  }

  #tell(name: string): void {
    const waiting = this.#waiting.get(name) ?? []
    this.#waiting.delete(name)
    for (const resolve of waiting) resolve()
  }
}

/** A pair and its two recorders. */
export interface Observed extends Pair {
  seenA: Recorder
  seenB: Recorder
}

export function observe(
  pair: Pair,
  trace: TraceEntry[],
  { start = performance.now(), suffix = '' } = {},
): Observed {
  const log = (side: string) => (what: string) => {
    trace.push({ ms: performance.now() - start, side: side + suffix, what })
  }
  return {
    ...pair,
    seenA: new Recorder(pair.a, log('a')),
    seenB: new Recorder(pair.b, log('b')),
  }
}
