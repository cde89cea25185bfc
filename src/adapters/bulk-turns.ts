/**
 * Whose turn it is among the sockets that libuv reads bulk data for. By itself it reads up to 32 times from one before it looks at
 * the next (uv__read, src/unix/stream.c), so that the share of each is what its receive window happens to be. Owns the count of
 * such sockets; it stops nothing itself.
 */

/** Reads of 64 KiB of one socket in a row, while there are others. */
const readsMax = 2

export class BulkTurns {
  #sockets = 0
  #last: object | undefined
  #reads = 0

  /** One socket more is read so, or one less. */
  add(change: 1 | -1): void {
    this.#sockets += change
  }

  /** Notes a read of this socket. True: the next ones are others'. */
  isOver(socket: object): boolean {
    if (this.#last !== socket) {
      this.#last = socket
      this.#reads = 0
    }
    this.#reads++
    if (this.#sockets < 2 || this.#reads < readsMax) return false
    this.#last = undefined
    return true
  }
}
