/**
 * Whose turn it is among the sockets that libuv reads bulk data for. By itself it reads up to 32 times from one before it looks at
 * the next (uv__read, src/unix/stream.c), so that the share of each is what its receive window happens to be. Owns the count of
 * reads in a row; it stops nothing itself.
 */

/** What libuv reads at a time. Fewer bytes mean that there were no more. */
export const fullReadBytes = 65536

/** Full reads of one socket in a row, while there are others. */
const readsMax = 2
/** After so many, two rounds of libuv's, it is the only one. */
const readsAlone = 64

export class BulkTurns {
  #last: object | undefined
  #hasOthers = false
  /** In this turn of it. */
  #reads = 0
  /** With none of another's between them. */
  #readsInRow = 0

  /** Notes a full read of this socket. True: the next ones are others'. */
  isOver(socket: object): boolean {
    if (this.#last !== socket) {
      this.#hasOthers = this.#last !== undefined
      this.#last = socket
      this.#reads = this.#readsInRow = 0
    }
    this.#reads++
    if (++this.#readsInRow >= readsAlone) this.#hasOthers = false
    if (!this.#hasOthers || this.#reads < readsMax) return false
    this.#reads = 0
    return true
  }

  /** The socket reads no more. */
  forget(socket: object): void {
    if (this.#last === socket) this.#last = undefined
  }
}
