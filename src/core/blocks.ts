/**
 * The blocks of one driver. Owns those that nobody uses, up to a bound, and the buffers that receives pick from: blocks of
 * one size that the kernel has, as many as the load has shown to be needed.
 */
import { Op } from './binding'
import type { NativeDriver } from './binding'
import { Block } from './block'

/** Sizes of blocks that are kept for sends, in bytes; what is larger gets a block of its own. */
const sendSizes = [4096, 65536, 262144] as const

/** Unused blocks of one size that are kept. */
const keptMax = 256

/** Bytes of these. */
const keptBytesMax = 8 << 20

/** Of a receive. As much as libuv reads at a time, and room for the longest datagram with its header. */
const receiveBytes = 65536 + 64

/** Buffers that are provided at first. */
const providedFirst = 16

/** Indices below this may be provided to the kernel. */
const receiveIndexEnd = 65536

/** Blocks for receives: those that are provided, and those that are lent to readers. 512 MB in all. */
const receiveBlocksMax = 8192

type Queue = (opcode: number, token: number, id: number, a: number) => void

export class Blocks {
  readonly #native: NativeDriver
  readonly #queue: Queue
  readonly #providedMax: number
  /** By index. */
  readonly #receive: (Block | undefined)[] = []
  readonly #unusedReceive: Block[] = []
  readonly #freeReceive: number[] = []
  #receiveCount = 0
  #provided = 0
  /** How many are to be provided. */
  #wanted = 0
  #starved: (() => void)[] = []

  readonly #unusedSend = new Map<number, Block[]>(sendSizes.map((size) => [size, []]))
  readonly #freeSend: number[] = []
  #nextSend = receiveIndexEnd

  constructor(native: NativeDriver, queue: Queue, providedMax: number) {
    this.#native = native
    this.#queue = queue
    this.#providedMax = providedMax
  }

  // --- for sends ----------------------------------------------------------------------------------

  /** A block of at least `length` bytes that is the caller's. */
  acquire(length: number): Block {
    const size = sendSizes.find((candidate) => length <= candidate) ?? length
    return this.#unusedSend.get(size)?.pop() ?? this.create(size)
  }

  /** Takes back a block that acquire gave. */
  release(block: Block): void {
    const unused = this.#unusedSend.get(block.size)
    if (
      unused !== undefined &&
      unused.length < keptMax &&
      unused.length * block.size < keptBytesMax
    )
      unused.push(block)
    else this.destroy(block)
  }

  /** A block of that size for whoever keeps blocks of their own. */
  create(size: number): Block {
    return new Block(this.#native, this.#freeSend.pop() ?? this.#nextSend++, size)
  }

  /** A block that create gave is not used any more. */
  destroy(block: Block): void {
    this.#freeSend.push(block.index)
  }

  // --- for receives -------------------------------------------------------------------------------

  /** A receive is about to start. */
  prepare(): void {
    if (this.#wanted > 0) return
    this.#wanted = Math.min(providedFirst, this.#providedMax)
    this.refill()
  }

  /** The kernel has filled the block with this index: it is the caller's. */
  takeReceived(index: number): Block {
    this.#provided--
    return this.#receive[index]!
  }

  /**
   * The kernel is about to receive again: with less than half of what is wanted it does not wait for what readers hold. After a
   * turn in which they were too few it gets twice as many.
   */
  refill(): void {
    const isShort = this.#starved.length > 0
    if (isShort) this.#wanted = Math.min(this.#wanted * 2, this.#providedMax)
    if (!isShort && this.#provided >= this.#wanted / 2) return
    while (this.#provided < this.#wanted && this.#provideOne());
    if (isShort && this.#provided > 0) this.#feed()
  }

  /**
   * A block for received bytes that no receive has filled: it is the caller's, as one that takeReceived gave. One that acquire gave
   * serves as well.
   */
  spare(): Block {
    return this.#unusedReceive.pop() ?? this.#createReceive()
  }

  #createReceive(): Block {
    if (this.#receiveCount === receiveIndexEnd) return this.create(receiveBytes)
    const block = new Block(
      this.#native,
      this.#freeReceive.pop() ?? this.#receiveCount,
      receiveBytes,
    )
    this.#receiveCount++
    this.#receive[block.index] = block
    return block
  }

  /** Takes back a block of received bytes. */
  releaseReceived(block: Block): void {
    if (block.index >= receiveIndexEnd) return this.release(block)
    if (this.#provided < this.#wanted) {
      this.#provide(block)
    } else if (this.#unusedReceive.length < this.#providedMax) {
      this.#unusedReceive.push(block)
    } else {
      this.#receive[block.index] = undefined
      this.#freeReceive.push(block.index)
      this.#receiveCount--
    }
    if (this.#starved.length > 0) this.#feed()
  }

  /** No buffer was left for a receive: calls back when there is one. */
  whenProvided(callback: () => void): void {
    this.#starved.push(callback)
  }

  #feed(): void {
    const starved = this.#starved
    this.#starved = []
    for (const callback of starved) callback()
  }

  #provideOne(): boolean {
    if (this.#unusedReceive.length === 0 && this.#receiveCount >= receiveBlocksMax) return false
    this.#provide(this.spare())
    return true
  }

  #provide(block: Block): void {
    this.#provided++
    this.#queue(Op.provide, 0, 0, block.index)
  }
}
