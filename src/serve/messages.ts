/** What the thread that called serve() and a serving thread tell each other. Types only. */
import type { MessagePort } from 'node:worker_threads'
import type { DriverStats } from '../core/driver'

/** What a worker's function can answer with: a server of Node's, or a handler of core connections. */
export type ServedKind = 'server' | 'connections'

/** A thread's workerData. */
export interface Assignment {
  readonly port: MessagePort
  /** The module, as import() takes it. */
  readonly worker: string
  /** Which of them, from 0 on. */
  readonly thread: number
  readonly threads: number
  /** The bound socket. It stays with the thread that called serve(); who listens duplicates it. */
  readonly fd: number
  readonly backlog: number
  /** What it has to be, as another thread listens on the same socket. */
  readonly kind: ServedKind | undefined
  readonly workerData: unknown
}

export type Order =
  /** `isLast`: nobody listens on this socket afterwards. A second one sets another deadline. */
  { type: 'stop'; timeout: number; isLast: boolean } | { type: 'count' }

export type Report =
  | { type: 'listening'; kind: ServedKind; counters: Counters }
  /** The thread could not start, or cannot go on. Properties are those that a clone of an error loses. */
  | { type: 'failed'; error: unknown; properties: Record<string, unknown> }
  | { type: 'counters'; counters: Counters }

/** One thread's numbers. */
export interface Counters {
  /** Connections accepted so far. */
  accepted: number
  /** Connections that are open. */
  open: number
  /** Its driver: uring, epoll or node. */
  driverName: string
  /** driver.stats() of the thread. */
  driver: Partial<DriverStats>
}
