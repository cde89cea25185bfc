/**
 * The sending half of a channel. Owns the send operation, and the bytes accepted for sending until the kernel has them.
 *
 * What it accepts it accepts whole (W1), copied before the call returns (W2) or lent. One send operation is in flight; what is
 * accepted meanwhile waits and goes out together in the next one, then the shutdown, in order, without further calls (W3).
 * After a failure nothing is sent any more, and every waiting request gets the error once (W5).
 */
import { Op } from './binding'
import type { Block } from './block'
import { byteLengthOf } from './bytes'
import type { Completer, Driver } from './driver'
import { Errno } from './errors'
import type { Idling } from './receive-side'

/** Learns, once, when the kernel has taken the last byte of a send (0) or why it never will (-errno) (W4). */
export interface SendRequest {
  /** `taken`: how many of the bytes, from the first on, the kernel has taken. All of them when status is 0. */
  onSent(status: number, taken: number): void
  /** Whoever asked knows what follows the bytes taken: when it is cancelled others may be sent behind it, wherever it was cut. */
  readonly mayBeCut?: boolean
}

/** Learns, once, that the FIN is out (0) or could not be sent (-errno). */
export interface ShutdownRequest {
  onShutdown(status: number): void
}

/** Somebody who sends to the socket by calls of their own meanwhile. */
export interface SendBorrower {
  /** The channel is closing. */
  onClosing(): void
}

/** One of several chunks to be sent together; `encoding` is that of a string. */
export interface SendEntry {
  chunk: Uint8Array | string
  encoding: BufferEncoding
}

/** The bytes of an entry. */
export function encoded({ chunk, encoding }: SendEntry): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}

/** Of one send operation. */
const piecesMax = 64

const none: Send[] = []
Object.freeze(none)

interface Send {
  /** Null when there is nothing to send. */
  readonly block: Block | null
  /** Whether the block is this side's, to be released at the end. */
  readonly isCopy: boolean
  readonly length: number
  readonly request: SendRequest
  /** Bytes that the kernel has taken. */
  taken: number
  isCancelled: boolean
  /** How it has ended: 0 or -errno. */
  status: number
}

/** One of several that are sent as one: bytes at the beginning of a block. */
export interface SendPart {
  readonly block: Block
  readonly length: number
  /** Whether the block is to be released at the end. */
  readonly isCopy: boolean
}

/** Tells a request of the end of all parts. */
class WholeRequest implements SendRequest {
  readonly request: SendRequest
  #left: number
  #taken = 0
  #status = 0

  constructor(parts: number, request: SendRequest) {
    this.#left = parts
    this.request = request
  }

  onSent(status: number, taken: number): void {
    this.#taken += taken
    if (this.#status === 0) this.#status = status
    if (--this.#left === 0) this.request.onSent(this.#status, this.#taken)
  }
}

function requestOf({ request }: Send): SendRequest {
  return request instanceof WholeRequest ? request.request : request
}

type Shutdown =
  | { state: 'none' }
  /** It waits for the sends before it. */
  | { state: 'waiting' | 'inFlight'; request: ShutdownRequest }
  | { state: 'done' }

const noShutdown: Shutdown = { state: 'none' }

export class SendSide implements Completer {
  /** Bytes accepted so far. */
  bytesAccepted = 0

  readonly #driver: Driver
  readonly #id: number
  readonly #channel: Idling
  /** What the operation in flight sends, in order; empty when there is none. */
  #inFlight: readonly Send[] = none
  #token = 0
  #waiting = none
  #waitingBytes = 0
  /** The -errno of the first failed send. */
  #failedWith = 0
  #shutdown = noShutdown
  #isClosed = false
  #borrower: SendBorrower | null = null
  /** Callbacks that were put off. */
  #putOff = 0

  constructor(driver: Driver, id: number, channel: Idling) {
    this.#driver = driver
    this.#id = id
    this.#channel = channel
  }

  /** Whether something accepted has not ended yet. */
  get isActive(): boolean {
    const { state } = this.#shutdown
    return this.#inFlight.length > 0 || state === 'waiting' || state === 'inFlight'
  }

  /** Sends that wait for the operation in flight. */
  get waitingSends(): number {
    return this.#waiting.length
  }

  /** Bytes accepted that the kernel has not taken yet. */
  get queuedBytes(): number {
    if (this.#inFlight.length === 0 || this.#isClosed) return this.#waitingBytes
    const unsent = this.#driver.native.unsent(this.#token)
    if (unsent > 0) return unsent + this.#waitingBytes
    // Its command is still queued, or its completion on the way; the one is known, the other passes.
    return this.#inFlight.reduce((sum, send) => sum + send.length - send.taken, this.#waitingBytes)
  }

  /** See Channel.send. */
  send(bytes: Uint8Array, request: SendRequest): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    if (byteLengthOf(bytes) === 0) return this.#accept(null, false, 0, request)
    const { block, length } = this.copy(bytes)
    return this.#accept(block, true, length, request)
  }

  /** See Channel.copy. */
  copy(bytes: Uint8Array): { block: Block; length: number } {
    const length = byteLengthOf(bytes)
    const block = this.#driver.blocks.acquire(length)
    block.bytes.set(bytes)
    return { block, length }
  }

  /** See Channel.sendEntries. */
  sendEntries(entries: readonly SendEntry[], request: SendRequest): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    const lengths = entries.map(({ chunk, encoding }) =>
      typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : byteLengthOf(chunk),
    )
    const total = lengths.reduce((sum, length) => sum + length, 0)
    if (total === 0) return this.#accept(null, false, 0, request)
    const block = this.#driver.blocks.acquire(total)
    let at = 0
    entries.forEach(({ chunk, encoding }, i) => {
      // Of hex and base64 the length is known only when they are decoded: at most `lengths[i]`.
      if (typeof chunk === 'string') at += block.bytes.write(chunk, at, encoding)
      else {
        block.bytes.set(chunk, at)
        at += lengths[i]!
      }
    })
    if (at > 0) return this.#accept(block, true, at, request)
    this.#driver.blocks.release(block)
    return this.#accept(null, false, 0, request)
  }

  /** See Channel.sendBlock. */
  sendBlock(block: Block, length: number, request: SendRequest): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    return this.#accept(length === 0 ? null : block, false, length, request)
  }

  /** See Channel.sendAll. */
  sendAll(parts: readonly SendPart[], request: SendRequest): number {
    const refusal = this.#refusal()
    const whole = new WholeRequest(parts.length, request)
    for (const { block, length, isCopy } of parts) {
      const isUsed = refusal === 0 && length > 0
      if (isCopy && !isUsed) this.#driver.blocks.release(block)
      if (refusal === 0) this.#queueUp(isUsed ? block : null, isCopy && isUsed, length, whole)
    }
    if (refusal === 0 && this.#inFlight.length === 0) this.#start()
    return refusal
  }

  #accept(block: Block | null, isCopy: boolean, length: number, request: SendRequest): number {
    this.#queueUp(block, isCopy, length, request)
    if (this.#inFlight.length === 0) this.#start()
    return 0
  }

  #queueUp(block: Block | null, isCopy: boolean, length: number, request: SendRequest): void {
    const send = { block, isCopy, length, request, taken: 0, isCancelled: false, status: 0 }
    if (this.#waiting.length === 0) this.#waiting = [send]
    else this.#waiting.push(send)
    this.#waitingBytes += length
    this.bytesAccepted += length
  }

  #start(): void {
    const sends = this.#waiting
    this.#waiting = sends.length > piecesMax ? sends.splice(piecesMax) : none
    let last = sends.length - 1
    while (last >= 0 && sends[last]!.block === null) last--
    if (last < 0) {
      // Never within the call that asked for it.
      this.#later(() => this.#tell(sends))
      this.#advance()
      return
    }
    this.#inFlight = sends
    this.#token = this.#driver.begin(this)
    for (let i = 0; i < last; i++) if (sends[i]!.block !== null) this.#queue(Op.piece, sends[i]!)
    this.#queue(Op.send, sends[last]!)
  }

  #queue(opcode: number, { block, taken, length }: Send): void {
    this.#waitingBytes -= length - taken
    this.#driver.queue(
      opcode,
      this.#token,
      this.#id,
      block!.index,
      block!.start + taken,
      length - taken,
    )
  }

  /** See Channel.cancelSend. */
  cancel(request: SendRequest): void {
    const isMeant = (send: Send): boolean => requestOf(send) === request && !send.isCancelled
    const inFlight = this.#inFlight.filter(isMeant)
    for (const send of inFlight) send.isCancelled = true
    if (inFlight.length > 0 && !this.#isClosed) this.#driver.queue(Op.cancel, this.#token, 0)
    const waiting = this.#waiting.filter(isMeant)
    if (waiting.length === 0) return
    this.#waiting = this.#waiting.filter((send) => !waiting.includes(send))
    for (const send of waiting) {
      this.#waitingBytes -= send.length - send.taken
      this.bytesAccepted -= send.length - send.taken
      this.#later(() => this.#fail(send, Errno.ECANCELED))
    }
  }

  /** See Channel.lendSend. */
  lend(borrower: SendBorrower, request: SendRequest): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    this.#borrower = borrower
    return this.#accept(null, false, 0, request)
  }

  /** See Channel.endSendLoan. */
  endLoan(): void {
    this.#borrower = null
  }

  /** See Channel.shutdown. */
  shutdown(request: ShutdownRequest): number {
    // After a send that was cut short a FIN would say that nothing is missing.
    if (this.#shutdown.state !== 'none' || this.#isClosed || this.#failedWith !== 0)
      return Errno.ENOTCONN
    this.#shutdown = { state: 'waiting', request }
    if (this.#inFlight.length === 0) this.#startShutdown(request)
    return 0
  }

  #startShutdown(request: ShutdownRequest): void {
    this.#shutdown = { state: 'inFlight', request }
    const complete = (result: number): void => {
      this.#shutdown = { state: 'done' }
      this.#channel.onIdle()
      request.onShutdown(result)
    }
    this.#driver.start({ complete }, Op.shutdown, this.#id)
  }

  /**
   * There is no time to wait for completions: offers the kernel what waits (W6). What it takes has been sent; the rest goes on
   * waiting.
   */
  flush(): void {
    if (this.#failedWith !== 0) return
    while (this.#waiting.length > 0) {
      const send = this.#waiting[0]!
      if (send.block !== null) {
        const { start } = send.block
        const bytes = send.block.bytes.subarray(start + send.taken, start + send.length)
        const taken = this.#driver.native.offer(this.#id, bytes)
        if (taken <= 0) return
        send.taken += taken
        this.#waitingBytes -= taken
        if (send.taken < send.length) return
      }
      this.#waiting.shift()
      this.#later(() => this.#end(send))
    }
  }

  /** The channel is closing: nothing is accepted any more. The driver ends the operation. */
  close(): void {
    this.flush()
    this.#isClosed = true
    this.#borrower?.onClosing()
  }

  /** The channel is closed: ends what never started. True when there was something. */
  abandon(): boolean {
    this.#failWaiting(Errno.ECANCELED)
    return this.#putOff > 0
  }

  /** Takes the completion of the send operation. */
  complete(result: number, _more: boolean, extra: number): void {
    const sends = this.#inFlight
    this.#inFlight = none
    let taken = result >= 0 ? result : extra
    let again = sends.length
    for (let i = 0; i < sends.length; i++) {
      const send = sends[i]!
      const part = Math.min(taken, send.length - send.taken)
      taken -= part
      send.taken += part
      // An empty one fails with what failed before it.
      const isEmptyAfterFailure = send.length === 0 && this.#failedWith !== 0
      // It would wait again for those before it, which go on.
      const isEmptyCancelled = send.length === 0 && send.isCancelled && again < sends.length
      if (send.taken === send.length && !isEmptyAfterFailure && !isEmptyCancelled) continue
      // Another one in this operation was cancelled: this one goes on, and those behind it.
      if (result === Errno.ECANCELED && !send.isCancelled && !this.#isClosed) {
        again = Math.min(again, i)
        continue
      }
      send.status = result < 0 ? result : Errno.EPIPE
      // A send of which nothing was taken can be missing; of one that was cut short nothing may follow (W5).
      const isWhole = send.taken === 0 || send.request.mayBeCut === true
      if (!(result === Errno.ECANCELED && isWhole) && this.#failedWith === 0)
        this.#failedWith = send.status
    }
    const ended = again < sends.length ? this.#requeue(sends, again) : sends
    // Before the requests are told: one may throw, and what waits must go on.
    this.#advance()
    try {
      this.#tell(ended)
    } finally {
      this.#channel.onIdle()
    }
  }

  /** Puts what has not ended back before what waits. The others. */
  #requeue(sends: readonly Send[], from: number): Send[] {
    const goesOn = (send: Send, i: number): boolean => i >= from && send.status === 0
    const again = sends.filter(goesOn)
    if (again.length > 0) this.#waiting = [...again, ...this.#waiting]
    for (const send of again) this.#waitingBytes += send.length - send.taken
    return sends.filter((send, i) => !goesOn(send, i))
  }

  /** Each is told, whatever those before it throw. */
  #tell(sends: readonly Send[]): void {
    for (let i = 0; i < sends.length; i++) {
      try {
        this.#end(sends[i]!)
      } catch (error) {
        const rest = sends.slice(i + 1)
        if (rest.length > 0) this.#later(() => this.#tell(rest))
        throw error
      }
    }
  }

  #fail(send: Send, status: number): void {
    send.status = status
    this.#end(send)
  }

  /** Releases what a send has used and tells of its end. */
  #end(send: Send): void {
    if (send.isCopy) this.#driver.blocks.release(send.block!)
    send.request.onSent(send.status, send.taken)
  }

  #refusal(): number {
    if (this.#failedWith !== 0) return this.#failedWith
    if (this.#isClosed) return Errno.EBADF
    return this.#shutdown.state === 'none' ? 0 : Errno.EPIPE
  }

  /** After a send has ended: starts the next one, or the shutdown, or fails what waited. */
  #advance(): void {
    if (this.#failedWith !== 0) this.#failWaiting(this.#failedWith)
    else if (this.#isClosed) return
    else if (this.#waiting.length > 0) this.#start()
    else if (this.#shutdown.state === 'waiting') this.#startShutdown(this.#shutdown.request)
  }

  #later(callback: () => void): void {
    this.#putOff++
    this.#driver.defer(() => {
      this.#putOff--
      try {
        callback()
      } finally {
        this.#channel.onIdle()
      }
    })
  }

  /** Every waiting request gets the error, once, each in its own turn so that one that throws stops no other. */
  #failWaiting(status: number): void {
    const waiting = this.#waiting
    const shutdown = this.#shutdown
    this.#waiting = none
    this.#waitingBytes = 0
    for (const send of waiting) this.#later(() => this.#fail(send, status))
    if (shutdown.state !== 'waiting') return
    this.#shutdown = { state: 'done' }
    this.#later(() => shutdown.request.onShutdown(status))
  }
}
