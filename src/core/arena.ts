/**
 * Allots ranges of the send arena, the memory the kernel sends from. Owns the book-keeping only: the bytes are native
 * memory and outlive every operation that names them. Fixed size; when it is full `allocate` answers -1 and the caller
 * takes another way or waits. It never moves or splits a range.
 *
 * Pages of 64 KiB are dedicated to one size class while any of their blocks is in use. A page keeps its free blocks in an
 * intrusive list of indices, so both operations are a few array accesses.
 */
import { invariant } from './errors'

const PAGE_BYTES = 65536
const SMALLEST_SHIFT = 8
/** 256 B, 1 KiB, 4 KiB, 16 KiB, 64 KiB. */
const CLASS_SHIFTS = [8, 10, 12, 14, 16] as const
const NONE = -1

/** Buffer's string writers, which @types/node leaves out: they skip the parsing of arguments that write() does. */
interface StringWriters {
  latin1Write(text: string, offset: number, length: number): number
  utf8Write(text: string, offset: number, length: number): number
}

export class Arena {
  /** The arena's memory. */
  readonly bytes: Buffer & StringWriters
  /** Largest range that `allocate` gives. */
  static readonly blockBytesMax = PAGE_BYTES

  /** Head of each class's list of pages that have a free block. */
  readonly #classHead = new Int32Array(CLASS_SHIFTS.length).fill(NONE)
  readonly #pageClass: Int8Array
  readonly #pageUsed: Int16Array
  readonly #pageFree: Int32Array
  readonly #pageNext: Int32Array
  readonly #pagePrevious: Int32Array
  /** For a free block, the next free block of its page; for a block in use, IN_USE. Indexed by offset >> SMALLEST_SHIFT. */
  readonly #blockNext: Int32Array
  readonly #emptyPages: Int32Array
  #emptyCount: number
  #bytesInUse = 0

  constructor(memory: Uint8Array) {
    this.bytes = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength) as Buffer &
      StringWriters
    const pages = Math.floor(memory.byteLength / PAGE_BYTES)
    this.#pageClass = new Int8Array(pages)
    this.#pageUsed = new Int16Array(pages)
    this.#pageFree = new Int32Array(pages).fill(NONE)
    this.#pageNext = new Int32Array(pages).fill(NONE)
    this.#pagePrevious = new Int32Array(pages).fill(NONE)
    this.#blockNext = new Int32Array(pages * (PAGE_BYTES >> SMALLEST_SHIFT)).fill(NONE)
    this.#emptyPages = new Int32Array(pages)
    for (let page = 0; page < pages; page++) this.#emptyPages[page] = pages - 1 - page
    this.#emptyCount = pages
  }

  /** Bytes in blocks that are in use, rounded up to their class. */
  get bytesInUse(): number {
    return this.#bytesInUse
  }

  /** The offset of a block of at least `length` bytes (1 to blockBytesMax), or -1 when there is none. */
  allocate(length: number): number {
    let sizeClass = 0
    while (length > 1 << CLASS_SHIFTS[sizeClass]!) sizeClass++
    let page = this.#classHead[sizeClass]!
    if (page === NONE) {
      page = this.#dedicate(sizeClass)
      if (page === NONE) return -1
    }
    const block = this.#pageFree[page]!
    const next = this.#blockNext[block]!
    this.#pageFree[page] = next
    this.#pageUsed[page]!++
    if (next === NONE) this.#unlink(page, sizeClass)
    this.#blockNext[block] = IN_USE
    this.#bytesInUse += 1 << CLASS_SHIFTS[sizeClass]!
    return block << SMALLEST_SHIFT
  }

  /** Gives a block back. The caller is its owner: no operation in flight names it. */
  release(offset: number): void {
    const block = offset >> SMALLEST_SHIFT
    invariant(this.#blockNext[block] === IN_USE, 'an arena block is released once')
    const page = Math.floor(offset / PAGE_BYTES)
    const sizeClass = this.#pageClass[page]!
    const wasFull = this.#pageFree[page] === NONE
    this.#blockNext[block] = this.#pageFree[page]!
    this.#pageFree[page] = block
    this.#bytesInUse -= 1 << CLASS_SHIFTS[sizeClass]!
    if (wasFull) this.#link(page, sizeClass)
    if (--this.#pageUsed[page]! === 0 && this.#classHead[sizeClass] !== page) {
      // The list's head stays dedicated, so that one block in use and freed again does not rebuild a page each time.
      this.#unlink(page, sizeClass)
      this.#emptyPages[this.#emptyCount++] = page
    }
  }

  #dedicate(sizeClass: number): number {
    if (this.#emptyCount === 0 && !this.#reclaim(sizeClass)) return NONE
    const page = this.#emptyPages[--this.#emptyCount]!
    const step = 1 << (CLASS_SHIFTS[sizeClass]! - SMALLEST_SHIFT)
    const first = (page * PAGE_BYTES) >> SMALLEST_SHIFT
    const end = first + (PAGE_BYTES >> SMALLEST_SHIFT)
    for (let block = first; block < end; block += step) {
      this.#blockNext[block] = block + step < end ? block + step : NONE
    }
    this.#pageClass[page] = sizeClass
    this.#pageFree[page] = first
    this.#link(page, sizeClass)
    return page
  }

  /** Takes an unused page that another class keeps at its list's head. */
  #reclaim(wanted: number): boolean {
    for (let sizeClass = 0; sizeClass < CLASS_SHIFTS.length; sizeClass++) {
      const page = this.#classHead[sizeClass]!
      if (sizeClass === wanted || page === NONE || this.#pageUsed[page] !== 0) continue
      this.#unlink(page, sizeClass)
      this.#emptyPages[this.#emptyCount++] = page
      return true
    }
    return false
  }

  #link(page: number, sizeClass: number): void {
    const head = this.#classHead[sizeClass]!
    this.#pageNext[page] = head
    this.#pagePrevious[page] = NONE
    if (head !== NONE) this.#pagePrevious[head] = page
    this.#classHead[sizeClass] = page
    if (head !== NONE && this.#pageUsed[head] === 0) {
      // Only the head may stay dedicated without a block in use: nobody would find this one.
      this.#unlink(head, sizeClass)
      this.#emptyPages[this.#emptyCount++] = head
    }
  }

  #unlink(page: number, sizeClass: number): void {
    const next = this.#pageNext[page]!
    const previous = this.#pagePrevious[page]!
    if (previous === NONE) this.#classHead[sizeClass] = next
    else this.#pageNext[previous] = next
    if (next !== NONE) this.#pagePrevious[next] = previous
  }
}

const IN_USE = -2
