/**
 * What a cluster's primary sends its workers, put on the active driver: the listening socket itself (SCHED_NONE), or one
 * connection at a time (round robin). Duplicates the descriptor and closes Node's handle for it, which nobody has started
 * reading from, so nothing is lost; when that fails, Node's handle goes on.
 */
import { internals } from './node-internals'
import type { NodeHandle } from './node-internals'
import { PipeServerHandle, ServerHandle, TcpServerHandle } from './server-handle'
import type { OnConnection } from './server-handle'
import { driver } from './socket-driver'
import { PipeHandle, TcpHandle } from './socket-handles'

export function isClusterWorker(): boolean {
  // Only who has a channel to a parent can be one; only then the module is loaded already.
  if (process.channel === undefined) return false
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- not loaded unless it was
  return (require('node:cluster') as typeof import('node:cluster').default).isWorker
}

/** Whether `handle` stands for a listening socket that the primary keeps: connections are sent one by one. */
export function isShared(
  handle: object | null,
): handle is { onconnection: OnConnection | undefined } {
  if (handle === null || isNodes(handle)) return false
  return (
    typeof (handle as { onconnection?: unknown }).onconnection === 'function' && isClusterWorker()
  )
}

/** The handle of a listening socket that was sent, taken over; undefined when it cannot be. */
export function adoptServer(handle: object): ServerHandle | undefined {
  if (driver === undefined || !isNodes(handle) || handle instanceof ServerHandle) return undefined
  const adopted =
    handle instanceof internals.TCP
      ? TcpServerHandle.adopt(driver, handle)
      : PipeServerHandle.adopt(driver, handle)
  return typeof adopted === 'object' ? adopted : undefined
}

/** The handle of a connection that was sent, taken over; undefined when it is ours already or cannot be. */
export function adoptConnection(handle: object): object | undefined {
  if (driver === undefined || !isNodes(handle)) return undefined
  const id = driver.adoptCopy(handle.fd)
  if (id < 0) return undefined
  handle.close()
  return handle instanceof internals.TCP ? new TcpHandle(driver, id) : new PipeHandle(driver, id)
}

function isNodes(handle: object): handle is NodeHandle {
  return handle instanceof internals.TCP || handle instanceof internals.Pipe
}
