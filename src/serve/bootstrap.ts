/**
 * What runs in a serving thread: loads the worker's module, has it make its server, listens, and carries out orders. Owns
 * the order of an end: the listener, what is idle, what is in flight, the thread.
 */
import { workerData } from 'node:worker_threads'
import type { Server } from 'node:net'
import { UringError } from '../core/errors'
import type { Assignment, Order, Report } from './messages'
import { acceptWaiting } from './served'
import type { Served } from './served'
import type { ConnectionHandler } from './served-connections'
import type { WorkerContext, WorkerFunction } from './worker'

const assignment = workerData as Assignment
const { port } = assignment
const stopping = new AbortController()
let deadline: NodeJS.Timeout | undefined

function report(message: Report): void {
  port.postMessage(message)
}

async function start(): Promise<void> {
  const { worker, thread, threads, fd, backlog, kind } = assignment
  const make = functionOf((await import(worker)) as Record<string, unknown>)
  const { signal } = stopping
  const context: WorkerContext = { thread, threads, signal, workerData: assignment.workerData }
  const served = servedOf(await make(context))
  if (kind !== undefined && served.kind !== kind) {
    const message =
      'a restart cannot replace a server by a handler of connections, or the other way'
    throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_RETURN_VALUE' })
  }
  await served.listen(fd, backlog)
  port.on('message', (order: Order) => carryOut(order, served))
  process.on('exit', () => report({ type: 'counters', counters: served.counters() }))
  void served.over.then(() => {
    if (stopping.signal.aborted) process.exit()
    fail(new UringError('ERR_URING_THREAD_ENDED', 'the worker has closed its server'))
  })
  report({ type: 'listening', kind: served.kind, counters: served.counters() })
}

/** The function that a module exports as its default, whichever system it is of. */
function functionOf({ default: exported }: Record<string, unknown>): WorkerFunction {
  const inner = (exported as Record<string, unknown> | undefined)?.['default']
  const found = typeof exported === 'function' ? exported : inner
  if (typeof found === 'function') return found as WorkerFunction
  throw Object.assign(new TypeError(`${assignment.worker} has no function as its default export`), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

/** Loads what it needs only: a thread has one ring for the API that it uses. */
function servedOf(made: Server | ConnectionHandler): Served {
  /* eslint-disable @typescript-eslint/no-require-imports -- see above */
  if (typeof (made as Partial<ConnectionHandler> | null)?.onConnection === 'function') {
    const connections = require('./served-connections') as typeof import('./served-connections')
    return new connections.ServedConnections(made as ConnectionHandler, stopping.signal)
  }
  const servers = require('./served-server') as typeof import('./served-server')
  return new servers.ServedServer(made as Server)
  /* eslint-enable @typescript-eslint/no-require-imports */
}

function carryOut(order: Order, served: Served): void {
  if (order.type === 'count') return report({ type: 'counters', counters: served.counters() })
  const isFirst = deadline === undefined
  clearTimeout(deadline)
  deadline = setTimeout(() => served.destroy(), order.timeout)
  if (isFirst) stop(served, order.isLast).catch(fail)
}

async function stop(served: Served, isLast: boolean): Promise<void> {
  if (isLast) await acceptWaiting(served)
  // Before the listener: with no connection it is over at once.
  stopping.abort()
  await served.stopListening()
  served.finish()
}

/** Also told when a worker catches all that is uncaught. */
function fail(error: unknown): void {
  const properties: Record<string, unknown> = {}
  if (error instanceof Error) {
    for (const [name, value] of Object.entries(error)) {
      if (Object(value) !== value && typeof value !== 'symbol') properties[name] = value
    }
  }
  try {
    report({ type: 'failed', error, properties })
  } catch {
    // What cannot be cloned.
    report({ type: 'failed', error: new Error(String(error)), properties })
  }
  process.exit(1)
}

start().catch(fail)
