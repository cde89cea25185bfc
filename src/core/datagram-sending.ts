/**
 * One send of a UDP socket: lends its leases, or a copy, for as long as it runs, and resolves a promise with the completion. Owns
 * nothing that lasts longer than the send.
 */
import type { Block } from './block'
import { byteLengthOf } from './bytes'
import { watch } from './cancellation'
import type { Cancellable } from './cancellation'
import type { Completion } from './completion'
import type { Datagrams } from './datagrams'
import type { Completer } from './driver'
import { Errno, systemError } from './errors'
import type { SystemError } from './errors'
import { Lease } from './lease'
import type { Peer } from './peers'
import { partsOf, viewOf } from './sending'
import type { Sendable } from './sending'
import { queueMicrotask } from './timers'

/** A send whose completion resolves a promise. */
export class DatagramSending<Bytes extends Sendable | readonly Sendable[]> implements Completer {
  readonly #bytes: Bytes
  readonly #peer: Peer | null
  /** Bytes of each datagram, or 0: it is one. */
  readonly #segment: number
  readonly #datagrams: Datagrams
  readonly #resolve: (completion: Completion<Bytes>) => void
  #token = 0
  /** What is lent, or the copy; of several parts all of them. */
  #lent: Lease | Block | (Lease | Block)[] | null = null
  #unwatch: (() => void) | undefined
  #deadline: SystemError | undefined

  constructor(
    bytes: Bytes,
    peer: Peer | null,
    segment: number,
    datagrams: Datagrams,
    resolve: (completion: Completion<Bytes>) => void,
  ) {
    this.#bytes = bytes
    this.#peer = peer
    this.#segment = segment
    this.#datagrams = datagrams
    this.#resolve = resolve
  }

  /** Throws for what cannot be sent; then nothing is. */
  start(): void {
    const bytes = this.#bytes
    if (Array.isArray(bytes)) return this.#startAll(partsOf(bytes))
    const datagrams = this.#datagrams
    const length = lengthOf(bytes as Sendable)
    if (!datagrams.hasRoom) return this.#end(Errno.ENOBUFS)
    const block = this.#blockOf(bytes as Sendable, length)
    this.#lent = Lease.isLease(bytes) ? bytes : block
    if (datagrams.isSequential && this.#segment === 0) {
      const sent = datagrams.sendNow(this.#peer, block, length)
      // As any other: never within the call.
      if (sent !== Errno.EAGAIN) return queueMicrotask(() => this.#complete(sent))
    }
    this.#token = datagrams.begin(this.#peer, this)
    datagrams.send(this.#token, block, length, this.#segment)
  }

  #startAll(parts: readonly Sendable[]): void {
    const datagrams = this.#datagrams
    const lengths = parts.map(lengthOf)
    if (!datagrams.hasRoom) return this.#end(Errno.ENOBUFS)
    const lent: (Lease | Block)[] = []
    this.#lent = lent
    let blocks: Block[]
    try {
      blocks = parts.map((part, i) => {
        const block = this.#blockOf(part, lengths[i]!)
        lent.push(Lease.isLease(part) ? part : block)
        return block
      })
    } catch (error) {
      this.#giveBack()
      throw error
    }
    // The last one may not be empty if another is not.
    let last = lengths.length - 1
    while (last > 0 && lengths[last] === 0) last--
    this.#token = datagrams.begin(this.#peer, this)
    for (let i = 0; i < last; i++) datagrams.piece(this.#token, blocks[i]!, lengths[i]!)
    datagrams.send(this.#token, blocks[last]!, lengths[last]!, this.#segment)
  }

  #blockOf(bytes: Sendable, length: number): Block {
    const datagrams = this.#datagrams
    if (Lease.isLease(bytes)) return bytes.lend(datagrams.driver.native)
    return datagrams.copy(viewOf(bytes), length)
  }

  #giveBack(): void {
    const lent = this.#lent
    if (Array.isArray(lent)) for (const each of lent) this.#giveBackOne(each)
    else if (lent !== null) this.#giveBackOne(lent)
  }

  #giveBackOne(lent: Lease | Block): void {
    if (Lease.isLease(lent)) lent.giveBack()
    else this.#datagrams.driver.blocks.release(lent)
  }

  watch(options: Cancellable): void {
    if (this.#token === 0) return
    this.#unwatch = watch(options, 'send', (reason) => {
      if ((reason as SystemError).errno === Errno.ETIMEDOUT) this.#deadline = reason as SystemError
      this.#datagrams.cancel(this.#token)
    })
  }

  /** Takes the completion of the operation. */
  complete(result: number): void {
    this.#datagrams.onSent()
    this.#complete(result)
  }

  #complete(result: number): void {
    this.#unwatch?.()
    this.#giveBack()
    this.#end(result)
  }

  #end(result: number): void {
    const buffer = this.#bytes
    if (result >= 0) return this.#resolve({ ok: true, result, buffer })
    const isDeadline = result === Errno.ECANCELED && this.#deadline !== undefined
    const { address, port } = this.#peer ?? {}
    const error = isDeadline ? this.#deadline! : systemError(result, 'send', address, port)
    this.#resolve({ ok: false, error, result: 0, buffer })
  }
}

/** Throws for what cannot be sent. */
function lengthOf(bytes: Sendable): number {
  return Lease.isLease(bytes) ? bytes.length : byteLengthOf(viewOf(bytes))
}
