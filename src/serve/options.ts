/** Options of serve(), checked before anything starts. Owns the defaults; knows nothing about threads. */
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { invalidArgument, outOfRange } from '../core/errors'

/** What serves, where, and on how many threads. */
export interface ServeOptions {
  /** The worker's module: a URL, or a path (relative to the working directory). Its default export is a WorkerFunction. */
  worker: string | URL
  /** The TCP port that all threads listen on; 0: any free one. */
  port: number
  /** An IP address or a name. Default: all addresses, IPv6 and IPv4. */
  host?: string | undefined
  /** 1 to 1024. Default: os.availableParallelism(). */
  threads?: number | undefined
  /** Connections that may wait in the kernel for each thread. Default 511. */
  backlog?: number | undefined
  /** Given to the worker's function. Copied as worker_threads does. */
  workerData?: unknown
  /**
   * Crashes within `crashesWithin` milliseconds that are made good by another thread; one more, and the whole is stopped with
   * an 'error' (ERR_URING_CRASHES). Default 10.
   */
  crashesMax?: number | undefined
  /** Milliseconds. Default 60000. */
  crashesWithin?: number | undefined
}

/** How long a stop may take. */
export interface StopOptions {
  /** Milliseconds until connections that are still open are destroyed; 0: at once. Default 10000. */
  timeout?: number | undefined
}

export interface CheckedOptions {
  readonly worker: string
  readonly port: number
  readonly host: string | undefined
  readonly threads: number
  readonly backlog: number
  readonly workerData: unknown
  readonly crashesMax: number
  readonly crashesWithin: number
}

const threadsMax = 1024
const int32Max = 0x7fffffff
const stopTimeoutDefault = 10_000
/** Leaves room for the second that a thread is given beyond it (setTimeout takes no more than 2147483647). */
const stopTimeoutMax = int32Max - 10_000

/** Throws ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE or ERR_SOCKET_BAD_PORT. */
export function checkedOptions(options: unknown): CheckedOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object with a worker and a port', options)
  }
  const given = options as Record<keyof ServeOptions, unknown>
  const { worker, port, host, workerData } = given
  if (!(worker instanceof URL) && typeof worker !== 'string') {
    throw invalidArgument('worker', 'a string or a URL', worker)
  }
  if (typeof port !== 'number') throw invalidArgument('port', 'a number', port)
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw Object.assign(new RangeError(`port should be >= 0 and < 65536. Received ${port}.`), {
      code: 'ERR_SOCKET_BAD_PORT',
    })
  }
  if (host !== undefined && typeof host !== 'string')
    throw invalidArgument('host', 'a string', host)
  return {
    worker: worker instanceof URL ? worker.href : pathToFileURL(resolve(worker)).href,
    port,
    host,
    threads: whole('threads', given.threads ?? availableParallelism(), 1, threadsMax),
    backlog: whole('backlog', given.backlog ?? 511, 1, int32Max),
    workerData,
    crashesMax: whole('crashesMax', given.crashesMax ?? 10, 0, 1000),
    crashesWithin: whole('crashesWithin', given.crashesWithin ?? 60_000, 1, int32Max),
  }
}

/** Throws ERR_INVALID_ARG_TYPE or ERR_OUT_OF_RANGE. */
export function checkedTimeout(options: unknown): number {
  if (options === undefined) return stopTimeoutDefault
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object with a timeout', options)
  }
  const { timeout = stopTimeoutDefault } = options as Record<keyof StopOptions, unknown>
  return whole('timeout', timeout, 0, stopTimeoutMax)
}

function whole(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number') throw invalidArgument(name, 'a number', value)
  if (!Number.isInteger(value) || value < min || value > max) {
    throw outOfRange(`${name} is ${min} to ${max}. Received ${value}`)
  }
  return value
}

/** Whether it has to be looked up. */
export function isName(host: string): boolean {
  return isIP(host) === 0
}
