/** The engine's side in JavaScript, on a scripted native side: what is gathered, and when that is known to be sent. */
import type { Binding, NativeOptions, NativeStreamEngine } from '../../src/core/binding'
import { StreamEngine } from '../../src/core/stream-engine'

const batchWrites = 2

function make(): { engine: StreamEngine; entries: Int32Array; flushes: () => number } {
  let flushes = 0
  const entries = new Int32Array(4 + 3 * 16)
  entries[1] = batchWrites
  const sendAll = (): void => {
    flushes++
    entries[0] = entries[3] = 0
  }
  const native = {
    pieces: new ArrayBuffer(64),
    pool: new ArrayBuffer(64),
    entries: entries.buffer,
    bytes: new ArrayBuffer(1 << 20),
    begin: () => 0,
    flush: sendAll,
  } as unknown as NativeStreamEngine
  const binding = { createEngine: () => native } as unknown as Binding
  const engine = new StreamEngine(binding, 'uring', {} as NativeOptions)
  return { engine, entries, flushes: () => flushes }
}

/** A write of stream `id`, and the name of what it was gathered with. */
function gather(engine: StreamEngine, id: number): number {
  expect(engine.put('x', 'latin1')).toBe(1)
  expect(engine.gather(id, 1)).toBe(true)
  return engine.gathers
}

describe('what is gathered', () => {
  test('waits until it is sent, by whichever side', () => {
    const { engine, entries } = make()
    const first = gather(engine, 1)
    expect(engine.waits(first)).toBe(true)
    // The native side sends at the end of a batch, and in the loop's phases.
    entries[0] = entries[3] = 0
    expect(engine.waits(first)).toBe(false)
    const second = gather(engine, 2)
    expect(engine.waits(second)).toBe(true)
    expect(engine.waits(first)).toBe(false)
    engine.flush()
    expect(engine.waits(second)).toBe(false)
  })

  test('is sent with the last write that there is time for', () => {
    const { engine, flushes } = make()
    const first = gather(engine, 1)
    const second = gather(engine, 2)
    expect(flushes()).toBe(1)
    expect(engine.waits(first)).toBe(false)
    expect(engine.waits(second)).toBe(false)
  })
})
