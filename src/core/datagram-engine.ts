/**
 * Carries what a thread's UDP handles receive to their readers. Owns the table of readers and the count of what keeps the event
 * loop alive. Sockets are those of libuv's handles: who closes a handle unregisters it first.
 */
import type {
  Binding,
  DriverKind,
  NativeDatagramEngine,
  NativeOptions,
  NativeStats,
} from './binding'
import {
  DATAGRAM_HEADER_BYTES,
  DATAGRAM_PIECE_HEADER_WORDS,
  DATAGRAM_PIECE_WORDS,
  DATAGRAM_SLOT_BYTES,
  SLOT_BITS,
} from './binding'
import { copyOfPart } from './copy'
import { systemError } from './errors'
import { LoopEngine } from './loop-engine'
import { Peers } from './peers'
import type { Peer } from './peers'
import { runTicks } from './ticks'

const SLOT_MASK = (1 << SLOT_BITS) - 1

/** Takes what arrives at a socket. */
export interface DatagramReader {
  readonly id: number
  /** Of the socket. */
  readonly fd: number
  /** A datagram, with memory of its own. */
  onDatagram(bytes: Buffer, sender: Peer): void
  /** -errno. The socket goes on. */
  onError(status: number): void
}

export class DatagramEngine extends LoopEngine {
  readonly native: NativeDatagramEngine
  readonly report: (error: unknown) => void

  readonly #pieces: Int32Array
  readonly #pool: Buffer
  readonly #peers: Peers
  readonly #readers: (DatagramReader | undefined)[] = []
  readonly #afterwards: (() => void)[] = []

  /** Makes an engine on this thread's event loop. Throws when there is no memory or descriptor for it. */
  constructor(binding: Binding, kind: DriverKind, options: NativeOptions) {
    super()
    const native = binding.createDatagramEngine(kind, options, () => this.#dispatch())
    if (typeof native === 'number') throw systemError(native, 'epoll_create1')
    this.native = native
    this.report = binding.report
    this.#pieces = new Int32Array(native.pieces)
    this.#pool = Buffer.from(native.pool)
    this.#peers = new Peers(native)
  }

  /** From now on what arrives for reader.id goes to it. */
  register(reader: DatagramReader): void {
    this.#readers[reader.id & SLOT_MASK] = reader
  }

  /** Whether somebody receives from this descriptor. */
  receivesFrom(fd: number): boolean {
    return this.#readers.some((reader) => reader?.fd === fd)
  }

  /** Calls when the batch under way is delivered, whose datagrams the kernel has no more; at once when there is none. */
  whenDelivered(then: () => void): void {
    if (this.#pieces[1]! < this.#pieces[0]!) this.#afterwards.push(then)
    else then()
  }

  /** Nothing arrives for the reader any more: what the kernel had is left to it. */
  unregister(reader: DatagramReader): void {
    this.native.unwatch(reader.id)
    const slot = reader.id & SLOT_MASK
    if (this.#readers[slot] === reader) this.#readers[slot] = undefined
  }

  stats(): NativeStats {
    return this.native.stats()
  }

  #dispatch(): number {
    try {
      this.#deliver()
    } finally {
      const isDelivered = this.#pieces[1]! >= this.#pieces[0]!
      if (isDelivered) for (const then of this.#afterwards.splice(0)) then()
    }
    return 0
  }

  /** Delivers the batch; see StreamEngine for the cursor. */
  #deliver(): void {
    const pieces = this.#pieces
    let index = pieces[1]!
    // After a callback that threw: its ticks, before the next piece.
    if (index > 0) runTicks?.()
    while (index < pieces[0]!) {
      const at = DATAGRAM_PIECE_HEADER_WORDS + index * DATAGRAM_PIECE_WORDS
      const start = index * DATAGRAM_SLOT_BYTES
      pieces[1] = ++index
      const id = pieces[at]!
      const reader = this.#readers[id & SLOT_MASK]
      // One that was closed meanwhile.
      if (reader === undefined || reader.id !== id) continue
      const result = pieces[at + 1]!
      if (result < 0) reader.onError(result)
      else {
        const length = result - DATAGRAM_HEADER_BYTES
        const bytes = copyOfPart(this.#pool, start + DATAGRAM_HEADER_BYTES, length)
        reader.onDatagram(bytes, this.#peers.senderOf(this.#pool, start))
      }
      runTicks?.()
    }
  }
}
