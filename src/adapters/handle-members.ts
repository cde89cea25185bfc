/**
 * The members of Node's TCP and Pipe handles that graft the engine below them: each asks whether the handle has a graft,
 * and is Node's own otherwise. Owns which handle has which graft, and which handles get one: those that a socket of
 * ours connects, and those that a server of ours accepts.
 */
import { Graft, graftOf } from './graft'
import type { Stock } from './graft'
import type { HandleClass, NodeHandle, SocketInternals } from './node/handles'
import { replaceMembers } from './node/members'
import type { Natives } from './node/natives'
import { stock, tcp, pipe, TCP, Pipe } from './stock'

/** Of a handle to which a native consumer is about to attach: it gets no graft. */
const isNative = Symbol('uring-net.isNative')

type Marked = NodeHandle & { [isNative]?: boolean }

/** Marks the sockets that this package makes. */
export const isOurs = Symbol('uring-net.socket')

let graftsAll = false

/** From now on the sockets of all of this thread are ours, whoever makes them. */
export function graftAllSockets(): void {
  graftsAll = true
}

/** The handle of a connection that a server of ours has accepted. */
export function graftAccepted(handle: object): void {
  if (stock === undefined) return
  if (handle instanceof TCP) new Graft(stock, tcp!, handle, false, true).attach()
  else if (handle instanceof Pipe) new Graft(stock, pipe!, handle, true, true).attach()
}

function install(given: Stock, handleClass: HandleClass, natives: Natives, isUnix: boolean): void {
  const connectBy = (connect: Natives['connect']): Natives['connect'] =>
    function (this: NodeHandle, ...args) {
      const owner = (this as unknown as Record<symbol, SocketInternals | undefined>)[given.owner]
      const isOn = owner !== undefined && (graftsAll || owner[isOurs] === true)
      if (isOn && (this as Marked)[isNative] !== true && graftOf(this) === undefined) {
        new Graft(given, natives, this, isUnix, false)
      }
      const status = connect.apply(this, args)
      graftOf(this)?.attach()
      return status
    }
  const members: Record<string, unknown> = {
    readStart(this: NodeHandle) {
      const own = graftOf(this)
      return own === undefined ? natives.readStart.call(this) : own.readStart()
    },
    readStop(this: NodeHandle) {
      const own = graftOf(this)
      return own === undefined ? natives.readStop.call(this) : own.readStop()
    },
    close(this: NodeHandle, callback?: () => void) {
      graftOf(this)?.close()
      return natives.close.call(this, callback)
    },
    ref(this: NodeHandle) {
      graftOf(this)?.setRef(true)
      return natives.ref.call(this)
    },
    unref(this: NodeHandle) {
      graftOf(this)?.setRef(false)
      return natives.unref.call(this)
    },
    shutdown(this: NodeHandle, request: object) {
      graftOf(this)?.flush()
      return natives.shutdown.call(this, request)
    },
    useUserBuffer(this: NodeHandle, buffer: Uint8Array) {
      graftOf(this)?.attachNative()
      return natives.useUserBuffer.call(this, buffer)
    },
    asyncReset(this: NodeHandle, ...args: unknown[]) {
      natives.asyncReset.apply(this, args)
      graftOf(this)?.resetContext()
    },
    connect: connectBy(natives.connect),
  }
  if (natives.connect6 !== undefined) members['connect6'] = connectBy(natives.connect6)
  // Who writes by the handle himself writes behind what is gathered.
  for (const [name, write] of Object.entries(natives.writes)) {
    members[name] = function (this: NodeHandle, ...args: unknown[]) {
      graftOf(this)?.flush()
      return write.apply(this, args)
    }
  }
  const { reset } = natives
  if (reset !== undefined) {
    members['reset'] = function (this: NodeHandle, callback?: () => void) {
      graftOf(this)?.close()
      return reset.call(this, callback)
    }
  }
  const accessors: Record<string, PropertyDescriptor & ThisType<NodeHandle>> = {
    onread: {
      get() {
        const own = graftOf(this)
        return own === undefined ? natives.getOnread.call(this) : own.getOnread()
      },
      set(onread: unknown) {
        const own = graftOf(this)
        if (own === undefined) natives.setOnread.call(this, onread)
        else own.setOnread(onread)
      },
    },
    // Every native consumer asks this before it attaches.
    isStreamBase: {
      get() {
        const own = graftOf(this)
        if (own === undefined) {
          // HTTP/2 and TLS ask a socket that is still to connect, and attach later without asking again.
          Object.defineProperty(this, isNative, { value: true, configurable: true })
          return natives.getIsStreamBase.call(this)
        }
        const owner = (this as unknown as Record<symbol, SocketInternals | undefined>)[given.owner]
        // http's server asks when its parser is there.
        if (owner?.parser == null) own.attachNative()
        else own.attachParser()
        return true
      },
    },
    // Who asks may write there himself.
    fd: {
      get() {
        graftOf(this)?.flush()
        return natives.getDescriptor.call(this)
      },
    },
    bytesRead: {
      get() {
        return natives.getBytesRead.call(this) + (graftOf(this)?.bytesRead ?? 0)
      },
    },
    bytesWritten: {
      get() {
        return natives.getBytesWritten.call(this) + (graftOf(this)?.bytesWritten ?? 0)
      },
    },
  }
  const prototype = handleClass.prototype as object
  replaceMembers(prototype, members)
  for (const [name, accessor] of Object.entries(accessors)) {
    const enumerable = isEnumerable(prototype, name)
    Object.defineProperty(prototype, name, { ...accessor, configurable: true, enumerable })
  }
}

/** Whether a property, its own or inherited, is enumerable. */
function isEnumerable(object: object, name: string): boolean {
  for (let at: object | null = object; at; at = Object.getPrototypeOf(at) as object | null) {
    const own = Object.getOwnPropertyDescriptor(at, name)
    if (own !== undefined) return own.enumerable === true
  }
  return true
}

let isInstalled = false

/** From now on handles of this thread can have a graft. Once; does nothing without an engine. */
export function installHandleMembers(): void {
  if (isInstalled || stock === undefined) return
  isInstalled = true
  install(stock, TCP, tcp!, false)
  install(stock, Pipe, pipe!, true)
}
