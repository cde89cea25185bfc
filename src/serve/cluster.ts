/**
 * The threads that serve one port: starts them, replaces those that crash, restarts them one after the other, ends them.
 * Owns the sockets, the threads and the record of crashes; never a connection.
 */
import { EventEmitter } from 'node:events'
import { UringError } from '../core/errors'
import { checkedTimeout } from './options'
import type { CheckedOptions, StopOptions } from './options'
import type { Sockets } from './sockets'
import { Sum } from './stats'
import type { ClusterStats, DriverCounters } from './stats'
import { ServingThread } from './thread'
import { clearTimeout, setTimeout } from '../core/timers'

/** Milliseconds before the thread of a second crash in a row is replaced; the first one is at once. Doubles each time. */
const delayFirst = 100
const delayMax = 5000

interface ClusterEvents {
  /** A thread has ended by itself, with why; and which, from 0 on. It is replaced. */
  crash: [reason: Error, thread: number]
  /** ERR_URING_CRASHES: too many crashes. All is being stopped. */
  error: [error: Error]
}

/** Where a thread serves: a socket, and who listens on it. */
interface Place {
  readonly index: number
  /** The thread that serves or starts to; none between a crash and the next thread. */
  thread: ServingThread | undefined
  /** A restart's, until it listens. */
  next: ServingThread | undefined
  timer: NodeJS.Timeout | undefined
  /** When threads of this place have crashed, as far as it counts. */
  crashes: number[]
}

/** What serve() resolves to. */
export class Cluster extends EventEmitter<ClusterEvents> {
  /** The port that all threads listen on. */
  readonly port: number
  readonly #options: CheckedOptions
  readonly #sockets: Sockets
  readonly #places: Place[]
  /** All that have not ended. */
  readonly #threads = new Set<ServingThread>()
  readonly #gone = new Sum()
  #restarts = 0
  #crashes = 0
  /** The restart that runs, or the last one. */
  #restarting: Promise<void> = Promise.resolve()
  #stopping: Promise<void> | undefined

  private constructor(options: CheckedOptions, sockets: Sockets) {
    super()
    this.port = sockets.port
    this.#options = options
    this.#sockets = sockets
    this.#places = Array.from({ length: options.threads }, (_, index) => {
      return { index, thread: undefined, next: undefined, timer: undefined, crashes: [] }
    })
  }

  /** @internal Takes over the sockets. Rejects with why a thread could not start; then there is none. */
  static async start(options: CheckedOptions, sockets: Sockets): Promise<Cluster> {
    const cluster = new Cluster(options, sockets)
    try {
      const threads = cluster.#places.map((place) => cluster.#make(place))
      await Promise.all(threads.map(({ listening }) => listening))
      for (const [i, thread] of threads.entries()) cluster.#places[i]!.thread = thread
      for (const thread of threads) cluster.#watch(thread)
      return cluster
    } catch (error) {
      await cluster.stop({ timeout: 0 })
      throw error
    }
  }

  /** How many threads serve when none is being replaced. */
  get threads(): number {
    return this.#places.length
  }

  #make({ index, thread }: Place): ServingThread {
    const { worker, threads, backlog, workerData } = this.#options
    const made = new ServingThread({
      worker,
      thread: index,
      threads,
      fd: this.#sockets.fd(index),
      backlog,
      kind: thread?.kind,
      workerData,
    })
    this.#threads.add(made)
    void made.ended.then(() => {
      this.#threads.delete(made)
      this.#gone.add(made.last, true)
    })
    return made
  }

  /** From now on its crash is the cluster's business. */
  #watch(thread: ServingThread): void {
    void thread.ended.then((reason) => {
      const place = this.#places[thread.index]!
      const isPlaces = place.thread === thread
      if (isPlaces) place.thread = undefined
      if (reason !== null) this.#crashed(place, reason, isPlaces && place.next === undefined)
    })
  }

  /** `isEmpty`: nobody serves in its place. */
  #crashed(place: Place, reason: Error, isEmpty: boolean): void {
    this.#crashes++
    // Out of the promise: a handler that throws is an uncaught exception.
    process.nextTick(() => {
      if (!this.emit('crash', reason, place.index)) process.emitWarning(reason)
    })
    if (isEmpty && this.#stopping === undefined) this.#replace(place, reason)
  }

  #replace(place: Place, reason: Error): void {
    const { crashesMax, crashesWithin } = this.#options
    const now = performance.now()
    place.crashes.push(now)
    for (const each of this.#places) {
      each.crashes = each.crashes.filter((time) => time > now - crashesWithin)
    }
    const count = this.#places.reduce((sum, { crashes }) => sum + crashes.length, 0)
    if (count > crashesMax) return this.#fail(count, reason)
    const { length } = place.crashes
    const delay = length === 1 ? 0 : Math.min(delayFirst * 2 ** (length - 2), delayMax)
    place.timer = setTimeout(() => this.#fill(place), delay)
  }

  #fill(place: Place): void {
    place.timer = undefined
    try {
      place.thread = this.#make(place)
    } catch (error) {
      return this.#crashed(place, error as Error, true)
    }
    this.#restarts++
    this.#watch(place.thread)
  }

  #fail(count: number, cause: Error): void {
    const { crashesWithin } = this.#options
    const message = `${count} crashes of threads within ${crashesWithin} ms. The last: ${cause.message}`
    const error = Object.assign(new UringError('ERR_URING_CRASHES', message), { cause })
    void this.stop()
    process.nextTick(() => this.emit('error', error))
  }

  /**
   * Replaces every thread, one after the other: the new one has loaded the worker's module anew and listens before the old one
   * stops accepting, on the same socket, so that no connection is refused or lost. The old one's connections have `timeout`
   * milliseconds, as in stop(), and the next thread's turn is when it has ended. Rejects with why a new thread could not start;
   * the old one serves on then. One restart at a time: a later one waits.
   */
  restart(options?: StopOptions): Promise<void> {
    return new Promise((resolve) => {
      const timeout = checkedTimeout(options)
      this.#requireRunning()
      const restarted = this.#restarting.then(() => this.#restartAll(timeout))
      this.#restarting = restarted.catch(() => {})
      resolve(restarted)
    })
  }

  async #restartAll(timeout: number): Promise<void> {
    for (const place of this.#places) {
      this.#requireRunning()
      await this.#restartOne(place, timeout)
    }
  }

  async #restartOne(place: Place, timeout: number): Promise<void> {
    const next = (place.next = this.#make(place))
    clearTimeout(place.timer)
    place.timer = undefined
    try {
      await next.listening
    } catch (error) {
      place.next = undefined
      this.#requireRunning()
      // The old one has crashed meanwhile, or had before.
      if (place.thread === undefined) this.#replace(place, error as Error)
      throw error
    }
    place.next = undefined
    this.#requireRunning()
    const old = place.thread
    place.thread = next
    this.#restarts++
    this.#watch(next)
    old?.stop(timeout, false)
    await old?.ended
  }

  #requireRunning(): void {
    if (this.#stopping !== undefined) {
      throw new UringError('ERR_URING_CLOSED', 'the threads were stopped')
    }
  }

  /** The counters of all threads. A thread that is busy for more than a second is told of as it was before. */
  async stats(): Promise<ClusterStats> {
    await Promise.all([...this.#threads].map((thread) => thread.counters()))
    const sum = new Sum().add(this.#gone, true)
    const threads = [...this.#threads].filter(({ kind }) => kind !== undefined)
    for (const { last } of threads) sum.add(last, false)
    const { accepted, open } = sum
    return {
      accepted,
      open,
      restarts: this.#restarts,
      crashes: this.#crashes,
      driver: sum.driver as DriverCounters,
      threads: threads.map(({ index, threadId, last }) => ({ thread: index, threadId, ...last })),
    }
  }

  /**
   * Ends all threads in good order. They accept what waits and close their listeners; further connects are refused. Idle
   * keep-alive connections are closed, HTTP/1.1 responses say `Connection: close`, HTTP/2 sessions GOAWAY, and the worker's
   * signal is aborted. What is open after `timeout` milliseconds (default 10000) is destroyed. Resolves when no thread is left.
   * May be called again, also with a shorter timeout.
   */
  stop(options?: StopOptions): Promise<void> {
    return new Promise((resolve) => {
      const timeout = checkedTimeout(options)
      // First: a thread's descriptor is the last one then, and what it accepts before it closes that is all there is.
      this.#sockets.close()
      for (const thread of this.#threads) thread.stop(timeout, true)
      for (const place of this.#places) clearTimeout(place.timer)
      this.#stopping ??= Promise.all([...this.#threads].map(({ ended }) => ended)).then(() => {})
      resolve(this.#stopping)
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}
