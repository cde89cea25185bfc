/**
 * One datagram socket below its promises. Owns the endpoint, the receive operation, what was received and nobody has taken,
 * and what keeps the event loop alive. Bounded: with `leasesMax` leases out nothing more is received, and the kernel drops what
 * its socket buffer cannot hold, as it always does with datagrams.
 */
import {
  DATAGRAM_CONTROL_LENGTH_OFFSET,
  DATAGRAM_FLAGS_OFFSET,
  DATAGRAM_HEADER_BYTES,
  DATAGRAM_SEGMENT_OFFSET,
  Op,
} from './binding'
import type { Block, BlockSource } from './block'
import type { Completer, Driver } from './driver'
import { Errno, systemError } from './errors'
import { Lease } from './lease'
import { Peers } from './peers'
import type { Peer } from './peers'

/** Leases of one socket that may exist at one time. */
export const leasesMax = 512

/** Datagrams that may wait to be taken before the kernel is asked to stop. */
const readAheadMax = 128

/** Sends of one socket that may be in flight; more are refused with ENOBUFS. */
export const sendsMax = 1024

/** MSG_TRUNC, recvmsg(2). */
const truncatedFlag = 0x20

/** What was received: the bytes, and who sent them. */
export class Datagram {
  /** The bytes, in the memory that the kernel has put them into. The receiver's: release it, or send it on. */
  readonly lease: Lease
  /** The sender's address, IPv6 with its zone. */
  readonly address: string
  /** The sender's port. */
  readonly port: number
  /** Of the address. */
  readonly family: 'IPv4' | 'IPv6'
  /** The datagram was longer than the buffer, and the rest of it is lost. */
  readonly truncated: boolean
  /** The lease has several datagrams of so many bytes each, the last one perhaps of fewer: see BindOptions.coalesce. Else 0. */
  readonly segmentSize: number
  readonly #peer: Peer

  /** @internal */
  constructor(lease: Lease, peer: Peer, truncated: boolean, segmentSize: number) {
    this.segmentSize = segmentSize
    this.lease = lease
    this.address = peer.address
    this.port = peer.port
    this.family = peer.family
    this.truncated = truncated
    this.#peer = peer
  }

  /** @internal The sender, when `where` is a datagram. */
  static peerOf(where: object): Peer | undefined {
    return #peer in where ? where.#peer : undefined
  }
}

/** Somebody who waits for a datagram. */
export interface Waiter {
  /** Null: the socket is closed. */
  onDatagram(datagram: Datagram | null): void
  onError(error: Error): void
  /** Keeps a socket that somebody waits on from being collected. */
  readonly socket: object
}

interface Received {
  readonly block: Block
  readonly length: number
  readonly peer: Peer
  readonly truncated: boolean
  readonly segmentSize: number
}

type Receive =
  | 'none'
  | 'armed'
  /** It was asked to end. */
  | 'stopping'
  /** It waits for a buffer. */
  | 'starved'

/** It does not know its socket, so that one nobody holds can be collected and closed (C3). */
export class Datagrams implements Completer, BlockSource {
  readonly driver: Driver
  readonly id: number
  readonly peers: Peers
  #receive: Receive = 'none'
  #token = 0
  #waiter: Waiter | null = null
  #ready: Received[] = []
  /** Leases that exist. */
  #leases = 0
  /** Told once, to the next who asks. */
  #error: Error | null = null
  #sends = 0
  #isClosing = false
  #isClosed = false
  /** Somebody has asked for a datagram, and not given up. */
  #isWanted = false
  #isRef = true
  #isAlive = false

  /** Takes over endpoint `id`. */
  constructor(driver: Driver, id: number) {
    this.driver = driver
    this.id = id
    this.peers = new Peers(driver.native)
  }

  // --- receiving ----------------------------------------------------------------------------------

  get isWaitedFor(): boolean {
    return this.#waiter !== null
  }

  /** Tells the waiter of the next datagram, within the call when there is one. */
  wait(waiter: Waiter): void {
    this.#waiter = waiter
    this.#pull()
  }

  /** The waiter does not want it any more. */
  unwait(): void {
    this.#waiter = null
    this.#isWanted = false
    this.#updateAlive()
  }

  #pull(): void {
    const waiter = this.#waiter
    if (waiter === null) return
    if (this.#isClosing) {
      this.#waiter = null
      waiter.onDatagram(null)
    } else if (this.#ready.length > 0) {
      if (this.#leases >= leasesMax) return
      this.#waiter = null
      waiter.onDatagram(this.#lend(this.#ready.shift()!))
    } else if (this.#error !== null) {
      const error = this.#error
      this.#error = null
      this.#waiter = null
      waiter.onError(error)
    } else {
      this.#start()
    }
  }

  #start(): void {
    if (!this.#isWanted) {
      this.#isWanted = true
      this.#updateAlive()
    }
    if (this.#receive !== 'none' || this.#leases >= leasesMax) return
    this.#receive = 'armed'
    this.driver.blocks.prepare()
    this.#token = this.driver.start(this, Op.receiveDatagrams, this.id)
  }

  #stop(): void {
    if (this.#receive !== 'armed') return
    this.#receive = 'stopping'
    this.driver.queue(Op.cancel, this.#token, 0)
  }

  /** Takes a completion of the receive operation. */
  complete(result: number, more: boolean, extra: number): void {
    if (!more) this.#receive = 'none'
    if (result > 0) return this.#onBytes(result, extra)
    if (this.#isClosing) return
    if (result === Errno.ENOBUFS) return this.#starve()
    // One that was asked to end has ended; somebody may have come since.
    if (result !== Errno.ECANCELED) this.#error = systemError(result, 'recvmsg')
    this.#pull()
  }

  #onBytes(result: number, index: number): void {
    const { blocks } = this.driver
    const block = blocks.takeReceived(index)
    if (this.#isClosing) return blocks.releaseReceived(block)
    const { bytes } = block
    const received = {
      block,
      length: result - DATAGRAM_HEADER_BYTES,
      peer: this.peers.senderOf(bytes),
      truncated: (bytes.readInt32LE(DATAGRAM_FLAGS_OFFSET) & truncatedFlag) !== 0,
      segmentSize:
        bytes.readInt32LE(DATAGRAM_CONTROL_LENGTH_OFFSET) === 0
          ? 0
          : bytes.readInt32LE(DATAGRAM_SEGMENT_OFFSET),
    }
    const waiter = this.#waiter
    if (waiter !== null && this.#ready.length === 0 && this.#leases < leasesMax) {
      this.#waiter = null
      const datagram = this.#lend(received)
      if (this.#leases >= leasesMax) this.#stop()
      waiter.onDatagram(datagram)
      return
    }
    this.#ready.push(received)
    if (this.#leases >= leasesMax || this.#ready.length >= readAheadMax) this.#stop()
    this.#pull()
  }

  #lend({ block, length, peer, truncated, segmentSize }: Received): Datagram {
    this.#leases++
    block.start = DATAGRAM_HEADER_BYTES
    return new Datagram(new Lease(this, block, length), peer, truncated, segmentSize)
  }

  #starve(): void {
    this.#receive = 'starved'
    this.driver.blocks.whenProvided(() => {
      if (this.#receive !== 'starved') return
      this.#receive = 'none'
      this.#pull()
    })
  }

  /** @internal */
  reclaim(block: Block): void {
    block.start = 0
    this.#leases--
    this.driver.blocks.releaseReceived(block)
    this.#pull()
  }

  // --- sending ------------------------------------------------------------------------------------

  /** Whether one more may be sent now. */
  get hasRoom(): boolean {
    return this.#sends < sendsMax
  }

  /** A copy of `length` bytes, in a block that is to be released after the send. */
  copy(bytes: Uint8Array, length: number): Block {
    const block = this.driver.blocks.acquire(length)
    block.bytes.set(bytes)
    return block
  }

  /** Begins a datagram; `completer` learns of its end. The token of its operation. */
  begin(peer: Peer | null, completer: Completer): number {
    const { driver } = this
    const token = driver.begin(completer)
    if (peer !== null) driver.queue(Op.to, token, peer.a, peer.b, peer.c, peer.d, peer.e, peer.f)
    return token
  }

  /** Bytes that another part follows. */
  piece(token: number, block: Block, length: number): void {
    if (length > 0) this.driver.queue(Op.piece, token, 0, block.index, block.start, length)
  }

  /** Sends a datagram, of which this is the last part; or datagrams of `segment` bytes, unless that is 0. */
  send(token: number, block: Block, length: number, segment: number): void {
    const { index, start } = block
    this.driver.queue(Op.sendDatagram, token, this.id, index, start, length, segment)
    if (this.#sends++ === 0) this.#updateAlive()
  }

  /**
   * Whether a datagram should go out at once: who sends one after the other, with others waiting to be answered, waits for
   * each completion, and to gather would only make a turn of the event loop of each.
   */
  get isSequential(): boolean {
    return this.#ready.length > 0 && this.#sends === 0
  }

  /** Sends a datagram within the call. Its bytes or -errno. */
  sendNow(peer: Peer | null, block: Block, length: number): number {
    const words = peer === null ? null : peer.words
    return this.driver.native.sendDatagramNow(this.id, block.index, block.start, length, words)
  }

  /** Asks a send to end. */
  cancel(token: number): void {
    if (!this.#isClosing) this.driver.queue(Op.cancel, token, 0)
  }

  /** A send has completed. */
  onSent(): void {
    if (--this.#sends === 0) this.#updateAlive()
  }

  // --- closing ------------------------------------------------------------------------------------

  get isClosing(): boolean {
    return this.#isClosing
  }

  /** What was started gets its attempt; onClosed is called when the kernel holds nothing any more. */
  close(onClosed: () => void): void {
    this.#isClosing = true
    this.#updateAlive()
    const { driver } = this
    for (const { block } of this.#ready.splice(0)) driver.blocks.releaseReceived(block)
    const complete = (): void => {
      this.#isClosed = true
      this.#updateAlive()
      onClosed()
    }
    driver.start({ complete }, Op.close, this.id)
    driver.submit()
    this.#pull()
  }

  setRef(on: boolean): void {
    this.#isRef = on
    this.#updateAlive()
  }

  /** A receive that somebody asked for, and operations with an end, keep the event loop alive. */
  #updateAlive(): void {
    const isOpenAlive = (this.#isWanted && this.#isRef) || this.#sends > 0
    const isAlive = !this.#isClosed && (this.#isClosing || isOpenAlive)
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.driver.retain()
    else this.driver.release()
  }
}
