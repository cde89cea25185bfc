/**
 * Sockets and servers that go to a worker thread: postMessage(socket, [socket]), which Node 24 and later have. Node moves
 * its own TCP handles; it is given one over a second descriptor for the same socket, and ours gives the connection up.
 * Owns that copy until Node has taken it. What has been read from or written to is left to Node, which refuses it.
 */
import net from 'node:net'
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
    // The message's getters, which ran since, may have written to it or closed it.
    if (copy === undefined || !isFresh(ours)) return baseTransfer!.call(this)
    copies.delete(this)
    const answer = withHandle(this, copy, baseTransfer!)
    if (ours instanceof ServerHandle) ours.close()
    else ours.giveUp()
    return answer
  })
}

/** Calls `member` while the holder has the copy, which it may take. One that throws has not. */
function withHandle(holder: Holder, copy: NodeHandle, member: Member): unknown {
  const ours = holder._handle
  holder._handle = copy
  try {
    const answer = member.call(holder)
    if (holder._handle === copy) holder._handle = ours
    return answer
  } catch (error) {
    holder._handle = ours
    copy.close()
    throw error
  }
}

/** Node's handle for the same TCP socket; undefined for what Node would refuse, too. */
function copyOf(handle: unknown): NodeHandle | undefined {
  if (!isFresh(handle)) return undefined
  const copy = handle.copyForNode()
  return copy instanceof internals.TCP ? copy : undefined
}

function isFresh(handle: unknown): handle is StreamHandle | ServerHandle {
  if (handle instanceof StreamHandle) return handle.bytesRead + handle.bytesWritten === 0
  return handle instanceof ServerHandle
}

function symbolOn(prototype: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(prototype).find(
    (symbol) => symbol.description === description,
  )
}
