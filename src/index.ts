/**
 * uring-net: node:net on io_uring. Exports what node:net of the running Node exports, with `Socket`, `Server`,
 * `createServer` and `connect` on the active driver; and `driver`, which tells which one it is and why, `attach` and
 * `listen`, which put an http, https, http2 or tls server on it.
 *
 * As with node:net, every export may be replaced by who has to (instrumentation does): they are plain properties.
 */
import * as nodeNet from 'node:net'
import * as server from './adapters/net-server'
import * as socket from './adapters/net-socket'
import { driver as presented } from './adapters/driver-info'
import * as namespace from './namespace'

/** The active driver of this thread's sockets: which one it is, why, with which sizes, and what it has done. */
export const driver = presented
/** Puts a server on the driver before it listens: http, https, http2, tls or any other that extends net.Server. Returns it. */
export const attach = server.attach
/** attach(server), then server.listen(...args). */
export const listen = server.listen

export const Socket = socket.Socket
export const Stream = socket.Socket
export const Server = server.Server
export const connect = socket.connect
export const createConnection = socket.connect
export const createServer = server.createServer

export type Socket = nodeNet.Socket
export type Server = nodeNet.Server
export type BlockList = nodeNet.BlockList
export type SocketAddress = nodeNet.SocketAddress
export type * from 'node:net'
export type { ActiveDriver } from './core/active'

export const BlockList = nodeNet.BlockList
export const SocketAddress = nodeNet.SocketAddress
export const isIP = nodeNet.isIP
export const isIPv4 = nodeNet.isIPv4
export const isIPv6 = nodeNet.isIPv6
export const getDefaultAutoSelectFamily = nodeNet.getDefaultAutoSelectFamily
export const setDefaultAutoSelectFamily = nodeNet.setDefaultAutoSelectFamily
export const getDefaultAutoSelectFamilyAttemptTimeout =
  nodeNet.getDefaultAutoSelectFamilyAttemptTimeout
export const setDefaultAutoSelectFamilyAttemptTimeout =
  nodeNet.setDefaultAutoSelectFamilyAttemptTimeout

/** What Node has in some versions only, or does not document. Named here so that ES modules can import it by name. */
const others = nodeNet as unknown as Record<string, unknown>
/** Node 24.21 and 26. */
export const BoundSocket = others['BoundSocket']
export const _createServerHandle = others['_createServerHandle']
export const _normalizeArgs = others['_normalizeArgs']
/** Node 26. */
export const _TransferredBoundSocket = others['_TransferredBoundSocket']
/** Until Node 22. */
export const _setSimultaneousAccepts = others['_setSimultaneousAccepts']

const whole = module.exports as Record<string, unknown>
for (const key of Object.keys(whole)) if (whole[key] === undefined) delete whole[key]
// Nothing that Node exports is missing, whatever it adds.
for (const key of Object.keys(others)) if (!(key in whole)) whole[key] = others[key]

/** The module as a whole, for `import net from 'uring-net'` in CommonJS output; ES modules have it anyway. */
// eslint-disable-next-line no-restricted-syntax -- a drop-in for node:net is imported as it is
export default namespace
// The types are those of the namespace, the object is this one: what is replaced on it is replaced for all.
whole['default'] = whole
