/**
 * uring-net: node:net on io_uring. `Socket`, `Server`, `createServer` and `connect` are those of node:net on the active
 * driver; `attach` and `listen` put an http, https, http2 or tls server on it; `driver` tells which one it is and why.
 */
export { driver } from './adapters/presented-driver'
export { Socket, connect, connect as createConnection } from './adapters/net-socket'
export { Server, attach, createServer, listen } from './adapters/net-server'
export {
  BlockList,
  SocketAddress,
  getDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout,
  isIP,
  isIPv4,
  isIPv6,
  setDefaultAutoSelectFamily,
  setDefaultAutoSelectFamilyAttemptTimeout,
} from 'node:net'
