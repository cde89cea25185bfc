/** Copies with memory of their own: a slice of Node's shared pool would show others their bytes, and keep all of it. */

import { isDataView } from 'node:util/types'

/** Reads a property as the language defined it, whatever properties of its own a view has. */
function getterOf(prototype: object, name: string): (view: object) => unknown {
  const get = Object.getOwnPropertyDescriptor(prototype, name)!.get!
  return (view) => get.call(view)
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object
const names = ['buffer', 'byteOffset', 'byteLength'] as const
const ofTypedArray = names.map((name) => getterOf(typedArray, name))
const ofDataView = names.map((name) => getterOf(DataView.prototype, name))
const getByteLength = ofTypedArray[2]!

/** The real length of a typed array, whatever properties of its own it has. */
export function byteLengthOf(bytes: Uint8Array): number {
  return getByteLength(bytes) as number
}

/** The real bytes of any view, not copied. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  const [buffer, offset, length] = (isDataView(view) ? ofDataView : ofTypedArray).map((get) =>
    get(view),
  )
  return new Uint8Array(buffer as ArrayBuffer, offset as number, length as number)
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
