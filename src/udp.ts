/** uring-net/udp: UDP sockets of the ownership API. */
export { driver } from './core/active'
export type { Cancellable } from './core/cancellation'
export { orThrow } from './core/completion'
export type { Completion } from './core/completion'
export { bind } from './core/datagram-socket'
export type {
  BindOptions,
  Datagram,
  DatagramSocket,
  Destination,
  SendOptions,
} from './core/datagram-socket'
export type { Lease } from './core/lease'
