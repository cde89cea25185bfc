/**
 * `for await` over a connection, without a generator: that would cost 1 KB for each connection that waits, and promises for each
 * lease. It is what waits, and owns nothing.
 */
import type { Lease } from './lease'
import type { Receiver } from './receiving'
import { withResolvers } from './resolvers'

/** The connection that the loop is over. */
interface Waitable {
  /** Tells the receiver of the next lease. Throws when nobody may wait for one. */
  wait(receiver: Receiver): void
  close(): Promise<void>
}

const ended: IteratorReturnResult<undefined> = { done: true, value: undefined }

/** The leases of one loop, until the end of the stream. Closes the connection when the loop is left early, or fails (C3). */
export class LeaseIterator implements AsyncIterableIterator<Lease>, Receiver {
  readonly connection: Waitable
  #isDone = false
  #resolve!: (result: IteratorResult<Lease>) => void
  #reject!: (error: unknown) => void

  constructor(connection: Waitable) {
    this.connection = connection
  }

  next(): Promise<IteratorResult<Lease>> {
    if (this.#isDone) return Promise.resolve(ended)
    const { promise, resolve, reject } = withResolvers<IteratorResult<Lease>>()
    this.#resolve = resolve
    this.#reject = reject
    try {
      this.connection.wait(this)
    } catch (error) {
      this.reject(error)
    }
    return promise
  }

  resolve(lease: Lease | null): void {
    this.#isDone = lease === null
    this.#resolve(lease === null ? ended : { done: false, value: lease })
  }

  reject(error: unknown): void {
    this.#isDone = true
    const reject = this.#reject
    void this.connection.close().then(() => reject(error))
  }

  async return(): Promise<IteratorResult<Lease>> {
    if (!this.#isDone) await this.connection.close()
    this.#isDone = true
    return ended
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
