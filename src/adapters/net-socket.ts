/**
 * `Socket extends net.Socket`: a net.Socket whose handle is a channel of the active driver. Presents E1 by being Node's
 * own socket; replaces only where the handle comes from and how a write reaches it. With the driver 'node' it is
 * net.Socket.
 */
import * as net from 'node:net'
import { active } from '../core/active'
import type { SendEntry } from '../core/channel'
import { internals, missing } from './node-internals'
import { PipeHandle, TcpHandle } from './socket-handles'
import { StreamHandle, isOurs } from './stream-handle'
import type { SocketInternals } from './stream-handle'

type Callback = (error?: Error | null) => void

interface ConnectArguments {
  0: net.NetConnectOpts & { path?: string | null; port?: number; timeout?: number }
  1: (() => void) | null
}

interface NetInternals {
  _normalizeArgs(args: unknown[]): ConnectArguments
}

/** The members of net.Socket.prototype that ours builds on. */
interface SocketPrototype {
  connect(this: net.Socket, args: ConnectArguments): net.Socket
  _writeGeneric(
    this: net.Socket,
    isWritev: boolean,
    data: unknown,
    encoding: BufferEncoding,
    callback: Callback,
  ): void
  _reset(this: net.Socket): void
  [key: symbol]: (this: net.Socket, handle: object) => void
}

const base = net.Socket.prototype as unknown as SocketPrototype
const { _normalizeArgs: normalizeArgs } = net as unknown as NetInternals
const { reinitializeHandle } = internals
const driver = missing === undefined ? active.driver : undefined

export class Socket extends net.Socket {
  /** As net.Socket.connect. The handle is made on the active driver. */
  override connect(...args: unknown[]): this {
    const normalized = isNormalized(args[0]) ? args[0] : normalizeArgs(args)
    if (driver !== undefined) prepareHandle(this as unknown as SocketInternals, normalized[0])
    base.connect.call(this, normalized)
    return this
  }

  /** Happy eyeballs gives a socket a fresh TCP handle for each address: ours in its place. */
  [reinitializeHandle](handle: object): void {
    if (driver === undefined || handle instanceof StreamHandle) {
      base[reinitializeHandle]!.call(this, handle)
      return
    }
    base[reinitializeHandle]!.call(this, new TcpHandle(driver))
    ;(handle as { close(): void }).close()
  }

  /** Both _write and _writev come here. Same signature in Node 20 to 26. */
  _writeGeneric(
    isWritev: boolean,
    data: unknown,
    encoding: BufferEncoding,
    callback: Callback,
  ): void {
    const socket = this as unknown as SocketInternals
    const handle = socket._handle
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
  }

  /** What Writable still holds would have been with the kernel on node:net, whose small writes do not wait (W6). */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const { _handle: handle } = this as unknown as SocketInternals
    if (handle instanceof StreamHandle) handle.onFlush()
    super._destroy(error, callback)
  }

  /** As net.Socket.resetAndDestroy, which asks for a handle of Node's TCP class. */
  override resetAndDestroy(): this {
    const { _handle: handle } = this as unknown as SocketInternals
    if (!(handle instanceof TcpHandle)) return super.resetAndDestroy()
    if (this.connecting) this.once('connect', () => base._reset.call(this))
    else base._reset.call(this)
    return this
  }
}

Object.defineProperty(Socket.prototype, isOurs, { value: true })

function isNormalized(args: unknown): args is ConnectArguments {
  return Array.isArray(args) && Object.getOwnPropertySymbols(args).length > 0
}

function prepareHandle(socket: SocketInternals, options: ConnectArguments[0]): void {
  // What net.js refuses or puts off is left to it.
  if (socket._parent?.connecting || (options.port === undefined && options.path == null)) return
  if (socket.destroyed) socket._handle = null
  if (socket._handle !== null || driver === undefined) return
  const handle = options.path ? new PipeHandle(driver) : new TcpHandle(driver)
  base[reinitializeHandle]!.call(socket, handle)
}

/** As net.connect, on the active driver. */
export function connect(...args: unknown[]): Socket {
  const normalized = normalizeArgs(args)
  const options = normalized[0]
  const socket = new Socket(options as unknown as net.SocketConstructorOpts)
  if (options.timeout) socket.setTimeout(options.timeout)
  return socket.connect(normalized)
}
