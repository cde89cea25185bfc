/**
 * One serving thread, seen from the one that called serve(): its life from start to end. Owns the Worker, the port to it and
 * the last deadline, after which the thread is ended by force. Never decides what comes after it.
 */
import { join } from 'node:path'
import { MessageChannel, Worker, receiveMessageOnPort } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { UringError } from '../core/errors'
import type { Assignment, Counters, Order, Report, ServedKind } from './messages'
import { clearTimeout, setTimeout } from '../core/timers'

/** Milliseconds beyond the deadline of connections: a thread that is not through by then does not run its event loop. */
const forceAfterMs = 1000
/** Milliseconds that a thread's counters are waited for. */
const countersMs = 1000

type Life =
  | { state: 'starting' | 'serving' | 'ended' }
  /** It was told to end. */
  | { state: 'stopping'; force: NodeJS.Timeout | undefined }

const none: Counters = { accepted: 0, open: 0, driverName: '', driver: {} }

export class ServingThread {
  /** Rejects with the reason when the thread ends before. */
  readonly listening: Promise<void>
  /** Resolves to why it has ended; null when it was told to. */
  readonly ended: Promise<Error | null>
  readonly index: number
  /** Known once it listens. */
  kind: ServedKind | undefined
  readonly #worker: Worker
  readonly #port: MessagePort
  #life: Life = { state: 'starting' }
  #reason: Error | undefined
  #last = none
  /** Who waits for counters. */
  #waiters: (() => void)[] = []
  #onListening: () => void = () => {}
  #onRefused: (reason: Error) => void = () => {}
  #onEnded: (reason: Error | null) => void = () => {}

  /** Throws what Worker throws. */
  constructor(assignment: Omit<Assignment, 'port'>) {
    this.index = assignment.thread
    this.listening = new Promise((resolve, reject) => {
      this.#onListening = resolve
      this.#onRefused = reject
    })
    // Who wants to know asks; `ended` tells of it, too.
    this.listening.catch(() => {})
    this.ended = new Promise((resolve) => (this.#onEnded = resolve))
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    try {
      this.#worker = new Worker(join(__dirname, 'bootstrap.js'), {
        workerData: { ...assignment, port: port2 },
        transferList: [port2],
        name: `uring-net ${assignment.thread}`,
      })
    } catch (error) {
      port1.close()
      throw error
    }
    port1.on('message', (report: Report) => this.#told(report))
    // The Worker itself keeps the process alive.
    port1.unref()
    this.#worker.on('error', (error) => (this.#reason ??= error))
    this.#worker.once('exit', (code) => this.#exited(code))
  }

  get threadId(): number {
    return this.#worker.threadId
  }

  /** The last counters that it told. */
  get last(): Counters {
    return this.#last
  }

  get isServing(): boolean {
    return this.#life.state === 'serving'
  }

  /**
   * Told to end: it listens no more, and what is open after `timeout` milliseconds is destroyed. One that does not listen yet
   * is ended at once. When called again the new timeout holds.
   */
  stop(timeout: number, isLast: boolean): void {
    if (this.#life.state === 'ended') return
    if (this.#life.state === 'starting') return this.#force()
    if (this.#life.state === 'stopping') {
      if (this.#life.force === undefined) return
      clearTimeout(this.#life.force)
    }
    this.#life = {
      state: 'stopping',
      force: setTimeout(() => this.#force(), timeout + forceAfterMs),
    }
    this.#order({ type: 'stop', timeout, isLast })
  }

  #force(): void {
    this.#life = { state: 'stopping', force: undefined }
    void this.#worker.terminate()
  }

  /** Asks for its counters. A thread that does not answer within a second is busy: `last` are older ones then. */
  counters(): Promise<void> {
    if (this.#life.state === 'starting' || this.#life.state === 'ended') return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter)
        resolve()
      }, countersMs)
      const waiter = (): void => {
        clearTimeout(timer)
        resolve()
      }
      this.#waiters.push(waiter)
      this.#order({ type: 'count' })
    })
  }

  #order(order: Order): void {
    this.#port.postMessage(order)
  }

  #told(report: Report): void {
    switch (report.type) {
      case 'listening':
        this.kind = report.kind
        this.#last = report.counters
        if (this.#life.state !== 'starting') return
        this.#life = { state: 'serving' }
        return this.#onListening()
      case 'failed':
        this.#reason ??= reasonOf(report.error, report.properties)
        return
      case 'counters':
        this.#last = report.counters
        this.#answerWaiters()
    }
  }

  #answerWaiters(): void {
    for (const waiter of this.#waiters.splice(0)) waiter()
  }

  #exited(code: number): void {
    // What it told last may still be on its way.
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: Report } | undefined
      if (received === undefined) break
      this.#told(received.message)
    }
    this.#port.close()
    const wasTold = this.#life.state === 'stopping'
    if (this.#life.state === 'stopping') clearTimeout(this.#life.force)
    this.#life = { state: 'ended' }
    this.#last = { ...this.#last, open: 0 }
    this.#answerWaiters()
    const reason =
      this.#reason ??
      new UringError('ERR_URING_THREAD_ENDED', `the worker has ended with exit code ${code}`)
    this.#onRefused(reason)
    this.#onEnded(wasTold && this.#reason === undefined ? null : reason)
  }
}

function reasonOf(error: unknown, properties: Record<string, unknown>): Error {
  return error instanceof Error
    ? Object.assign(error, properties)
    : new Error(`the worker threw ${String(error)}`)
}
