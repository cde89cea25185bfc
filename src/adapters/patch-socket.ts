/**
 * The one member of net.Socket that is replaced: how a write reaches the handle. Small ones go the short way where there is
 * a graft; all others are Node's. It is installed on the prototype of this package's Socket, and in register mode on
 * net.Socket's own; with the driver 'node' nothing is installed.
 */
import net from 'node:net'
import type { WriteGeneric } from './graft'
import { graftOf } from './graft'
import { isOurs } from './handle-members'
import type { SocketInternals } from './node/handles'
import { stock } from './stock'

const { _writeGeneric: base } = net.Socket.prototype as unknown as { _writeGeneric: WriteGeneric }

/** Both _write and _writev come here. Same signature in Node 20 to 26. */
const writeGeneric: WriteGeneric = function (
  this: SocketInternals,
  isWritev,
  data,
  encoding,
  callback,
) {
  const graft = this.connecting ? undefined : graftOf(this._handle)
  if (graft?.write(this, isWritev, data, encoding, callback, base) === true) return
  base.call(this, isWritev, data, encoding, callback)
  graft?.afterWrite()
}
Object.defineProperty(writeGeneric, 'name', { value: '_writeGeneric' })

/** From now on sockets with this prototype (net.Socket.prototype, or one that inherits from it) write the short way. */
export function patchSocket(prototype: object): void {
  if (stock === undefined) return
  Object.defineProperty(prototype, '_writeGeneric', {
    value: writeGeneric,
    writable: true,
    configurable: true,
    enumerable: prototype === net.Socket.prototype,
  })
  if (prototype !== net.Socket.prototype) Object.defineProperty(prototype, isOurs, { value: true })
}
