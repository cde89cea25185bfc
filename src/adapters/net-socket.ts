/**
 * `Socket`: net.Socket with the members that put it on the active driver. With the driver 'node' it is a net.Socket with
 * nothing changed. Like Node's own it can be called without `new` and inherited from the old way, so it is no class.
 */
import { channel } from 'node:diagnostics_channel'
import net from 'node:net'
import { installHandleMembers } from './handle-members'
import { patchSocket } from './patch-socket'

interface ConnectArguments {
  0: net.NetConnectOpts & { timeout?: number }
  1: (() => void) | null
}

/** net.connect's arguments in net.js's normal form. */
const { _normalizeArgs: normalizeArgs } = net as unknown as {
  _normalizeArgs(args: unknown[]): ConnectArguments
}

function construct(this: unknown, options?: net.SocketConstructorOpts): net.Socket | undefined {
  if (!(this instanceof Socket)) return new Socket(options)
  ;(net.Socket as unknown as (this: unknown, options: unknown) => void).call(this, options)
  return undefined
}
Object.defineProperty(construct, 'name', { value: 'Socket' })

export type Socket = net.Socket
export const Socket = inherit(construct, net.Socket)
installHandleMembers()
patchSocket(Socket.prototype)

Object.defineProperty(Socket.prototype, 'connect', {
  value: function connect(this: { write?: unknown }, ...args: unknown[]): unknown {
    const result = (net.Socket.prototype.connect as (...args: unknown[]) => unknown).apply(
      this,
      args,
    )
    // Node's puts net.Socket's write() back, in the place of one that fails after the end. Here it is this class's.
    if (this.write !== Socket.prototype.write) {
      delete this.write
      if (this.write !== Socket.prototype.write) this.write = Socket.prototype.write
    }
    return result
  },
  writable: true,
  configurable: true,
})

/** Makes `construct` a constructor derived from Node's. */
export function inherit<Constructor extends { prototype: object }>(
  construct: (this: unknown, ...args: never[]) => unknown,
  parent: Constructor,
): Constructor {
  Object.setPrototypeOf(construct, parent)
  construct.prototype = Object.create(parent.prototype, {
    constructor: { value: construct, writable: true, configurable: true },
  }) as object
  return construct as unknown as Constructor
}

const clientSocketChannel = channel('net.client.socket')
/** Node 20 tells of the socket here; later ones tell in the socket's own connect. */
const tellsOfSockets = String(net.connect).includes('netClientSocketChannel')

/** As net.connect, on the active driver. */
export const connect = function connect(...args: unknown[]): net.Socket {
  const normalized = normalizeArgs(args)
  const options = normalized[0]
  const socket = new Socket(options as unknown as net.SocketConstructorOpts)
  if (tellsOfSockets && clientSocketChannel.hasSubscribers) clientSocketChannel.publish({ socket })
  if (options.timeout) socket.setTimeout(options.timeout)
  return (socket.connect as (normalized: unknown) => net.Socket)(normalized)
} as typeof net.connect
