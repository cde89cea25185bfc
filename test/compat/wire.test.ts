/** The wire's judge: what it says of loss, repetition, reordering and foreign bytes, each at its place. */
import { assertWire, assertWirePrefix, describeDifference, payload } from './wire'

const sent = payload(1600, 7)
const concat = (...parts: Buffer[]): Buffer => Buffer.concat(parts)
const cut = (from: number, to?: number): Buffer => sent.subarray(from, to)

describe('a payload', () => {
  test('is the same bytes wherever it is begun', () => {
    for (const from of [0, 1, 15, 16, 17, 500]) {
      expect(payload(100, 7, from).equals(cut(from, from + 100))).toBe(true)
    }
  })

  test('differs by stream, and no record of it comes twice', () => {
    expect(payload(1600, 8).equals(sent)).toBe(false)
    const records = Array.from({ length: 100 }, (_none, at) =>
      cut(at * 16, at * 16 + 16).toString('hex'),
    )
    expect(new Set(records).size).toBe(100)
  })

  test('may be empty', () => {
    expect(payload(0, 1, 5)).toHaveLength(0)
  })
})

/** Records begin alike: they differ at the number of the stream, or within their own number. */
describe('the difference', () => {
  test.each<[string, Buffer, RegExp]>([
    [
      'bytes that never came',
      cut(0, 1000),
      /^bytes lost at the end: at byte 1000, 1000 received, 1600/,
    ],
    ['nothing at all', Buffer.alloc(0), /^bytes lost at the end: at byte 0, 0 received/],
    ['a hole', concat(cut(0, 320), cut(480)), /^bytes lost: at byte 325, .* there came byte 485$/],
    [
      'a hole inside of records',
      concat(cut(0, 325), cut(490)),
      /^bytes lost: at byte 325, .*byte 490$/,
    ],
    [
      'a part sent twice',
      concat(cut(0, 320), cut(160)),
      /^bytes repeated: at byte 325, .*byte 165$/,
    ],
    ['the end sent twice', concat(sent, cut(1584)), /^bytes repeated after the end: at byte 1600/],
    [
      'two parts exchanged',
      concat(cut(0, 160), cut(320, 480), cut(160, 320), cut(480)),
      /^bytes reordered: at byte 165, .*there came byte 325$/,
    ],
    [
      'somebody else’s bytes',
      concat(cut(0, 160), payload(160, 9), cut(320)),
      /^foreign bytes: at byte 161/,
    ],
    [
      'more than was sent',
      concat(sent, payload(16, 9)),
      /^foreign bytes after the end: at byte 1600/,
    ],
  ])('names %s', (_title, received, message) => {
    expect(describeDifference(received, sent)).toMatch(message)
    expect(() => assertWire(received, sent, 'b')).toThrow(/^b: /)
  })

  test('is none between equal bytes', () => {
    expect(() => assertWire(Buffer.from(sent), sent)).not.toThrow()
  })

  test('of a prefix is none as long as what came is right', () => {
    for (const length of [0, 1, 999, 1600]) {
      expect(() => assertWirePrefix(cut(0, length), sent)).not.toThrow()
    }
    expect(() => assertWirePrefix(cut(16), sent)).toThrow(/bytes lost: at byte 5,/)
    expect(() => assertWirePrefix(concat(sent, cut(0, 1)), sent)).toThrow(/after the end/)
  })
})
