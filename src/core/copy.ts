/** Copies with memory of their own: a slice of Node's shared pool would show others their bytes, and keep all of it. */

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object
const getByteLength = Object.getOwnPropertyDescriptor(typedArray, 'byteLength')!.get!

/** The real length of a typed array, whatever properties of its own it has. */
export function byteLengthOf(bytes: Uint8Array): number {
  return getByteLength.call(bytes) as number
}

export function copyOf(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(byteLengthOf(bytes))
  copy.set(bytes)
  return copy
}

/** Of bytes [offset, offset + length) of `memory`. */
export function copyOfPart(memory: Uint8Array, offset: number, length: number): Buffer {
  return copyOf(new Uint8Array(memory.buffer, memory.byteOffset + offset, length))
}
