/**
 * A core connection as a readiness interface, for writers that decide anew, at every attempt, what to send next (HTTP/2
 * frame schedulers and the like). Owns accepted bytes that the kernel has not taken, at most `highWaterMark` of them, and
 * received bytes nobody has read, of about the same number.
 *
 * Claims W1 in its strictest form: what tryWrite refuses was not taken and never will be sent, so the caller may offer
 * something else instead; what it accepts is copied and leaves in order without any further call. W2-W6, C1-C4, R1-R3.
 * It never calls back from inside a call to it.
 */
import { isUint8Array } from 'node:util/types'
import type { Block } from '../core/block'
import { byteLengthOf, plainView } from '../core/bytes'
import type { Channel, SendRequest } from '../core/channel'
import type { Connection } from '../core/connection'
import { viewOf } from '../core/sending'
import { queueMicrotask, setImmediate } from '../core/timers'
import { Errno, UringError, invalidArgument, outOfRange, systemError } from '../core/errors'

/** A message larger than this is sent by itself instead of being gathered with others. */
const gatherBytesMax = 16384

/** How much is accepted. */
export interface ReadinessOptions {
  /** Bytes that may be accepted and not yet taken by the kernel. Default 65536. */
  highWaterMark?: number
}

/**
 * Takes the connection over and presents it as a Readiness.
 *
 * @example
 * const socket = toReadiness(await connect({ port: 80 }))
 * function pump() {
 *   while (frames.length > 0 && socket.tryWrite(frames[0])) frames.shift()
 * }
 * socket.onWritable = pump
 * pump()
 */
export function toReadiness(connection: Connection, options: ReadinessOptions = {}): Readiness {
  const { highWaterMark = 65536 } = options
  if (!Number.isInteger(highWaterMark) || highWaterMark < 1) {
    throw outOfRange(`highWaterMark is a positive number of bytes. Received ${highWaterMark}`)
  }
  return new Readiness(connection.handOff(), highWaterMark)
}

/** Connections with accepted bytes that their channel has not got, in this tick. */
const unflushed = new Set<Readiness>()

// W6: what was accepted in the tick that calls process.exit() gets its attempt.
process.on('exit', () => Readiness.flushAll())

/**
 * A connection as a non-blocking socket: tryRead and tryWrite do at once what can be done, and onReadable and onWritable say
 * when to ask again. What tryWrite has accepted it has copied, and sends.
 */
export class Readiness {
  /** Called once after tryRead answered -1, when asking again is worth it. */
  onReadable: (() => void) | null = null
  /** Called once after tryWrite answered false, when the smallest message refused would be accepted, or has failed. */
  onWritable: (() => void) | null = null

  readonly #channel: Channel
  readonly #highWaterMark: number
  readonly #request: SendRequest = { onSent: (status) => this.#sent(status) }

  #received: Buffer[] = []
  /** Bytes of the first received chunk that were read. */
  #readOffset = 0
  #receivedBytes = 0
  #isEnded = false
  #receiveError: Error | undefined
  #awaitsReadable = false

  /** Accepted bytes that the channel has not got: those of this tick, or those that wait for the send in flight. */
  #pending: Buffer | null = null
  #pendingBytes = 0
  #sendError: Error | undefined
  /** Length of the smallest message refused since onWritable was last called; 0 if none was. */
  #refusedBytes = 0
  #isShut = false
  #closing: Promise<void> | null = null

  /** @internal Takes the channel over. */
  constructor(channel: Channel, highWaterMark: number) {
    this.#channel = channel
    this.#highWaterMark = highWaterMark
    channel.handler = {
      onBlock: (block, length) => this.#bytes(block, length),
      onEnd: () => {
        this.#isEnded = true
        this.#notifyReadable()
      },
      onReceiveError: (errno) => {
        this.#receiveError = systemError(errno, 'read')
        this.#notifyReadable()
      },
    }
  }

  /** The first error of either direction; tryRead and tryWrite throw theirs. */
  get error(): Error | undefined {
    return this.#sendError ?? this.#receiveError
  }

  /** Bytes accepted that the kernel has not taken, as far as is known. */
  get queuedBytes(): number {
    return this.#channel.sendQueueBytes + this.#pendingBytes
  }

  /**
   * Copies received bytes to `into` and answers how many; 0 at the end of the stream; -1 if there is nothing now:
   * onReadable will be called. Throws the error that receiving ended with, or ERR_URING_CLOSED.
   */
  tryRead(into: Uint8Array): number {
    this.#requireOpen()
    if (!isUint8Array(into)) throw invalidArgument('into', 'a Uint8Array', into)
    const target = plainView(into)
    if (target.length === 0) throw outOfRange('tryRead() needs room for at least one byte')
    let count = 0
    while (count < target.length && this.#received.length > 0) {
      const chunk = this.#received[0]!
      const copied = chunk.copy(target, count, this.#readOffset)
      count += copied
      this.#readOffset += copied
      if (this.#readOffset === chunk.length) {
        this.#received.shift()
        this.#readOffset = 0
      }
    }
    this.#receivedBytes -= count
    if (count > 0) return count
    if (this.#isEnded) return 0
    if (this.#receiveError !== undefined) throw this.#receiveError
    this.#awaitsReadable = true
    // Only here: a reader that does not ask for more gets the kernel to stop (R2).
    if (!this.#channel.isReading) this.#channel.readStart()
    return -1
  }

  #bytes(block: Block, length: number): void {
    this.#received.push(this.#channel.takeBytes(block, length))
    this.#receivedBytes += length
    if (this.#receivedBytes >= this.#highWaterMark) this.#channel.readStop()
    this.#notifyReadable()
  }

  #notifyReadable(): void {
    if (!this.#awaitsReadable || this.#closing !== null) return
    this.#awaitsReadable = false
    this.onReadable?.()
  }

  /**
   * Any ArrayBufferView is taken as bytes; ERR_INVALID_ARG_TYPE is thrown for anything else.
   * True: all of `view` is accepted and copied, and leaves after what was accepted before, without further calls.
   * False: none of it is, and none of it will ever be sent; onWritable will be called. A message larger than
   * highWaterMark is accepted when nothing is queued. Throws the error of a failed send (nothing is sent after it),
   * EPIPE after shutdown(), ERR_URING_CLOSED after close().
   */
  tryWrite(view: ArrayBufferView): boolean {
    const bytes = viewOf(view)
    this.#requireOpen()
    if (this.#sendError !== undefined) throw this.#sendError
    if (this.#isShut) throw systemError(Errno.EPIPE, 'write')
    const length = byteLengthOf(bytes)
    // There is nothing to refuse.
    if (length === 0) return true
    const queued = this.queuedBytes
    if (queued > 0 && queued + length > this.#highWaterMark) {
      this.#refusedBytes = this.#refusedBytes === 0 ? length : Math.min(this.#refusedBytes, length)
      return false
    }
    if (queued === 0 && (length > gatherBytesMax || length > this.#highWaterMark)) {
      this.#send(plainView(bytes))
      if (this.#sendError !== undefined) throw this.#sendError
    } else {
      this.#append(bytes, length)
    }
    return true
  }

  /** One send for all that a tick writes: the kernel is asked once, not for every frame. */
  #append(bytes: Uint8Array, length: number): void {
    this.#pending ??= Buffer.allocUnsafeSlow(this.#highWaterMark)
    this.#pending.set(bytes, this.#pendingBytes)
    this.#pendingBytes += length
    if (this.#channel.sendQueueBytes > 0 || unflushed.has(this)) return
    unflushed.add(this)
    queueMicrotask(() => {
      if (unflushed.has(this)) this.#flush()
    })
  }

  /** @internal */
  static flushAll(): void {
    for (const readiness of unflushed) {
      readiness.#flush()
      readiness.#channel.driver.submit()
    }
  }

  /** Hands what is pending to the channel, which copies it. */
  #flush(): void {
    unflushed.delete(this)
    const length = this.#pendingBytes
    if (length === 0) return
    this.#pendingBytes = 0
    this.#send(this.#pending!.subarray(0, length))
  }

  #send(bytes: Uint8Array): void {
    const status = this.#channel.send(bytes, this.#request)
    if (status < 0) this.#fail(status, 'write')
  }

  #sent(status: number): void {
    if (this.#closing !== null) return
    if (status < 0) this.#fail(status, 'write')
    else this.#flush()
    this.#notifyWritable()
  }

  #notifyWritableLater(): void {
    if (this.#refusedBytes > 0) setImmediate(() => this.#notifyWritable())
  }

  #notifyWritable(): void {
    const refused = this.#refusedBytes
    if (refused === 0 || this.#closing !== null) return
    const queued = this.queuedBytes
    if (queued > 0 && queued + refused > this.#highWaterMark && !this.#sendError) return
    this.#refusedBytes = 0
    this.onWritable?.()
  }

  /** Nothing is sent any more (W5). */
  #fail(status: number, syscall: string): void {
    this.#sendError ??= systemError(status, syscall)
    this.#pendingBytes = 0
    unflushed.delete(this)
    this.#notifyWritableLater()
  }

  /** Sends FIN after everything accepted. The other direction goes on. */
  shutdown(): void {
    this.#requireOpen()
    if (this.#sendError !== undefined) throw this.#sendError
    if (this.#isShut) return
    this.#isShut = true
    // The channel keeps the order: send in flight, this, FIN.
    this.#flush()
    const settle = (status: number): void => {
      if (status < 0 && status !== Errno.ENOTCONN) this.#fail(status, 'shutdown')
    }
    const status = this.#channel.shutdown({ onShutdown: settle })
    if (status < 0) settle(status)
  }

  /**
   * Closes: what is in flight gets its attempt and is cancelled, nothing is called back. shutdown() first, and read to
   * the end, for an orderly close. Resolves when the kernel holds nothing more. May be called again.
   */
  close(): Promise<void> {
    if (this.#closing === null) {
      this.#flush()
      this.#received = []
      this.#closing = new Promise((resolve) => this.#channel.close(false, resolve))
    }
    return this.#closing
  }

  #requireOpen(): void {
    if (this.#closing !== null) throw new UringError('ERR_URING_CLOSED', 'the connection is closed')
  }
}
