/**
 * A fixed number of leases of a fixed size. Owns their blocks of the arena, all of them from the start: a pool never
 * grows and never competes. When none is left `acquire` answers undefined and `whenAvailable` tells when to come back;
 * that is the back-pressure of the ownership API.
 */
import { Arena } from './arena'
import type { NativeDriver } from './binding'
import type { Driver } from './driver'
import { Errno, systemError } from './errors'
import { Lease } from './lease'
import type { LeaseSource } from './lease'

export interface PoolOptions {
  /** Leases in the pool. Default 64. */
  count?: number
  /** Bytes of each, at most 65536. Default 16384. */
  leaseBytes?: number
}

export class Pool implements LeaseSource {
  readonly native: NativeDriver
  readonly leaseBytes: number
  /** @internal */
  readonly driver: Driver
  readonly #free: number[] = []
  #waiting: (() => void)[] = []

  /** Throws ENOBUFS when the driver's arena has no room for it, ERR_OUT_OF_RANGE on a bad size. */
  constructor(driver: Driver, { count = 64, leaseBytes = 16384 }: PoolOptions = {}) {
    if (
      !(Number.isInteger(leaseBytes) && leaseBytes >= 1 && leaseBytes <= Arena.blockBytesMax) ||
      !(Number.isInteger(count) && count >= 1)
    ) {
      throw Object.assign(
        new RangeError(`a pool has 1 or more leases of 1 to ${Arena.blockBytesMax} bytes`),
        { code: 'ERR_OUT_OF_RANGE' },
      )
    }
    this.native = driver.native
    this.driver = driver
    this.leaseBytes = leaseBytes
    for (let i = 0; i < count; i++) {
      const block = driver.arena.allocate(leaseBytes)
      if (block < 0) {
        this.#free.forEach((taken) => driver.arena.release(taken))
        throw systemError(Errno.ENOBUFS, 'pool')
      }
      this.#free.push(block)
    }
  }

  /** Leases that can be acquired now. */
  get available(): number {
    return this.#free.length
  }

  /** A lease that is the caller's, or undefined when none is left. */
  acquire(): Lease | undefined {
    const block = this.#free.pop()
    return block === undefined ? undefined : new Lease(this, block)
  }

  /** Calls back once, in a microtask, after a lease has come back. */
  whenAvailable(callback: () => void): void {
    this.#waiting.push(callback)
  }

  /** @internal */
  reclaim(block: number): void {
    this.#free.push(block)
    const next = this.#waiting.shift()
    if (next !== undefined) queueMicrotask(() => this.#wake(next))
  }

  /** Whoever was woken may not want it, or not yet: then it is the next one's turn. */
  #wake(waiting: () => void): void {
    try {
      waiting()
    } finally {
      const next = this.#free.length > 0 ? this.#waiting.shift() : undefined
      if (next !== undefined) queueMicrotask(() => this.#wake(next))
    }
  }
}
