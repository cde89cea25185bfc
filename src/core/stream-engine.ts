/**
 * Carries what a thread's sockets receive to their readers, and gathers their small writes. Owns the table of readers, the
 * memory that writes are put into, and the count of what keeps the event loop alive. Streams are those of libuv's handles:
 * who closes a handle detaches its stream first. It never interprets a result.
 */
import type { Binding, DriverKind, NativeOptions, NativeStats, NativeStreamEngine } from './binding'
import {
  ENTRY_HEADER_WORDS,
  ENTRY_WORDS,
  PIECE_ENDS,
  PIECE_HEADER_WORDS,
  PIECE_WORDS,
  SLOT_BITS,
} from './binding'
import { byteLengthOf } from './bytes'
import { copyOfPart } from './copy'
import { Errno, systemError } from './errors'
import { LoopEngine } from './loop-engine'
import { runTicks } from './ticks'

/** From so many writes in a turn of the event loop on, or completions in a batch, writes are gathered. */
const gatheredMin = 4

/** Joined pieces of one stream: as much as libuv reads at a time. */
const chunkBytesMax = 65536

/** Of texts and chunks that are put into the memory for writes. */
export const smallBytesMax = 16384

const SLOT_MASK = (1 << SLOT_BITS) - 1

/** Buffer's string writers, which @types/node leaves out: they skip the parsing of arguments that write() does. */
interface StringWriters {
  latin1Write(text: string, offset: number, length: number): number
  utf8Write(text: string, offset: number, length: number): number
}

/** Takes what arrives on a stream. */
export interface StreamReader {
  readonly id: number
  /** Piece `at` of the batch under way: `result` bytes (see StreamEngine.takeChunk), 0 at the end of the stream, or -errno. */
  onPiece(result: number, at: number): void
  /** A send that had been told as done has failed with -errno. */
  onSendFailed(status: number): void
}

/** A chunk of writev: bytes, or a text in an encoding. */
export interface Entry {
  chunk: Uint8Array | string
  encoding: BufferEncoding
}

export class StreamEngine extends LoopEngine {
  /** Whether it receives; else libuv does, and it only sends. */
  readonly receives: boolean
  readonly native: NativeStreamEngine
  readonly report: (error: unknown) => void
  /** Sends what is gathered, on all threads of the process. */
  readonly flushAll: () => void

  readonly #pool: Buffer
  readonly #pieces: Int32Array
  readonly #entries: Int32Array
  readonly #bytes: Buffer & StringWriters
  readonly #readers: (StreamReader | undefined)[] = []
  #mayGather: boolean
  /** Raised with the first write that is gathered after the others were sent. */
  #gathers = 0

  /** Makes an engine on this thread's event loop. Throws when the kernel or libuv refuses. */
  constructor(binding: Binding, kind: DriverKind, options: NativeOptions) {
    super()
    const native = binding.createEngine(kind, options, () => this.#dispatch())
    if (typeof native === 'number') {
      throw systemError(native, kind === 'uring' ? 'io_uring_setup' : 'mmap')
    }
    if (typeof native === 'string') throw new Error(`this libuv is not known: ${native}`)
    this.#mayGather = this.receives = kind === 'uring'
    this.native = native
    this.report = binding.report
    this.flushAll = binding.sendAllGathered
    this.#pool = Buffer.from(native.pool)
    this.#pieces = new Int32Array(native.pieces)
    this.#entries = new Int32Array(native.entries)
    this.#bytes = Buffer.from(native.bytes) as Buffer & StringWriters
  }

  // --- streams ------------------------------------------------------------------------------------

  /** From now on what arrives for reader.id goes to it. */
  register(reader: StreamReader): void {
    this.#readers[reader.id & SLOT_MASK] = reader
  }

  unregister(reader: StreamReader): void {
    const slot = reader.id & SLOT_MASK
    if (this.#readers[slot] === reader) this.#readers[slot] = undefined
  }

  /** -errno with which the kernel refused to go on, so that libuv receives; 0 as long as it does not. */
  get failure(): number {
    return this.#pieces[2]!
  }

  stats(): NativeStats {
    return this.native.stats()
  }

  // --- receiving ----------------------------------------------------------------------------------

  /**
   * The bytes of piece `at` and of those that follow it in the batch for the same stream, with memory of their own. They are
   * taken: nobody else is told of them.
   */
  takeChunk(at: number): Buffer {
    const pieces = this.#pieces
    let total = pieces[at + 1]!
    let next = pieces[at + 3]! % PIECE_ENDS
    if (next === 0) return copyOfPart(this.#pool, pieces[at + 2]!, total)
    while (next !== 0) {
      const place = PIECE_HEADER_WORDS + next * PIECE_WORDS
      if (total + pieces[place + 1]! > chunkBytesMax) break
      total += pieces[place + 1]!
      next = pieces[place + 3]! % PIECE_ENDS
    }
    const chunk = Buffer.allocUnsafeSlow(total)
    let offset = 0
    for (let place = at; ; place = this.#next(place)) {
      const length = pieces[place + 1]!
      this.#pool.copy(chunk, offset, pieces[place + 2]!, pieces[place + 2]! + length)
      offset += length
      if (place !== at) pieces[place] = 0
      if (offset === total) break
    }
    return chunk
  }

  #next(place: number): number {
    return PIECE_HEADER_WORDS + (this.#pieces[place + 3]! % PIECE_ENDS) * PIECE_WORDS
  }

  /** How the stream of piece `at` is known to end behind what has come: 0, -errno, or 1 when it goes on. */
  endBehind(at: number): number {
    const pieces = this.#pieces
    let place = at
    while (pieces[place + 3]! % PIECE_ENDS !== 0) place = this.#next(place)
    return 1 - Math.floor(pieces[place + 3]! / PIECE_ENDS)
  }

  /** The error with which the batch under way says that a stream has ended, or 0. For who has met the end by writing. */
  errorOf(id: number): number {
    const pieces = this.#pieces
    for (let index = pieces[1]!; index < pieces[0]!; index++) {
      const at = PIECE_HEADER_WORDS + index * PIECE_WORDS
      if (pieces[at] !== id) continue
      const end = pieces[at + 1]! < 0 ? pieces[at + 1]! : this.endBehind(at)
      if (end < 0 && end !== Errno.ENOBUFS) return end
    }
    return 0
  }

  /** What the batch under way still holds for a stream, in order: chunks, and its end (0 or -errno). */
  takeRest(id: number): (Buffer | number)[] {
    const pieces = this.#pieces
    const rest: (Buffer | number)[] = []
    for (let index = pieces[1]!; index < pieces[0]!; index++) {
      const at = PIECE_HEADER_WORDS + index * PIECE_WORDS
      if (pieces[at] !== id) continue
      const result = pieces[at + 1]!
      if (result > 0) rest.push(copyOfPart(this.#pool, pieces[at + 2]!, result))
      else if (pieces[at + 2] === 0) rest.push(result)
      pieces[at] = 0
    }
    return rest
  }

  /** Nothing arrives for a stream any more. What had, in order: chunks, and its end (0 or -errno). */
  disarm(id: number): (Buffer | number)[] {
    const rest = this.takeRest(id)
    const left = this.native.disarm(id)
    if (typeof left === 'object') rest.push(left as Buffer)
    const end = this.#pieces[3]!
    if (end !== 0) rest.push(end === 1 ? 0 : end)
    return rest
  }

  /**
   * Delivers the batch. The cursor is stored before each delivery: when a callback throws, the native side reports the
   * exception and calls again, and the rest of the batch follows (E2).
   */
  #dispatch(): number {
    const pieces = this.#pieces
    let index = pieces[1]!
    // After a callback that threw: its ticks, before the next piece.
    if (index > 0) runTicks?.()
    while (index < pieces[0]!) {
      const at = PIECE_HEADER_WORDS + index * PIECE_WORDS
      const id = pieces[at]!
      pieces[1] = ++index
      if (id === 0) continue
      const reader = this.#readers[id & SLOT_MASK]
      if (reader === undefined || reader.id !== id) continue
      if (pieces[at + 2]! < 0) reader.onSendFailed(pieces[at + 1]!)
      else reader.onPiece(pieces[at + 1]!, at)
      runTicks?.()
    }
    return 0
  }

  // --- sending ------------------------------------------------------------------------------------

  /**
   * Whether many write in this turn: their bytes go out together, while the kernel's code for it stays in the cache. Of few,
   * each is sent at once. Counts the asking write.
   */
  get isGathering(): boolean {
    const writes = this.#entries[2]!
    if (writes >= gatheredMin) return this.#mayGather
    // Less than 0: not between the loop's prepare and check phases, so that nothing is gathered that the loop would not see.
    if (writes >= 0) this.#entries[2] = writes + 1
    return false
  }

  /** Names what is gathered now. */
  get gathers(): number {
    return this.#gathers
  }

  /** Whether what was gathered under that name still waits. */
  waits(gathers: number): boolean {
    return this.#entries[0] !== 0 && gathers === this.#gathers
  }

  /** Where the next put() puts. */
  get position(): number {
    return this.#entries[3]!
  }

  /**
   * Puts bytes or text at `position`. Their length; -1 when they are too many, or of a class or in an encoding that is Node's to write. They
   * stay there until the next put, or flush if they are gathered.
   */
  put(data: Uint8Array | string, encoding: BufferEncoding): number {
    if (this.#bytes.length - this.#entries[3]! < 4 * smallBytesMax) this.flush()
    return this.#putAt(this.#entries[3]!, data, encoding)
  }

  /** As put, of several chunks one behind the other. */
  putAll(entries: readonly Entry[]): number {
    if (this.#bytes.length - this.#entries[3]! < 4 * smallBytesMax) this.flush()
    const start = this.#entries[3]!
    let at = start
    for (let i = 0; i < entries.length; i++) {
      const { chunk, encoding } = entries[i]!
      const length = this.#putAt(at, chunk, encoding)
      if (length < 0) return -1
      at += length
      if (at - start > smallBytesMax) return -1
    }
    return at - start
  }

  #putAt(at: number, data: Uint8Array | string, encoding: BufferEncoding): number {
    // Both bounds keep it within the memory: a character of UTF-16 becomes at most three bytes.
    if (typeof data !== 'string') {
      const length = byteLengthOf(data)
      if (length < 0 || length > smallBytesMax) return -1
      this.#bytes.set(data, at)
      return length
    }
    if (data.length > smallBytesMax) return -1
    if (encoding === 'latin1') return this.#bytes.latin1Write(data, at, data.length)
    if (encoding === 'utf8' || encoding === 'utf-8') {
      return this.#bytes.utf8Write(data, at, data.length * 3)
    }
    return -1
  }

  /** A copy of bytes that were put. */
  copy(position: number, length: number): Buffer {
    return copyOfPart(this.#bytes, position, length)
  }

  /** Bytes put at `position` are to be sent with those of others. Only with certain room in the kernel: they count as sent. */
  gather(id: number, length: number): boolean {
    const entries = this.#entries
    const count = entries[0]!
    if (count === 0) {
      if (this.native.begin() !== 0) {
        this.#mayGather = false
        return false
      }
      this.#gathers++
    }
    const at = ENTRY_HEADER_WORDS + count * ENTRY_WORDS
    entries[at] = id
    entries[at + 1] = entries[3]!
    entries[at + 2] = length
    entries[3] = entries[3]! + length
    // The watching thread may look at any moment; when it has sent, the limit is 0. Both in this order, as it does them.
    Atomics.store(entries, 0, count + 1)
    if (count + 1 >= Atomics.load(entries, 1)) this.flush()
    return true
  }

  /** Sends what is gathered. */
  flush(): void {
    if (this.#entries[0] !== 0) this.native.flush()
  }
}
