/**
 * Memory that the kernel can be lent, and that JavaScript owns: an ArrayBuffer that is registered under an index. A block has
 * one owner at a time. While the kernel is it, nobody else may be able to reach the bytes; whoever was shown them before
 * loses sight of them, for `hide` moves the memory to an ArrayBuffer that nobody knows.
 *
 * Somebody who was shown the memory may keep it for good by transferring its ArrayBuffer. Then it is theirs, as any memory
 * of JavaScript's is, and the block has to get fresh memory before it is used again.
 */
import type { NativeDriver } from './binding'
import { invariant } from './errors'

/** ArrayBuffer.prototype.transfer, from Node 22 on. Both move the memory and copy nothing. */
const moved: (memory: ArrayBuffer) => ArrayBuffer =
  'transfer' in ArrayBuffer.prototype
    ? (memory) => (memory as ArrayBuffer & { transfer(): ArrayBuffer }).transfer()
    : (memory) => structuredClone(memory, { transfer: [memory] })

/** Memory with nothing in it yet, which is no part of Node's shared pool. */
function fresh(size: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(size).buffer as ArrayBuffer
}

/** Where a block goes back to when a lease of it ends. */
export interface BlockSource {
  /** Takes the block back, which nobody can reach any more. */
  reclaim(block: Block): void
}

/** A block that a lease has; neither while there is none. */
export interface Lent {
  block: Block | undefined
  source: BlockSource | undefined
}

export class Block {
  readonly index: number
  readonly size: number
  /** Where the bytes of its lease begin: a received datagram has a header before them. */
  start = 0
  /** See lease.ts: the object whose collection says that a lease was dropped. The lease has it while there is one. */
  guard: object | undefined
  /** See lease.ts: what is to be done then. */
  lent: Lent | undefined
  readonly #native: NativeDriver
  #memory: ArrayBuffer
  #bytes: Buffer
  #isShown = false

  constructor(native: NativeDriver, index: number, size: number) {
    this.#native = native
    this.index = index
    this.size = size
    this.#memory = fresh(size)
    this.#bytes = Buffer.from(this.#memory)
    this.#register()
  }

  /** Whether this driver knows it. */
  isOf(native: NativeDriver): boolean {
    return this.#native === native
  }

  #register(): void {
    const status = this.#native.register(this.index, this.#memory)
    invariant(status === 0, `a block is registered (${status})`)
  }

  /** The bytes, for the owner's own use within a call. */
  get bytes(): Buffer {
    return this.#bytes
  }

  /** Whether somebody who was shown the bytes has taken them for good. */
  get isTransferred(): boolean {
    return this.#memory.byteLength !== this.size
  }

  /** The bytes, for somebody else to look at. */
  show(): Buffer {
    this.#isShown = true
    return this.#bytes
  }

  /** From now on nobody who was shown the bytes can reach them. False: the memory was transferred and is not ours any more. */
  hide(): boolean {
    if (!this.#isShown) return true
    if (this.#memory.byteLength !== this.size) return false
    this.#memory = moved(this.#memory)
    this.#bytes = Buffer.from(this.#memory)
    this.#isShown = false
    this.#register()
    return true
  }

  /** Other memory takes the place of what somebody may hold for good. */
  renew(): void {
    if (!this.#isShown) return
    this.#memory = fresh(this.size)
    this.#bytes = Buffer.from(this.#memory)
    this.#isShown = false
    this.#register()
  }

  /**
   * The first `length` bytes, which are the caller's for good, in memory that shows nothing of anybody else. The block is of no
   * further use until it is renewed.
   */
  giveAway(length: number): Buffer {
    this.#isShown = true
    this.#bytes.fill(0, length)
    return this.#bytes.subarray(0, length)
  }
}
