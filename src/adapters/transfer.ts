/**
 * Sockets and servers that go to a worker thread: postMessage(socket, [socket]), which Node 24 and later have. Node moves
 * its own TCP handles; it is given one over a second descriptor for the same socket, and ours gives the connection up.
 * Owns that copy until Node has taken it. What has been read from or written to is left to Node, which refuses it.
 */
import * as net from 'node:net'
import { internals } from './node-internals'
import type { NodeHandle } from './node-internals'
import { ServerHandle } from './server-handle'
import { StreamHandle } from './stream-handle'

type Member = (this: Holder) => unknown

interface Holder {
  _handle: unknown
}

/** From now on sockets and servers of ours can be transferred where Node's can. */
export function installTransfer(): void {
  installOn(net.Socket.prototype)
  installOn(net.Server.prototype)
}

function installOn(prototype: object): void {
  const members = prototype as Record<symbol, Member>
  const list = symbolOn(prototype, 'messaging_transfer_list_symbol')
  const transfer = symbolOn(prototype, 'messaging_transfer_symbol')
  if (list === undefined || transfer === undefined) return
  const { [list]: baseList, [transfer]: baseTransfer } = members
  const copies = new WeakMap<Holder, NodeHandle>()
  const define = (key: symbol, value: Member): void => {
    Object.defineProperty(prototype, key, {
      value,
      writable: true,
      configurable: true,
      enumerable: true,
    })
  }
  define(list, function () {
    const copy = copyOf(this._handle)
    if (copy === undefined) return baseList!.call(this)
    const answer = withHandle(this, copy, baseList!)
    copies.set(this, copy)
    // When something else in the message cannot be transferred, the second step never comes.
    setImmediate(() => {
      if (copies.get(this) !== copy) return
      copies.delete(this)
      copy.close()
    })
    return answer
  })
  define(transfer, function () {
    const ours = this._handle
    const copy = copies.get(this)
    if (copy === undefined) return baseTransfer!.call(this)
    copies.delete(this)
    this._handle = copy
    const answer = baseTransfer!.call(this)
    if (ours instanceof ServerHandle) ours.close()
    else (ours as StreamHandle).giveUp()
    return answer
  })
}

function withHandle(holder: Holder, copy: NodeHandle, member: Member): unknown {
  const ours = holder._handle
  holder._handle = copy
  try {
    return member.call(holder)
  } catch (error) {
    copy.close()
    throw error
  } finally {
    holder._handle = ours
  }
}

/** Node's handle for the same TCP socket; undefined for what Node would refuse, too. */
function copyOf(handle: unknown): NodeHandle | undefined {
  if (!(handle instanceof StreamHandle) && !(handle instanceof ServerHandle)) return undefined
  const isFresh = !(handle instanceof StreamHandle) || handle.bytesRead + handle.bytesWritten === 0
  if (!isFresh) return undefined
  const copy = handle.copyForNode()
  return copy instanceof internals.TCP ? copy : undefined
}

function symbolOn(prototype: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(prototype).find(
    (symbol) => symbol.description === description,
  )
}
