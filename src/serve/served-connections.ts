/**
 * A handler of core connections in a serving thread: accepts on a descriptor of the thread's socket, and gives the handler
 * each connection until the promise that it answered with settles. Owns the acceptor and the connections of then.
 */
import { Acceptor } from '../core/acceptor'
import type { AcceptorHandler } from '../core/acceptor'
import { activeSelection, lowLevelStats, requireDriver } from '../core/active'
import { Connection } from '../core/connection'
import { invariant, systemError } from '../core/errors'
import type { Counters } from './messages'
import { nextTurn } from './served'
import type { Served } from './served'

/** What a worker's function answers with for the core API. */
export interface ConnectionHandler {
  /**
   * Has the connection until the promise settles; then it is closed, if it is not yet. What it rejects with is told to
   * onError, but for the reason of the context's signal once that is aborted. Without onError it is uncaught and ends the
   * thread, as does an 'error' of a socket that nobody listens to.
   */
  onConnection(connection: Connection): Promise<void>
  /** Told what onConnection rejected with. What it throws is uncaught. */
  onError?(error: unknown, connection: Connection): void
}

export class ServedConnections implements Served, AcceptorHandler {
  readonly kind = 'connections'
  accepted = 0
  readonly over: Promise<void>
  readonly #handler: ConnectionHandler
  readonly #signal: AbortSignal
  readonly #open = new Set<Connection>()
  #acceptor: Acceptor | undefined
  #isClosed = false
  #isOver!: () => void

  /** `signal`: its reason is no error. */
  constructor(handler: ConnectionHandler, signal: AbortSignal) {
    this.#handler = handler
    this.#signal = signal
    this.over = new Promise((resolve) => (this.#isOver = resolve))
  }

  async listen(fd: number, backlog: number): Promise<void> {
    const driver = requireDriver()
    const id = driver.native.share(fd)
    if (id < 0) throw systemError(id, 'listen')
    this.#acceptor = new Acceptor(driver, id, this)
    const status = this.#acceptor.listen(backlog)
    if (status < 0) throw systemError(status, 'listen')
  }

  onAccept(id: number): void {
    this.accepted++
    void this.#serve(new Connection(requireDriver(), id))
  }

  onAcceptError(errno: number): void {
    process.emitWarning(systemError(errno, 'accept'))
  }

  async #serve(connection: Connection): Promise<void> {
    this.#open.add(connection)
    try {
      await promiseOf(this.#handler.onConnection(connection))
    } catch (error) {
      if (!this.#signal.aborted || error !== this.#signal.reason) this.#failed(error, connection)
    }
    await connection.close()
    this.#open.delete(connection)
    this.#overWhenEmpty()
  }

  #failed(error: unknown, connection: Connection): void {
    try {
      if (this.#handler.onError === undefined) throw error
      this.#handler.onError(error, connection)
    } catch (thrown) {
      // Not in the promise: there it would be the business of --unhandled-rejections.
      process.nextTick(() => {
        throw thrown
      })
    }
  }

  async stopListening(): Promise<void> {
    const acceptor = this.#acceptor
    invariant(acceptor !== undefined, 'what stops listening has listened')
    // What the kernel has accepted by now arrives before the end of the accept.
    acceptor.pause()
    while (acceptor.isAccepting) await nextTurn()
    await new Promise<void>((resolve) => acceptor.close(resolve))
    this.#isClosed = true
  }

  finish(): void {
    // The handlers have the signal.
    this.#overWhenEmpty()
  }

  #overWhenEmpty(): void {
    if (this.#isClosed && this.#open.size === 0) this.#isOver()
  }

  destroy(): void {
    // Their handlers may wait for something else for ever.
    void Promise.all([...this.#open].map((connection) => connection.reset())).then(this.#isOver)
  }

  counters(): Counters {
    const { accepted } = this
    const { name } = activeSelection()
    return { accepted, open: this.#open.size, driverName: name, driver: lowLevelStats() }
  }
}

function promiseOf(answer: unknown): Promise<unknown> {
  if (typeof (answer as Promise<unknown> | undefined)?.then === 'function') {
    return answer as Promise<unknown>
  }
  throw Object.assign(new TypeError('onConnection() has to return a promise'), {
    code: 'ERR_INVALID_RETURN_VALUE',
  })
}
