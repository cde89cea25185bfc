/**
 * The bytes that the checks send, and the comparison of what came back. Payloads never repeat within 4 GB, so a lost,
 * doubled or swapped chunk always shows, and a seed makes each one different from every other.
 */

/** Pseudo-random bytes (xorshift32) that depend only on `length` and `seed`. */
export function makePayload(length: number, seed: number): Buffer {
  const words = new Uint32Array((length + 3) >>> 2)
  let state = (seed * 2654435761 + 1) >>> 0 || 1
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[index] = state
  }
  return Buffer.from(words.buffer, 0, length)
}

/** Throws with the lengths and the first differing offset unless both hold the same bytes. */
export function assertSame(received: Buffer, sent: Buffer): void {
  if (received.equals(sent)) return
  const shared = Math.min(received.length, sent.length)
  let offset = 0
  while (offset < shared && received[offset] === sent[offset]) offset++
  const lengths = `received ${received.length} of ${sent.length} bytes`
  if (offset === shared) throw new Error(`${lengths}; equal up to offset ${offset}`)
  throw new Error(
    `${lengths}; first difference at offset ${offset}: ${hex(received, offset)} instead of ${hex(sent, offset)}`,
  )
}

function hex(bytes: Buffer, offset: number): string {
  return `0x${(bytes[offset] ?? 0).toString(16).padStart(2, '0')}`
}

/** '1 B', '16,384 B', '10 MB' (decimal): exact where the exact size matters. */
export function sizeName(bytes: number): string {
  if (bytes >= 1_000_000 && bytes % 1_000_000 === 0) return `${bytes / 1_000_000} MB`
  return `${bytes.toLocaleString('en-US')} B`
}
