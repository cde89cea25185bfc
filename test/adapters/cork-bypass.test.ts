/** What is sent before a Writable writes it: sent once, told once, when both have happened. The channel is made up. */
import { CorkBypass } from '../../src/adapters/cork-bypass'
import type { Channel, SendEntry, SendRequest } from '../../src/core/channel'

const EPIPE = -32

class FakeChannel {
  readonly sent: string[] = []
  readonly requests: SendRequest[] = []
  bytesAccepted = 0
  /** What the next send answers. */
  answer = 0

  sendEntries(entries: readonly SendEntry[], request: SendRequest): number {
    if (this.answer < 0) return this.answer
    const text = entries.map(({ chunk }) => String(chunk)).join('')
    this.sent.push(text)
    this.bytesAccepted += text.length
    this.requests.push(request)
    return 0
  }

  /** The first send that has not ended ends. */
  end(status = 0): void {
    this.requests.shift()!.onSent(status, 1)
  }
}

const entries = (...chunks: string[]): SendEntry[] =>
  chunks.map((chunk) => ({ chunk, encoding: 'latin1' }))

let channel: FakeChannel
let ahead: CorkBypass
let told: number[]
const request: SendRequest = { onSent: (status) => told.push(status) }
const send = (...held: string[]): void =>
  ahead.send(channel as unknown as Channel, entries(...held))
const write = (...chunks: string[]): void =>
  ahead.write(channel as unknown as Channel, entries(...chunks), request)

beforeEach(() => {
  channel = new FakeChannel()
  ahead = new CorkBypass()
  told = []
})

test('what is held is sent once, however often it is asked for', () => {
  send('a', 'b')
  send('a', 'b', 'c')
  expect(channel.sent).toEqual(['ab', 'c'])
  expect(ahead.bytes).toBe(3)
  expect(ahead.isWritten).toBe(false)
})

test('writing what was sent sends nothing, and is told when that has ended', () => {
  send('a', 'b')
  write('a', 'b')
  expect(channel.sent).toEqual(['ab'])
  expect(ahead.isWritten).toBe(true)
  expect(ahead.bytes).toBe(0)
  expect(told).toEqual([])
  channel.end()
  expect(told).toEqual([0])
})

test('writing what was sent and has ended is told within the call', () => {
  send('a')
  channel.end()
  expect(told).toEqual([])
  write('a')
  expect(told).toEqual([0])
})

test('what follows in the same write is sent after it', () => {
  send('a')
  write('a', 'b', 'c')
  expect(channel.sent).toEqual(['a', 'bc'])
  channel.end()
  expect(told).toEqual([])
  channel.end()
  expect(told).toEqual([0])
})

test('a Writable that writes one at a time gets to all of it', () => {
  send('a', 'b')
  channel.end()
  write('a')
  expect(ahead.isWritten).toBe(false)
  write('b')
  expect(ahead.isWritten).toBe(true)
  expect(channel.sent).toEqual(['ab'])
  expect(told).toEqual([0, 0])
})

test('a write is told once, when the last of the sends has ended', () => {
  send('a')
  send('a', 'b')
  write('a', 'b', 'c')
  channel.end()
  channel.end()
  expect(told).toEqual([])
  channel.end()
  expect(told).toEqual([0])
})

test('a send that fails fails the write, and nothing is sent after it', () => {
  send('a')
  channel.end(EPIPE)
  write('a', 'b')
  expect(told).toEqual([EPIPE])
  expect(channel.sent).toEqual(['a'])
  send('c')
  expect(channel.sent).toEqual(['a'])
})

test('a send that fails while the write waits fails it', () => {
  send('a')
  write('a')
  channel.end(EPIPE)
  expect(told).toEqual([EPIPE])
})

test('a send that is refused fails the write, and nothing is sent after it', () => {
  channel.answer = EPIPE
  send('a')
  channel.answer = 0
  write('a', 'b')
  expect(told).toEqual([EPIPE])
  expect(channel.sent).toEqual([])
})

test('a Writable that has more to write than was sent is told so', () => {
  send('a', 'b')
  expect(ahead.consume(3)).toBe(false)
  expect(ahead.consume(1)).toBe(true)
  expect(ahead.isWritten).toBe(false)
  expect(ahead.consume(1)).toBe(true)
  expect(ahead.isWritten).toBe(true)
  expect(ahead.consume(1)).toBe(false)
})
