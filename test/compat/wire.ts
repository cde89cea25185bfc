/**
 * Bytes that tell where they belong, and what became of them on the way. A payload is a row of 16-byte records, each with
 * the number of its stream and its own; loss, repetition, reordering and foreign bytes are told apart by them.
 */
import * as assert from 'node:assert/strict'

const recordBytes = 16

/** `length` bytes of stream number `stream` (0 to 255), from byte `from` of it on. */
export function payload(length: number, stream = 0, from = 0): Buffer {
  const first = Math.floor(from / recordBytes)
  const last = Math.ceil((from + length) / recordBytes)
  const bytes = Buffer.allocUnsafeSlow((last - first) * recordBytes)
  for (let i = first; i < last; i++) {
    const at = (i - first) * recordBytes
    bytes[at] = 0xa5
    bytes[at + 1] = stream
    bytes.writeUInt32BE(i >>> 0, at + 2)
    // Position dependent, so that a cut inside a record shows.
    let state = (i * 2654435761 + stream * 40503) >>> 0
    for (let k = 6; k < recordBytes; k++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      bytes[at + k] = state >>> 24
    }
  }
  return bytes.subarray(from - first * recordBytes, from - first * recordBytes + length)
}

/** Fails, and says what is wrong with it, when the wire carried other bytes than these. */
export function assertWire(actual: Buffer, expected: Buffer, what = 'the wire'): void {
  if (actual.equals(expected)) return
  assert.fail(`${what}: ${describeDifference(actual, expected)}`)
}

/** Fails when the wire carried anything but the beginning of these. */
export function assertWirePrefix(actual: Buffer, expected: Buffer, what = 'the wire'): void {
  if (actual.length <= expected.length && actual.equals(expected.subarray(0, actual.length))) return
  assert.fail(`${what}: ${describeDifference(actual, expected)}`)
}

/** 'bytes lost', 'bytes repeated', 'bytes reordered' or 'foreign bytes', and where. */
export function describeDifference(actual: Buffer, expected: Buffer): string {
  const limit = Math.min(actual.length, expected.length)
  let at = 0
  while (at < limit && actual[at] === expected[at]) at++
  const where = `at byte ${at}, ${actual.length} received, ${expected.length} sent`
  if (at === actual.length) return `bytes lost at the end: ${where}`
  if (at === expected.length && at === limit) {
    const rest = actual.subarray(at, at + recordBytes)
    return `${expected.includes(rest) ? 'bytes repeated' : 'foreign bytes'} after the end: ${where}`
  }
  const sample = actual.subarray(at, at + recordBytes)
  const found = expected.indexOf(sample)
  if (found < 0) return `foreign bytes: ${where}`
  if (found < at) return `bytes repeated: ${where}, they are those of byte ${found}`
  const isLaterThere = actual.indexOf(expected.subarray(at, at + recordBytes), at) >= 0
  return `bytes ${isLaterThere ? 'reordered' : 'lost'}: ${where}, there came byte ${found}`
}
