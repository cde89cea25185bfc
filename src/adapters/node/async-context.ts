/**
 * Runs callbacks in the async context of one of Node's native handles, as its own MakeCallback does: async_hooks see the
 * handle's ids, executionAsyncResource() is the handle, AsyncLocalStorage has the store that it was made with. Owns the
 * names of the properties by which AsyncResource keeps these.
 */
import { AsyncLocalStorage, AsyncResource, executionAsyncId } from 'node:async_hooks'
import type { HandleClass, NodeHandle } from './handles'
import { connection, symbolOf } from './handles'

interface Names {
  asyncId: symbol
  triggerAsyncId: symbol
  /** Property of a resource that names the one which the public sees. */
  resource: symbol
  /** Property of a resource with the frame of AsyncLocalStorage, where this Node keeps stores so. */
  frame: symbol | undefined
  currentFrame: () => unknown
}

let names: Names

/**
 * Whether AsyncLocalStorage stands on async_hooks (Node 20 and 22). Its first use would turn promise hooks on, and off again in a
 * later microtask, which runs code of Node's behind whatever the program has replaced by then.
 */
const isBuiltOnHooks = '_enable' in AsyncLocalStorage.prototype

/** A resource that has the frame of a store. */
function sampleInContext(): AsyncResource {
  const storage = new AsyncLocalStorage<number>()
  const sample = storage.run(1, () => new AsyncResource('uring-net'))
  storage.disable()
  return sample
}

/** To be called before the first HandleContext is made. Throws when this Node lacks something. */
export function findContextNames(TCP: HandleClass): void {
  const handle = new TCP(connection)
  handle.asyncReset({})
  // It stays, with no descriptor and no reference: async_hooks of the program would be told of its end.
  handle.unref()
  const sample = isBuiltOnHooks ? new AsyncResource('uring-net') : sampleInContext()
  const frame = Object.getOwnPropertySymbols(sample).find((s) => s.description === 'context_frame')
  let currentFrame = (): unknown => undefined
  if (frame !== undefined) {
    const value = (sample as unknown as Record<symbol, object | undefined>)[frame]
    const Frame = value?.constructor as { current?(): unknown } | undefined
    if (Frame !== undefined) {
      if (typeof Frame.current !== 'function') {
        throw new Error(
          `Node ${process.version} keeps AsyncLocalStorage in a way that is not known`,
        )
      }
      currentFrame = () => Frame.current!()
    }
  }
  names = {
    asyncId: symbolOf(sample, 'async_id_symbol'),
    triggerAsyncId: symbolOf(sample, 'trigger_async_id_symbol'),
    resource: symbolOf(handle, 'resource_symbol'),
    frame,
    currentFrame,
  }
}

const { runInAsyncScope } = AsyncResource.prototype

/** The context of a handle. What `run` is given throws through. */
export class HandleContext {
  [name: symbol]: unknown

  /** `isAccepted`: the handle was made by libuv, outside of any context. */
  constructor(handle: Pick<NodeHandle, 'getAsyncId'>, isAccepted: boolean) {
    this[names.asyncId] = handle.getAsyncId()
    this[names.triggerAsyncId] = executionAsyncId()
    this[names.resource] = handle
    if (names.frame !== undefined) {
      this[names.frame] = isAccepted ? undefined : names.currentFrame()
    }
  }

  /** The handle has got a new async id, in the context of now. */
  reset(handle: NodeHandle): void {
    this[names.asyncId] = handle.getAsyncId()
    this[names.triggerAsyncId] = executionAsyncId()
    if (names.frame !== undefined) this[names.frame] = names.currentFrame()
  }

  run<Receiver, Arguments extends unknown[]>(
    fn: (this: Receiver, ...args: Arguments) => void,
    receiver: Receiver,
    ...args: Arguments
  ): void {
    runInAsyncScope.call(this as unknown as AsyncResource, fn as never, receiver, ...args)
  }
}
