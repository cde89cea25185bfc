/** What a worker's module has to do with: types only. */
import type { Server } from 'node:net'
import type { ConnectionHandler } from './served-connections'

/** What a worker's function is told. */
export interface WorkerContext {
  /** Which of the threads this one is, from 0 on. */
  readonly thread: number
  /** How many there are. */
  readonly threads: number
  /** Aborted when the thread is to end: it accepts nothing any more, and its connections have a deadline. */
  readonly signal: AbortSignal
  /** A copy of what serve() was given. */
  readonly workerData: unknown
}

/**
 * The default export of a worker's module. Answers with a server of net, tls, http, https or http2 that does not listen yet,
 * or with a handler of core connections.
 */
export type WorkerFunction = (
  context: WorkerContext,
) => Server | ConnectionHandler | Promise<Server | ConnectionHandler>
