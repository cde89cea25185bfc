/**
 * The right to a range of bytes that the kernel can send from or receive into. A lease has one owner at a time:
 *
 *   owned --send(lease)--> inFlight --completion--> owned --release--> released
 *
 * While it is in flight its memory is the kernel's: every view of it is empty, so that reading or writing it is not just
 * forbidden but impossible. It comes back with the completion. A lease that is dropped without release goes back to where it
 * came from when it is collected; who still has a view of it keeps that memory, and it is never lent again.
 */
import type { NativeDriver } from './binding'
import type { Block, BlockSource, Lent } from './block'
import { copyOf } from './copy'
import { UringError, invalidArgument, outOfRange } from './errors'

/** Whose the bytes are: the caller's, the kernel's, or the pool's again. */
export type LeaseState = 'owned' | 'inFlight' | 'released'

/**
 * A block's guard belongs to the lease while there is one, and to nobody else: when it is collected, so was the lease. It is
 * registered once for all leases of its block, because registering each lease would cost more than receiving it. What is
 * registered with it names the block and where that goes only while there is a lease: the registry would keep both alive for good,
 * and so the guard, which is the block's then.
 */
const abandoned = new FinalizationRegistry<Lent>((lent) => {
  const { block, source } = lent
  // The block is gone as well.
  if (block === undefined) return
  returned(lent)
  block.renew()
  source!.reclaim(block)
})

function returned(lent: Lent): void {
  lent.block = undefined
  lent.source = undefined
}

function guardOf(block: Block, source: BlockSource): object {
  const guard = block.guard ?? makeGuard(block)
  block.guard = undefined
  block.lent!.block = block
  block.lent!.source = source
  return guard
}

function makeGuard(block: Block): object {
  const guard = {}
  block.lent = { block: undefined, source: undefined }
  abandoned.register(guard, block.lent)
  return guard
}

/**
 * The right to a range of memory that the kernel can send from or receive into. Who has it may read and write `bytes`; while
 * an operation has it, nobody may. It comes back with the operation's end, and goes back to its pool by release() or `using`.
 */
export class Lease {
  readonly #block: Block
  #guard: object | undefined
  #state: LeaseState = 'owned'
  #length: number
  /** It was disposed of while it was in flight. */
  #isDisposed = false

  /** @internal Leases come from a Pool or from Connection.receive(). */
  constructor(source: BlockSource, block: Block, length: number) {
    this.#block = block
    this.#guard = guardOf(block, source)
    this.#length = length
  }

  /** Whether a value is a lease of this copy of the package. */
  static isLease(value: unknown): value is Lease {
    return typeof value === 'object' && value !== null && #block in value
  }

  /** Whose the bytes are now. */
  get state(): LeaseState {
    return this.#state
  }

  /** Bytes it can hold. */
  get capacity(): number {
    return this.#block.size - this.#block.start
  }

  /** Bytes that count: what was received, or what is to be sent. At most `capacity`. */
  get length(): number {
    return this.#length
  }

  set length(length: number) {
    this.#require('owned')
    if (!Number.isInteger(length) || length < 0 || length > this.capacity) {
      throw outOfRange(`a lease holds 0 to ${this.capacity} bytes`)
    }
    this.#length = length
  }

  /** The first `length` bytes. Only for the owner: throws while in flight, and views taken before are empty then. */
  get bytes(): Buffer {
    this.#require('owned')
    if (this.#block.isTransferred) throw transferred()
    const { start } = this.#block
    return this.#block.show().subarray(start, start + this.#length)
  }

  /** A copy of the bytes, with memory of its own. Of few bytes it costs less than to look at `bytes`, which moves the memory. */
  copy(): Buffer {
    this.#require('owned')
    if (this.#block.isTransferred) throw transferred()
    const { start } = this.#block
    return copyOf(this.#block.bytes.subarray(start, start + this.#length))
  }

  /**
   * Gives the bytes back: views of them are empty from now on. Once; a second release does nothing. Throws
   * ERR_URING_LEASE_IN_FLIGHT while in flight.
   */
  release(): void {
    if (this.#state === 'released') return
    this.#require('owned')
    this.#release()
  }

  /** Releases the lease: now, or when the operation that it is lent to has completed. */
  [Symbol.dispose](): void {
    if (this.#state === 'owned') this.#release()
    else if (this.#state === 'inFlight') this.#isDisposed = true
  }

  #release(): void {
    const source = this.#block.lent!.source!
    const block = this.#end()
    if (!block.hide()) block.renew()
    source.reclaim(block)
  }

  /** The block, with its guard: nothing is to be told when this lease is collected. */
  #end(): Block {
    const block = this.#block
    this.#state = 'released'
    block.guard = this.#guard
    this.#guard = undefined
    returned(block.lent!)
    return block
  }

  /** @internal Lends the memory to the kernel: nobody else can reach it until giveBack. */
  lend(native: NativeDriver): Block {
    this.#require('owned')
    if (!this.#block.isOf(native)) throw invalidArgument('bytes', 'a lease of this thread', this)
    if (!this.#block.hide()) {
      this.#release()
      throw transferred()
    }
    this.#state = 'inFlight'
    return this.#block
  }

  /** @internal The operation that the lease was lent to has completed. */
  giveBack(length = this.#length): void {
    this.#state = 'owned'
    this.#length = length
    if (this.#isDisposed) this.#release()
  }

  /** @internal Takes the block out of a lease that nobody will use any more. */
  surrender(): Block {
    this.#require('owned')
    return this.#end()
  }

  #require(state: LeaseState): void {
    if (this.#state === state) return
    if (this.#state === 'inFlight') {
      throw new UringError(
        'ERR_URING_LEASE_IN_FLIGHT',
        'the lease is in flight: its bytes are the kernel’s until the completion',
      )
    }
    throw new UringError('ERR_URING_LEASE_RELEASED', 'the lease was released')
  }
}

function transferred(): UringError {
  return new UringError(
    'ERR_URING_LEASE_TRANSFERRED',
    'the ArrayBuffer of the lease was transferred',
  )
}
