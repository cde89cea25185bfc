/** What is sent before a Writable writes it: sent once, told once, when both have happened. The channel is made up. */
import { SentAhead } from '../../src/adapters/sent-ahead'
import { Sent } from '../../src/core/channel'
import type { Channel, SendEntry, SendRequest } from '../../src/core/channel'

const EPIPE = -32

class FakeChannel {
  readonly sent: string[] = []
  readonly requests: SendRequest[] = []
  bytesAccepted = 0
  /** What the next send answers. */
  answer: number = Sent.done

  sendEntries(entries: readonly SendEntry[], request: SendRequest): number {
    if (this.answer < 0) return this.answer
    const text = entries.map(({ chunk }) => String(chunk)).join('')
    this.sent.push(text)
    this.bytesAccepted += text.length
    if (this.answer === Sent.pending) this.requests.push(request)
    return this.answer
  }
}

const entries = (...chunks: string[]): SendEntry[] =>
  chunks.map((chunk) => ({ chunk, encoding: 'latin1' }))

let channel: FakeChannel
let ahead: SentAhead
let told: number[]
const request: SendRequest = { onSent: (status) => told.push(status) }
const send = (...held: string[]): void =>
  ahead.send(channel as unknown as Channel, entries(...held))
const write = (...chunks: string[]): number =>
  ahead.write(channel as unknown as Channel, entries(...chunks), request)

beforeEach(() => {
  channel = new FakeChannel()
  ahead = new SentAhead()
  told = []
})

test('what is held is sent once, however often it is asked for', () => {
  send('a', 'b')
  send('a', 'b', 'c')
  expect(channel.sent).toEqual(['ab', 'c'])
  expect(ahead.bytes).toBe(3)
  expect(ahead.isWritten).toBe(false)
})

test('writing what was sent sends nothing, and is done', () => {
  send('a', 'b')
  expect(write('a', 'b')).toBe(Sent.done)
  expect(channel.sent).toEqual(['ab'])
  expect(ahead.isWritten).toBe(true)
  expect(ahead.bytes).toBe(0)
})

test('what follows in the same write is sent after it', () => {
  send('a')
  expect(write('a', 'b', 'c')).toBe(Sent.done)
  expect(channel.sent).toEqual(['a', 'bc'])
})

test('a Writable that writes one at a time gets to all of it', () => {
  send('a', 'b')
  expect(write('a')).toBe(Sent.done)
  expect(ahead.isWritten).toBe(false)
  expect(write('b')).toBe(Sent.done)
  expect(ahead.isWritten).toBe(true)
  expect(channel.sent).toEqual(['ab'])
})

test('a write is told when the last of the sends has ended', () => {
  channel.answer = Sent.pending
  send('a')
  send('a', 'b')
  expect(write('a', 'b', 'c')).toBe(Sent.pending)
  const [first, second, third] = channel.requests
  first!.onSent(0, 1)
  second!.onSent(0, 1)
  expect(told).toEqual([])
  third!.onSent(0, 1)
  expect(told).toEqual([0])
})

test('sends that end before the write leave nothing to wait for', () => {
  channel.answer = Sent.pending
  send('a')
  channel.requests[0]!.onSent(0, 1)
  expect(write('a')).toBe(Sent.done)
  expect(told).toEqual([])
})

test('a send that fails fails the write, and nothing is sent after it', () => {
  channel.answer = Sent.pending
  send('a')
  channel.requests[0]!.onSent(EPIPE, 0)
  expect(write('a', 'b')).toBe(EPIPE)
  expect(channel.sent).toEqual(['a'])
})

test('a send that is refused fails the write', () => {
  channel.answer = EPIPE
  send('a')
  channel.answer = Sent.done
  expect(write('a', 'b')).toBe(EPIPE)
  expect(channel.sent).toEqual([])
})

test('a Writable that has more to write than was sent is told so', () => {
  send('a', 'b')
  expect(ahead.take(3)).toBe(false)
  expect(ahead.take(1)).toBe(true)
  expect(ahead.isWritten).toBe(false)
  expect(ahead.take(1)).toBe(true)
  expect(ahead.isWritten).toBe(true)
  expect(ahead.take(1)).toBe(false)
})
