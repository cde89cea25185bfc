/**
 * What scripts write: valid UTF-8 that tells where it belongs, so that any encoding carries it there and back. Owns the
 * bytes until they are handed out, as copies.
 */
import type { Encoding } from './script'

/** No divisor of any buffer's size: then characters are cut at the ends of chunks. */
const recordBytes = 17
const recordCount = 65_536
/** Bytes that no text contains: what a caller scribbles over its buffer after a write, and what it unshifts. */
export const scribbled = 1
export const unshifted = 0

let records: Buffer | undefined

function allRecords(): Buffer {
  if (records === undefined) {
    let text = ''
    // One character of each length of UTF-8 in 17 bytes: 2 + 3 + 4 + 8.
    for (let i = 0; i < recordCount; i++) text += `é€𝄞${i.toString(36).padStart(8, '0')}`
    records = Buffer.from(text)
  }
  return records
}

/** Bytes of write number `index`: other ones for each index, whole characters only. */
export function contentOf(index: number, size: number): Buffer {
  const from = ((index * 1999) % (recordCount / 2)) * recordBytes
  const whole = size - (size % recordBytes)
  const bytes = Buffer.allocUnsafeSlow(size)
  allRecords().copy(bytes, 0, from, from + whole)
  bytes.fill(0x61 + (index % 26), whole)
  return bytes
}

/** The bytes as a string that is written in that encoding. UTF-16 needs an even number of them. */
export function inEncoding(bytes: Buffer, encoding: Encoding): string {
  return bytes.toString(encoding === 'ascii' ? 'latin1' : encoding)
}
