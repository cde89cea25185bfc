/**
 * The members of net.Socket that put a socket on the active driver: where its handle comes from (connect, happy
 * eyeballs), how a write reaches the handle, and two ends of it (destroy, reset). They are installed on the prototype of
 * this package's Socket, and in register mode on net.Socket's own. Presents E1 by leaving everything else to Node; with the
 * driver 'node' nothing is installed.
 */
import net from 'node:net'
import type { Writable } from 'node:stream'
import { Sent } from '../core/channel'
import type { SendEntry } from '../core/channel'
import { systemError } from '../core/errors'
import { internals } from './node-internals'
import { snapshot, writeSnapshot } from './snapshot'
import type { Write } from './snapshot'
import { driver } from './socket-driver'
import { PipeHandle, TcpHandle } from './socket-handles'
import { StreamHandle, isOurs, sentAhead, writesPlainly } from './stream-handle'
import type { SocketInternals } from './stream-handle'

type Callback = (error?: Error | null) => void

interface ConnectArguments {
  0: net.NetConnectOpts & { path?: string | null; port?: number; timeout?: number }
  1: (() => void) | null
}

/** net.connect's arguments in net.js's normal form. */
export const { _normalizeArgs: normalizeArgs } = net as unknown as {
  _normalizeArgs(args: unknown[]): ConnectArguments
}

/** The members of net.Socket.prototype that ours build on. */
interface SocketPrototype {
  connect(this: net.Socket, ...args: unknown[]): net.Socket
  write(this: net.Socket, ...args: unknown[]): boolean
  end(this: net.Socket, ...args: unknown[]): net.Socket
  _writeGeneric(
    this: net.Socket,
    isWritev: boolean,
    data: unknown,
    encoding: BufferEncoding,
    callback: Callback,
  ): void
  _destroy(this: net.Socket, error: Error | null, callback: Callback): void
  _reset(this: net.Socket): void
  resetAndDestroy(this: net.Socket): net.Socket
  [key: symbol]: (this: net.Socket, handle: object) => void
}

/** sizeof(sockaddr_un.sun_path), unix(7). */
const pathBytesMax = 108

const { reinitializeHandle } = internals

/** Node's own members, as they are before anything is installed. */
const base = ((): SocketPrototype => {
  const {
    connect,
    write,
    end,
    _writeGeneric,
    _destroy,
    _reset,
    resetAndDestroy,
    [reinitializeHandle]: given,
  } = net.Socket.prototype as unknown as SocketPrototype
  return {
    connect,
    write,
    end,
    _writeGeneric,
    _destroy,
    _reset,
    resetAndDestroy,
    [reinitializeHandle]: given!,
  }
})()

function handleOf(socket: Writable): object | null {
  return (socket as unknown as SocketInternals)._handle
}

/** Of a TLSSocket, whose handle is Node's, chunks are left to Node. */
function isOnOurs(socket: Writable): boolean {
  return handleOf(socket) instanceof StreamHandle
}

/** Nothing sends ahead past a program's own _write. */
function senderOf(socket: Writable): StreamHandle | undefined {
  return writesPlainly(socket) ? (handleOf(socket) as StreamHandle) : undefined
}

const members = {
  /** Happy eyeballs gives a socket a fresh TCP handle for each address: ours in its place. */
  [reinitializeHandle](handle) {
    // One with a descriptor has come from another thread.
    if (!(handle instanceof internals.TCP) || handle.fd >= 0) {
      base[reinitializeHandle]!.call(this, handle)
      return
    }
    base[reinitializeHandle]!.call(this, new TcpHandle(driver!))
    handle.close()
  },

  write(chunk, encoding, callback) {
    if (!isOnOurs(this)) return base.write.call(this, chunk, encoding, callback)
    return writeSnapshot(
      this,
      base.write as Write,
      chunk,
      encoding,
      callback,
      this.connecting,
      senderOf,
    )
  },

  end(chunk, encoding, callback) {
    const own = isOnOurs(this) ? snapshot(this, chunk, this.connecting) : chunk
    return base.end.call(this, own, encoding, callback)
  },

  /** Both _write and _writev come here. Same signature in Node 20 to 26. */
  _writeGeneric(isWritev, data, encoding, callback) {
    const socket = this as unknown as SocketInternals
    const handle = socket._handle
    const ahead = handle === null ? sentAhead.get(this) : undefined
    if (ahead?.take(isWritev ? (data as SendEntry[]).length : 1)) {
      const onSent = (status: number): void =>
        callback(status === 0 ? null : systemError(status, 'write'))
      const status = ahead.told({ onSent })
      if (status !== Sent.pending) onSent(Math.min(status, 0))
      return
    }
    if (socket.connecting || !(handle instanceof StreamHandle)) {
      base._writeGeneric.call(this, isWritev, data, encoding, callback)
      return
    }
    if (socket._pendingData !== null) {
      socket._pendingData = null
      socket._pendingEncoding = ''
    }
    socket._unrefTimer()
    if (isWritev) handle.writeMany(socket, data as SendEntry[], callback)
    else handle.write(socket, data as Uint8Array | string, encoding, callback)
  },

  /** What Writable still holds would have been with the kernel on node:net, whose small writes do not wait (W6). */
  _destroy(error, callback) {
    const { _handle: handle } = this as unknown as SocketInternals
    if (handle instanceof StreamHandle) handle.onFlush()
    base._destroy.call(this, error, callback)
  },

  /** As Node's, which asks for a handle of its TCP class. */
  resetAndDestroy() {
    const { _handle: handle } = this as unknown as SocketInternals
    if (!(handle instanceof TcpHandle)) return base.resetAndDestroy.call(this)
    if (this.connecting) this.once('connect', () => base._reset.call(this))
    else base._reset.call(this)
    return this
  },
} satisfies Partial<SocketPrototype>

function connectOf(prototype: { write?: unknown }): SocketPrototype['connect'] {
  return function connect(this: net.Socket, ...args: unknown[]): net.Socket {
    const normalized = isNormalized(args[0]) ? args[0] : normalizeArgs(args)
    prepareHandle(this as unknown as SocketInternals, normalized[0])
    base.connect.call(this, normalized)
    // net.js puts net.Socket.prototype.write back into the socket, whatever was put around ours.
    const { write } = prototype as net.Socket
    if (this.write !== write) this.write = write
    return this
  }
}

/** Puts what `prototype` (net.Socket.prototype, or one that inherits from it) makes on the active driver, if there is one. */
export function installSocketMembers(prototype: object): void {
  if (driver === undefined) return
  const own = { ...members, connect: connectOf(prototype) }
  for (const key of Reflect.ownKeys(own) as (keyof typeof own)[]) {
    Object.defineProperty(prototype, key, {
      value: own[key],
      writable: true,
      configurable: true,
      enumerable: prototype === net.Socket.prototype,
    })
  }
  Object.defineProperty(prototype, isOurs, { value: true })
  Object.defineProperty(own._writeGeneric, isOurs, { value: true })
}

function isNormalized(args: unknown): args is ConnectArguments {
  return Array.isArray(args) && Object.getOwnPropertySymbols(args).length > 0
}

function prepareHandle(socket: SocketInternals, options: ConnectArguments[0]): void {
  // What net.js refuses or puts off is left to it.
  if (socket._parent?.connecting || (options.port === undefined && options.path == null)) return
  // Cut off by libuv (Node 20 and 22), or refused: also net.js's.
  const { path } = options
  if (typeof path === 'string' && Buffer.byteLength(path) > pathBytesMax) return
  if (socket.destroyed) {
    socket._handle = null
    socket._peername = null
    socket._sockname = null
  }
  if (socket._handle !== null) return
  const handle = path ? new PipeHandle(driver!) : new TcpHandle(driver!)
  base[reinitializeHandle]!.call(socket, handle)
}
