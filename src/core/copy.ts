/** Copies with memory of their own: a slice of Node's shared pool would show others their bytes, and keep all of it. */

import { byteLengthOf } from './bytes'

export function copyOf(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(byteLengthOf(bytes))
  copy.set(bytes)
  return copy
}

/** Of bytes [offset, offset + length) of `memory`. */
export function copyOfPart(memory: Uint8Array, offset: number, length: number): Buffer {
  return copyOf(new Uint8Array(memory.buffer, memory.byteOffset + offset, length))
}
