/**
 * What a check has written and what became of the callbacks: used by the checks of writing and of closing. Knows which bytes
 * have to arrive; never judges by itself unless told to.
 */
import * as assert from 'node:assert/strict'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { CheckContext } from '../check'
import type { Observed, Recorder } from '../observe'
import { turns } from '../turns'
import { payload } from '../wire'

const fillBytes = 128 << 10
const fillsMax = 128
/** Callbacks of a write that was taken come within this many turns of the loop, also through a wrapper or two. */
const turnsOfACallback = 5

export class Writes {
  /** Of each write: 'waiting', 'ok', or the code of the error that its callback was given. */
  readonly outcomes: string[] = []
  /** Numbers of writes in the order of their callbacks; one that is called twice is here twice. */
  readonly called: number[] = []
  /** Whether a callback came before its write() had returned. */
  hasCalledInside = false
  readonly #pair: Pick<Observed, 'a' | 'seenA'>
  readonly #stream: number
  readonly #chunks: Buffer[] = []
  #length = 0

  /** `stream` numbers the bytes: those of two streams differ everywhere. */
  constructor(pair: Pick<Observed, 'a' | 'seenA'>, stream = 0) {
    this.#pair = pair
    this.#stream = stream
  }

  /** Of all that was written. */
  get length(): number {
    return this.#length
  }

  /** What has to arrive. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** How many writes have had no callback. */
  get waiting(): number {
    return this.outcomes.filter((outcome) => outcome === 'waiting').length
  }

  /** Writes the next `length` bytes of the stream. */
  write(length: number): boolean {
    return this.put(payload(length, this.#stream, this.#length))
  }

  /** Writes anything else; `bytes` is what has to arrive for it. */
  put(chunk: Uint8Array | string, bytes?: Uint8Array, encoding?: BufferEncoding): boolean {
    const expected = Buffer.from(bytes ?? (chunk as Uint8Array))
    const callback = this.callback()
    this.#chunks.push(expected)
    this.#length += expected.length
    const { a } = this.#pair
    let isInside = true
    const done = (error?: Error | null): void => {
      this.hasCalledInside ||= isInside
      callback(error)
    }
    const accepted = encoding === undefined ? a.write(chunk, done) : a.write(chunk, encoding, done)
    isInside = false
    return accepted
  }

  /** A callback that counts as one of a write. */
  callback(): (error?: Error | null) => void {
    const number = this.outcomes.push('waiting') - 1
    return (error) => {
      const { code } = (error ?? {}) as NodeJS.ErrnoException
      const outcome = error ? (code ?? error.message) : 'ok'
      this.outcomes[number] = outcome
      this.called.push(number)
      if (this.outcomes.length <= 100) this.#pair.seenA.note(`callback ${number} ${outcome}`)
    }
  }

  /** Writes to a peer that does not read, until the connection takes no more. Leaves writes waiting. */
  async fill(context: CheckContext): Promise<void> {
    for (let i = 0; i < fillsMax; i++) {
      this.write(fillBytes)
      // The peer reads ahead a little, and what that makes room for goes after it.
      await turns(2 * turnsOfACallback)
      if (this.waiting === 0) continue
      // Delayed acknowledgements make some more room for a while: this is behind it.
      this.write(2 * fillBytes)
      return
    }
    assert.fail(
      `${this.#length} bytes were called back although the peer of ${context.subject.name} reads nothing`,
    )
  }

  /** Every callback has come, once. */
  assertCalledOnce(): void {
    const twice = this.called.find((number, i) => this.called.indexOf(number) !== i)
    assert.equal(twice, undefined, `the callback of write ${twice} was called twice`)
    assert.equal(this.waiting, 0, `${this.waiting} callbacks never came`)
  }

  /** Every callback has come, once, in the order of the writes. */
  assertCallbacks(): void {
    this.assertCalledOnce()
    const sorted = [...this.called].sort((one, other) => one - other)
    assert.deepEqual(this.called, sorted, 'callbacks came in another order than the writes')
    assert.equal(this.hasCalledInside, false, 'a callback was called inside write()')
  }
}

/** Starts reading at the peer, waits for as many bytes as were written, and for what comes too much. */
export async function arrive(
  context: CheckContext,
  pair: Observed,
  length: number,
): Promise<Buffer> {
  const seen = pair.seenB
  if (pair.b.listenerCount('data') === 0) seen.read()
  pair.b.resume()
  await arriveOr(context, seen, length)
  await turns(turnsOfACallback)
  return seen.bytes
}

/** Bytes that do not come are told by what did come: this gives up without failing. */
async function arriveOr(context: CheckContext, seen: Recorder, length: number): Promise<void> {
  let before = -1
  while (seen.length < length && before !== seen.length) {
    before = seen.length
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, context.clocks.signalMs / 2)
    })
    await Promise.race([seen.received(length), late])
    clearTimeout(timer)
  }
}

/** Names of the events so far, without values and without what checks have noted. */
export function eventsOf(seen: Recorder): string[] {
  return seen.events
    .filter((event) => !event.startsWith('callback'))
    .map((event) => event.replace(/[ (].*/, ''))
}

/** 'close' came once, and nothing after it, be it an event or a callback. */
export function assertClosedLast(seen: Recorder): void {
  const names = seen.events.map((event) => event.replace(/[ (].*/, ''))
  const closes = names.filter((name) => name === 'close').length
  assert.equal(closes, 1, `'close' came ${closes} times`)
  const after = seen.events.slice(names.indexOf('close') + 1)
  assert.equal(after.length, 0, `after 'close' came: ${after.join(', ')}`)
}

let gc = (globalThis as { gc?: () => void }).gc

/** Collects what nobody holds, also where the process was started without --expose-gc. */
export async function collectGarbage(): Promise<void> {
  if (gc === undefined) {
    setFlagsFromString('--expose-gc')
    gc = runInNewContext('gc') as () => void
  }
  for (let i = 0; i < 3; i++) {
    gc()
    await turns(2)
  }
}
