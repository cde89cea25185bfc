/**
 * The members of a class of Node's handles as Node has them, whatever is put in their place afterwards. Owns nothing.
 */
import type { HandleClass, NodeHandle } from './handles'

export interface Natives {
  readStart(this: NodeHandle): number
  readStop(this: NodeHandle): number
  close(this: NodeHandle, callback?: () => void): void
  reset?(this: NodeHandle, callback?: () => void): number
  ref(this: NodeHandle): void
  unref(this: NodeHandle): void
  shutdown(this: NodeHandle, request: object): number
  useUserBuffer(this: NodeHandle, buffer: Uint8Array): void
  asyncReset(this: NodeHandle, ...args: unknown[]): void
  connect(this: NodeHandle, ...args: unknown[]): number
  connect6?(this: NodeHandle, ...args: unknown[]): number
  /** All that writes, by name. */
  writes: Record<string, (this: NodeHandle, ...args: unknown[]) => unknown>
  getIsStreamBase(this: NodeHandle): unknown
  getOnread(this: NodeHandle): unknown
  setOnread(this: NodeHandle, onread: unknown): void
  getDescriptor(this: NodeHandle): number
  getWriteQueueSize(this: NodeHandle): number
  getBytesRead(this: NodeHandle): number
  getBytesWritten(this: NodeHandle): number
}

const methods = [
  'readStart',
  'readStop',
  'close',
  'ref',
  'unref',
  'shutdown',
  'useUserBuffer',
  'asyncReset',
  'connect',
] as const

const writes = [
  'writeBuffer',
  'writev',
  'writeUtf8String',
  'writeAsciiString',
  'writeLatin1String',
  'writeUcs2String',
] as const

/** To be called before anything is replaced. Throws when this Node lacks something. */
export function captureNatives(handleClass: HandleClass): Natives {
  const prototype = handleClass.prototype as Record<string, unknown>
  for (const name of [...methods, ...writes]) {
    if (typeof prototype[name] !== 'function') {
      throw new Error(`Node ${process.version} has handles without ${name}()`)
    }
  }
  // Properties of a class further up: in Node 20 a native one that has no function for each way.
  const parent = Object.getPrototypeOf(prototype) as object
  if (!('onread' in parent)) throw new Error(`Node ${process.version} has handles without onread`)
  // Another copy of this package may have been here.
  const onreadBefore = Object.getOwnPropertyDescriptor(prototype, 'onread')
  const askedBefore = Object.getOwnPropertyDescriptor(prototype, 'isStreamBase')?.get
  return {
    ...(Object.fromEntries(
      [...methods, 'reset', 'connect6'].map((name) => [name, prototype[name]]),
    ) as unknown as Natives),
    writes: Object.fromEntries(writes.map((name) => [name, prototype[name]])) as Natives['writes'],
    getIsStreamBase() {
      return askedBefore === undefined ? true : askedBefore.call(this)
    },
    getOnread() {
      return onreadBefore?.get === undefined
        ? Reflect.get(parent, 'onread', this)
        : onreadBefore.get.call(this)
    },
    setOnread(onread) {
      if (onreadBefore?.set === undefined) Reflect.set(parent, 'onread', onread, this)
      else onreadBefore.set.call(this, onread)
    },
    getDescriptor: accessorOf(prototype, 'fd').get as () => number,
    getWriteQueueSize: accessorOf(prototype, 'writeQueueSize').get as () => number,
    getBytesRead: accessorOf(prototype, 'bytesRead').get as () => number,
    getBytesWritten: accessorOf(prototype, 'bytesWritten').get as () => number,
  }
}

function accessorOf(prototype: object, name: string): PropertyDescriptor {
  for (let object: object | null = prototype; object; object = Object.getPrototypeOf(object)) {
    const found = Object.getOwnPropertyDescriptor(object, name)
    if (found?.get !== undefined) return found
  }
  throw new Error(`Node ${process.version} has handles without ${name}`)
}
