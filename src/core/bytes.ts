/** What a program's chunk really is: its class or an own property may name any length, and native code copies by the real one. */

const views = Object.getPrototypeOf(Uint8Array.prototype) as object

function getterOf<T>(name: string | symbol): (this: unknown) => T {
  return Object.getOwnPropertyDescriptor(views, name)!.get as (this: unknown) => T
}

const classOf = getterOf<string | undefined>(Symbol.toStringTag)
const lengthOf = getterOf<number>('byteLength')
const offsetOf = getterOf<number>('byteOffset')
const memoryOf = getterOf<ArrayBufferLike>('buffer')

/** How many bytes a Uint8Array has; -1 when it is none. */
export function byteLengthOf(chunk: unknown): number {
  return classOf.call(chunk) === 'Uint8Array' ? lengthOf.call(chunk) : -1
}

/** The bytes of a typed array, in a view that says what it is. */
export function plainView(chunk: ArrayBufferView): Uint8Array {
  return new Uint8Array(memoryOf.call(chunk), offsetOf.call(chunk), lengthOf.call(chunk))
}
