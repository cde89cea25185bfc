/**
 * uring-net/core: the ownership API. Buffers are lent and come back with the result; what is dropped is cancelled.
 */
import { requireDriver } from './active'
import { Pool as DriverPool } from './pool'
import type { PoolOptions } from './pool'

export { driver } from './active'
export type { ActiveDriver } from './active'
export type { NativeStats as DriverStats } from './binding'
export type { Cancellable } from './cancellation'
export type { Chain } from './chain'
export { orThrow } from './completion'
export type { Completion } from './completion'
export { adopt, connect } from './connect'
export type { ConnectOptions } from './connect'
export { Connection } from './connection'
export type { PipeToOptions, ReceiveOptions } from './connection'
export { UringError } from './errors'
export type { SystemError, UringErrorCode } from './errors'
export type { Lease, LeaseState } from './lease'
export { Listener, listen } from './listener'
export { configure } from './options'
export type { DriverOptions } from './options'
export type { ListenOptions } from './listener'
export type { SocketName } from './binding'
export type { PoolOptions } from './pool'
export type { FileSource, SendFileOptions } from './send-file'
export type { Sendable } from './sending'

/** A fixed number of leases of a fixed size on this thread's driver. */
export class Pool extends DriverPool {
  constructor(options: PoolOptions = {}) {
    super(requireDriver(), options)
  }
}
