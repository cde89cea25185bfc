/**
 * The empty pipes of one driver. Bytes are in a pipe only from when they are received to when they are sent, so connections take
 * turns with a few pipes, and one on which nothing comes has none. Owns those that nobody has taken, for as long as somebody may
 * take one.
 */
import type { NativeDriver } from './binding'

/** Pipes that are kept. */
const keptMax = 16

export class Pipes {
  readonly #native: NativeDriver
  readonly #discard: (id: number) => void
  readonly #kept: number[] = []
  #users = 0

  constructor(native: NativeDriver, discard: (id: number) => void) {
    this.#native = native
    this.#discard = discard
  }

  /** Somebody may take pipes from now on, until they leave. */
  enter(): void {
    this.#users++
  }

  /** Whoever entered takes no more, and has given back all. */
  leave(): void {
    this.#users--
    if (this.#users > 0) return
    for (const pipe of this.#kept.splice(0)) this.#discard(pipe)
  }

  /** An empty pipe, which is the caller's. -errno when there can be none. */
  acquire(): number {
    return this.#kept.pop() ?? this.#native.openPipe()
  }

  /** Takes back a pipe, which is empty. */
  release(pipe: number): void {
    if (this.#kept.length < keptMax) this.#kept.push(pipe)
    else this.#discard(pipe)
  }
}
