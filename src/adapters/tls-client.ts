/**
 * TLS clients that make their own connection: tls.connect without a socket, https, wss. Their TLSSocket opens a handle
 * inside its constructor. Puts that handle on a driver; owns nothing.
 *
 * tls is not loaded for it (it costs milliseconds that most programs need not pay, and what is loaded early cannot be
 * prepared by the program any more): the first such client is moved when it connects, and leads to the prototype where
 * those after it are caught before they start.
 */
import type { Driver } from '../core/driver'
import { internals } from './node-internals'
import { PipeHandle, TcpHandle } from './socket-handles'
import type { SocketInternals } from './stream-handle'

/** A TLSWrap, or what stands below it. */
interface WrappedHandle {
  /** The handle below. */
  _parent?: object
  /** The socket below, when the client was given one. */
  _parentWrap?: object
}

type WrapHandle = (wrap: object | undefined, handle: object | undefined, isActive: boolean) => object

interface TlsSocketInternals extends SocketInternals {
  _tlsOptions: { pipe?: boolean }
  _wrapHandle: WrapHandle
}

/** If `socket`, about to connect, is a TLS client over Node's own handle, gives it one of `driver`. */
export function moveTlsClient(socket: SocketInternals, driver: Driver): void {
  const handle = socket._handle as WrappedHandle
  if (!isTlsClient(socket) || handle._parentWrap != null || !isFresh(handle._parent)) return
  catchTlsClients(socket, driver)
  const reinitialize = socket[internals.reinitializeHandle] as (handle: object) => void
  // Goes through _wrapHandle, which replaces this handle by ours.
  reinitialize.call(socket, new internals.TCP(0))
}

function isTlsClient(socket: SocketInternals): socket is TlsSocketInternals {
  return typeof (socket as Partial<TlsSocketInternals>)._wrapHandle === 'function'
}

/** Whether a handle is one of Node's own, as TLSSocket and happy eyeballs make them. */
function isFresh(handle: unknown): boolean {
  const { TCP, Pipe } = internals
  return handle instanceof TCP || handle instanceof Pipe
}

const caught = new WeakSet<object>()

/** From now on TLSSockets that open a connection of their own do so on `driver`. */
function catchTlsClients(socket: TlsSocketInternals, driver: Driver): void {
  let prototype: object = Object.getPrototypeOf(socket) as object
  while (!Object.hasOwn(prototype, '_wrapHandle')) {
    prototype = Object.getPrototypeOf(prototype) as object
  }
  if (caught.has(prototype)) return
  caught.add(prototype)
  const { _wrapHandle: base } = prototype as TlsSocketInternals
  const wrapHandle = function (
    this: TlsSocketInternals,
    wrap: object | undefined,
    handle: object | undefined,
    isActive: boolean,
  ): object {
    if (wrap != null || (handle !== undefined && !isFresh(handle))) {
      return base.call(this, wrap, handle, isActive)
    }
    const ours = this._tlsOptions.pipe ? new PipeHandle(driver) : new TcpHandle(driver)
    ours[internals.owner] = this
    ;(handle as { close(): void } | undefined)?.close()
    return base.call(this, wrap, ours, isActive)
  }
  Object.defineProperty(prototype, '_wrapHandle', {
    value: wrapHandle,
    writable: true,
    configurable: true,
    enumerable: true,
  })
}
