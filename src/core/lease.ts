/**
 * The right to a range of bytes that the kernel can send from. A lease has one owner at a time:
 *
 *   owned --send(lease)--> inFlight --completion--> owned --release--> released
 *
 * While it is in flight its memory is the kernel's: every view of it is detached, so that reading or writing it is not
 * just forbidden but impossible. It comes back with the completion. A lease dropped without release returns to its pool
 * when it is collected.
 */
import type { NativeDriver } from './binding'
import { UringError, invariant } from './errors'

export type LeaseState = 'owned' | 'inFlight' | 'released'

/** What a lease needs of the pool it came from. */
export interface LeaseSource {
  readonly native: NativeDriver
  /** Bytes of every lease. */
  readonly leaseBytes: number
  /** Takes the block back. */
  reclaim(block: number): void
}

/** A view keeps its lease from being collected, and so its bytes from being lent to somebody else. */
const leaseOfView = new WeakMap<ArrayBuffer, Lease>()
const abandoned = new FinalizationRegistry<{ source: LeaseSource; block: number }>(
  ({ source, block }) => source.reclaim(block),
)

export class Lease {
  readonly #source: LeaseSource
  readonly #block: number
  #state: LeaseState = 'owned'
  #length: number
  #view: Uint8Array | null = null

  /** @internal Leases come from a Pool or from Connection.receive(). */
  constructor(source: LeaseSource, block: number) {
    this.#source = source
    this.#block = block
    this.#length = source.leaseBytes
    abandoned.register(this, { source, block }, this)
  }

  get state(): LeaseState {
    return this.#state
  }

  /** Bytes it can hold. */
  get capacity(): number {
    return this.#source.leaseBytes
  }

  /** Bytes that count: what was received, or what is to be sent. At most `capacity`. */
  get length(): number {
    return this.#length
  }

  set length(length: number) {
    this.#require('owned')
    if (!Number.isInteger(length) || length < 0 || length > this.capacity) {
      throw Object.assign(new RangeError(`a lease holds 0 to ${this.capacity} bytes`), {
        code: 'ERR_OUT_OF_RANGE',
      })
    }
    this.#length = length
  }

  /** The first `length` bytes. Only for the owner: throws while in flight, and views taken before are empty then. */
  get bytes(): Uint8Array {
    this.#require('owned')
    if (this.#view === null) {
      const memory = this.#source.native.view(this.#block, this.capacity)
      invariant(typeof memory === 'object', 'a lease lies in the arena')
      leaseOfView.set(memory, this)
      this.#view = new Uint8Array(memory)
    }
    return this.#view.subarray(0, this.#length)
  }

  /** Gives the bytes back to the pool. Once; a second release does nothing. Throws while in flight. */
  release(): void {
    if (this.#state === 'released') return
    this.#require('owned')
    this.#state = 'released'
    abandoned.unregister(this)
    this.#requireUnshared()
    this.#detach()
    this.#source.reclaim(this.#block)
  }

  [Symbol.dispose](): void {
    if (this.#state === 'owned') this.release()
  }

  /** @internal Lends the block to the kernel; returns its offset in the arena. */
  lend(): number {
    this.#require('owned')
    this.#requireUnshared()
    this.#state = 'inFlight'
    this.#detach()
    return this.#block
  }

  /** @internal The last completion has come: the bytes are the owner's again. */
  giveBack(): void {
    invariant(this.#state === 'inFlight', `a lease comes back from flight, not from ${this.#state}`)
    this.#state = 'owned'
  }

  /** @internal Fills a fresh lease. */
  fill(arena: Uint8Array, from: Uint8Array, offset: number, length: number): void {
    arena.set(new Uint8Array(from.buffer, from.byteOffset + offset, length), this.#block)
    this.#length = length
  }

  /**
   * Somebody who transferred the view's ArrayBuffer has the memory for good: the block is never lent to the kernel or to
   * another lease again.
   */
  #requireUnshared(): void {
    if (this.#view === null || this.#view.buffer.byteLength > 0) return
    this.#state = 'released'
    abandoned.unregister(this)
    throw new UringError(
      'ERR_URING_LEASE_TRANSFERRED',
      'the ArrayBuffer of the lease was transferred',
    )
  }

  #detach(): void {
    if (this.#view === null) return
    this.#source.native.detach(this.#view.buffer as ArrayBuffer)
    this.#view = null
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
