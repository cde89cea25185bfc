/**
 * A fixed number of leases of a fixed size, for bytes of the program's own. A pool never grows. When none is left `acquire`
 * answers undefined and `whenAvailable` tells when to come back: that is back-pressure.
 */
import type { Block, BlockSource } from './block'
import type { Driver } from './driver'
import { outOfRange } from './errors'
import { Lease } from './lease'
import { queueMicrotask } from './timers'

/** How many leases, and how large. */
export interface PoolOptions {
  /** Leases in the pool. Default 64. */
  count?: number
  /** Bytes of each, at most 16 MiB. Default 16384. */
  leaseBytes?: number
}

const leaseBytesMax = 16 << 20
const countMax = 65536

const abandoned = new FinalizationRegistry<{ driver: Driver; unused: Block[] }>(
  ({ driver, unused }) => {
    for (const block of unused) driver.blocks.destroy(block)
  },
)

export class Pool implements BlockSource {
  /** Bytes of every lease. */
  readonly leaseBytes: number
  readonly #driver: Driver
  readonly #count: number
  /** Blocks that no lease has. They are made when they are first needed. */
  readonly #unused: Block[] = []
  #made = 0
  #waiting: (() => void)[] = []

  /** Throws ERR_OUT_OF_RANGE on a bad size. */
  constructor(driver: Driver, { count = 64, leaseBytes = 16384 }: PoolOptions = {}) {
    if (
      !(Number.isInteger(leaseBytes) && leaseBytes >= 1 && leaseBytes <= leaseBytesMax) ||
      !(Number.isInteger(count) && count >= 1 && count <= countMax)
    ) {
      throw outOfRange(`a pool has 1 to ${countMax} leases of 1 to ${leaseBytesMax} bytes`)
    }
    this.#driver = driver
    this.leaseBytes = leaseBytes
    this.#count = count
    abandoned.register(this, { driver, unused: this.#unused })
  }

  /** Leases that can be acquired now. */
  get available(): number {
    return this.#count - this.#made + this.#unused.length
  }

  /** A lease that is the caller's, or undefined when none is left. */
  acquire(): Lease | undefined {
    let block = this.#unused.pop()
    if (block === undefined) {
      if (this.#made === this.#count) return undefined
      this.#made++
      block = this.#driver.blocks.create(this.leaseBytes)
    }
    return new Lease(this, block, this.leaseBytes)
  }

  /** Calls back once, in a microtask, when a lease has come back. */
  whenAvailable(callback: () => void): void {
    this.#waiting.push(callback)
  }

  /** @internal */
  reclaim(block: Block): void {
    this.#unused.push(block)
    const next = this.#waiting.shift()
    if (next !== undefined) queueMicrotask(() => this.#wake(next))
  }

  /** Whoever was woken may not want it, or not yet: then it is the next one's turn. */
  #wake(waiting: () => void): void {
    try {
      waiting()
    } finally {
      const next = this.available > 0 ? this.#waiting.shift() : undefined
      if (next !== undefined) queueMicrotask(() => this.#wake(next))
    }
  }
}
