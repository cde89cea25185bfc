/**
 * What TLSSocket has to know of handles of ours. Owns nothing.
 *
 * TLS clients that make their own connection: tls.connect without a socket, https, wss. Their TLSSocket opens a handle
 * inside its constructor, through its method _wrapHandle. In register mode that handle is put on the
 * driver. A handle of ours is told which TLSSocket stands on it.
 *
 * tls is not loaded for it: that costs milliseconds which most programs need not pay, and what is loaded before the
 * program cannot be prepared by it any more.
 */
import net from 'node:net'
import { internals } from './node-internals'
import { driver } from './socket-driver'
import { PipeHandle, TcpHandle } from './socket-handles'
import { StreamHandle } from './stream-handle'
import type { SocketInternals } from './stream-handle'

interface TlsSocketInternals extends SocketInternals {
  _tlsOptions: { pipe?: boolean }
}

/** `wrap`: the socket below, when there is one; `handle`: its handle, or a fresh one of Node's, or none. */
type WrapHandle = (
  this: TlsSocketInternals,
  wrap: object | null | undefined,
  handle: object | undefined,
  isActive: boolean,
) => object

let isInstalled = false
let takesClients = false

/** From now on the TLS clients of this thread that make their own connection do so on the active driver, if there is one. */
export function takeTlsClients(): void {
  takesClients = true
  installTlsMembers()
}

/** From now on handles of ours know the TLSSocket that stands on them. */
export function installTlsMembers(): void {
  if (isInstalled || driver === undefined) return
  isInstalled = true
  const { moduleLoadList } = process as unknown as { moduleLoadList: readonly string[] }
  if (moduleLoadList.some((name) => /^NativeModule (_tls_wrap|internal\/tls\/wrap)$/.test(name))) {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- loaded already
    const tls = require('node:tls') as typeof import('node:tls')
    const prototype = tls.TLSSocket.prototype as unknown as { _wrapHandle: WrapHandle }
    replace(prototype, prototype._wrapHandle)
    return
  }
  // TLSSocket.prototype inherits from net.Socket's before it is given its methods, by assignment.
  Object.defineProperty(net.Socket.prototype, '_wrapHandle', {
    configurable: true,
    get: () => undefined,
    set(this: object, base: WrapHandle) {
      delete (net.Socket.prototype as { _wrapHandle?: unknown })._wrapHandle
      replace(this, base)
    },
  })
}

function replace(prototype: object, base: WrapHandle): void {
  const value: WrapHandle = function _wrapHandle(wrap, handle, isActive) {
    if (handle instanceof StreamHandle) handle.setReader(this)
    if (!takesClients || wrap != null || !isFresh(handle)) {
      return base.call(this, wrap, handle, isActive)
    }
    const ours = this._tlsOptions.pipe ? new PipeHandle(driver!) : new TcpHandle(driver!)
    ours[internals.owner] = this
    ;(handle as { close(): void } | undefined)?.close()
    return base.call(this, wrap, ours, isActive)
  }
  Object.defineProperty(prototype, '_wrapHandle', {
    value,
    writable: true,
    configurable: true,
    enumerable: true,
  })
}

/** Whether there is no handle yet, or one of Node's own, as happy eyeballs makes them for each further address. */
function isFresh(handle: unknown): boolean {
  return handle == null || handle instanceof internals.TCP || handle instanceof internals.Pipe
}
