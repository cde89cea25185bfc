/**
 * uring-net/serve: one port, served by worker threads, each with a ring and a SO_REUSEPORT listener of its own. For servers
 * of net, tls, http, https and http2, and for the core API.
 *
 * ```ts
 * import { serve } from 'uring-net/serve'
 * const cluster = await serve({ worker: new URL('./worker.js', import.meta.url), port: 8080 })
 * process.once('SIGHUP', () => cluster.restart())
 * process.once('SIGTERM', () => cluster.stop({ timeout: 5000 }))
 *
 * // worker.js
 * export default ({ thread }) => http.createServer((request, response) => response.end(`from thread ${thread}`))
 * ```
 */
import { requireDriver } from '../core/active'
import { requireNet } from '../core/permission'
import { Cluster } from './cluster'
import { checkedOptions } from './options'
import type { ServeOptions } from './options'
import { Sockets } from './sockets'

export { Cluster } from './cluster'
export type { ServeOptions, StopOptions } from './options'
export type { ConnectionHandler } from './served-connections'
export type { ClusterStats, DriverCounters, ThreadStats } from './stats'
export type { WorkerContext, WorkerFunction } from './worker'

/**
 * Starts the threads and resolves when all of them listen. Rejects before anything starts for bad options
 * (ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE, ERR_SOCKET_BAD_PORT) and where there is no driver (ERR_URING_DRIVER); with the
 * system error when the port cannot be had; and with the worker's own error when a thread cannot start: then none is left.
 *
 * Where connections can be lost: those of a thread that crashes, and what connects in the microseconds in which stop() closes a
 * listener. What waits in a backlog during a crash or a restart is kept for the thread that follows.
 */
export async function serve(options: ServeOptions): Promise<Cluster> {
  const checked = checkedOptions(options)
  const driver = requireDriver()
  requireNet()
  const sockets = await Sockets.bind(driver, checked.threads, checked.host, checked.port)
  return Cluster.start(checked, sockets)
}
