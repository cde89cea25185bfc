/** What a program's view really is: its class or an own property may say anything, and native code copies by the real one. */
import { isDataView } from 'node:util/types'

function getterOf<T>(prototype: object, name: string | symbol): (this: unknown) => T {
  return Object.getOwnPropertyDescriptor(prototype, name)!.get as (this: unknown) => T
}

const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object
const classOf = getterOf<string | undefined>(typedArray, Symbol.toStringTag)

const [ofTypedArray, ofDataView] = [typedArray, DataView.prototype].map((prototype) => ({
  memory: getterOf<ArrayBufferLike>(prototype, 'buffer'),
  offset: getterOf<number>(prototype, 'byteOffset'),
  length: getterOf<number>(prototype, 'byteLength'),
})) as [Getters, Getters]

interface Getters {
  memory: (this: unknown) => ArrayBufferLike
  offset: (this: unknown) => number
  length: (this: unknown) => number
}

const lengthOf = ofTypedArray.length

/** How many bytes a Uint8Array has; -1 when it is none. */
export function byteLengthOf(chunk: unknown): number {
  return classOf.call(chunk) === 'Uint8Array' ? lengthOf.call(chunk) : -1
}

/** The bytes of any view, not copied, in a Uint8Array that says what it is. */
export function plainView(view: ArrayBufferView): Uint8Array {
  const { memory, offset, length } = isDataView(view) ? ofDataView : ofTypedArray
  return new Uint8Array(memory.call(view), offset.call(view), length.call(view))
}
