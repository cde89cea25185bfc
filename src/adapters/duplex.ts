/**
 * A core connection as a stream.Duplex, usable before the connection exists. Owns the channel it takes over; never emits
 * anything after 'close', which comes last and once.
 *
 * Claims W1-W6, C1-C4, R1-R3, E2. E1 and E3 need a net.Socket: there are no addresses, timeouts, ref() or destroySoon()
 * here, which http.Agent, for one, asks of a socket that it keeps.
 */
import { AsyncResource } from 'node:async_hooks'
import { Duplex } from 'node:stream'
import type { Writable } from 'node:stream'
import type { Block } from '../core/block'
import type { Channel, ChannelHandler, SendEntry, SendRequest } from '../core/channel'
import type { Connection } from '../core/connection'
import { Errno, systemError } from '../core/errors'
import { CorkBypass } from './cork-bypass'
import { defensiveCopy, writeDefensiveCopy } from './defensive-copy'
import type { AheadSender, Write } from './defensive-copy'
import { nextTick } from '../core/timers'

/** How the stream buffers, and how it ends. */
export interface DuplexOptions {
  /** Bytes to buffer in each direction before asking for a pause. Default 65536. */
  highWaterMark?: number
  /** False: end() follows by itself once 'end' was emitted, as on a net.Socket. Default true, as on any Duplex. */
  allowHalfOpen?: boolean
}

/**
 * Takes the connection over and presents it as a Duplex. With a promise the stream can be used at once: writes and reads
 * wait; a rejection destroys it with that error; a connection that arrives after destroy() is closed.
 *
 * A write callback means that the kernel has the bytes. end() sends FIN after them; the peer may go on sending.
 *
 * @example
 * const stream = toDuplex(connect({ port: 80, host: 'example.org' }))
 * stream.end('GET / HTTP/1.0\r\n\r\n')
 * stream.pipe(process.stdout)
 */
export function toDuplex(
  connection: Connection | PromiseLike<Connection>,
  options: DuplexOptions = {},
): Duplex {
  const { highWaterMark = 65536, allowHalfOpen = true } = options
  const duplex = new ConnectionDuplex(highWaterMark, allowHalfOpen)
  if ('handOff' in connection) {
    duplex.attach(connection.handOff())
  } else {
    Promise.resolve(connection)
      .then((arrived) => {
        if (duplex.destroyed) return arrived.close()
        duplex.attach(arrived.handOff())
        return undefined
      })
      .catch((error: unknown) => duplex.destroy(error as Error))
  }
  return duplex
}

type Callback = (error?: Error | null) => void

/** Of all async resources here: their end is told, not left to the collector. */
const manualDestroy = { requireManualDestroy: true }

/** A send whose callback runs in the async context of its write. */
class DuplexWrite implements SendRequest {
  readonly #callback: Callback
  readonly #resource = new AsyncResource('URINGDUPLEXWRITE', manualDestroy)

  constructor(callback: Callback) {
    this.#callback = callback
  }

  /** What the channel answered to it. */
  answered(status: number): void {
    if (status < 0) this.onSent(status)
  }

  onSent(status: number): void {
    this.#resource.emitDestroy()
    const error = status === 0 ? null : systemError(status, 'write')
    this.#resource.runInAsyncScope(this.#callback, undefined, error)
  }
}

/** What a write or an end has asked for before there is a channel. */
interface Waiting {
  start: () => void
  fail: Callback
}

class ConnectionDuplex extends Duplex implements ChannelHandler, AheadSender {
  #channel: Channel | undefined
  #waiting: Waiting | undefined
  #isFlushed = false
  #ahead: CorkBypass | undefined
  /** What is received belongs to the context in which the stream was made. */
  readonly #resource = new AsyncResource('URINGDUPLEX', manualDestroy)

  constructor(highWaterMark: number, allowHalfOpen: boolean) {
    super({
      readableHighWaterMark: highWaterMark,
      writableHighWaterMark: highWaterMark,
      allowHalfOpen,
      // Strings are encoded where they are to be sent from.
      decodeStrings: false,
      // The descriptor goes when both directions have ended, or with the first error; 'close' says when it has gone.
      autoDestroy: true,
      emitClose: true,
    })
  }

  attach(channel: Channel): void {
    this.#channel = channel
    channel.handler = this
    // Asked for or not: the first bytes are there before the first listener, as with a net.Socket.
    channel.readStart()
    // Not here: what the program's callbacks throw is not the connection's failure.
    nextTick(() => this.#takeWaiting()?.start())
  }

  #takeWaiting(): Waiting | undefined {
    const waiting = this.#waiting
    this.#waiting = undefined
    return waiting
  }

  override write(chunk: unknown, callback?: Callback): boolean
  override write(chunk: unknown, encoding?: BufferEncoding, callback?: Callback): boolean
  override write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const write = super.write as Write
    const isHeld = this.#channel === undefined
    return writeDefensiveCopy(this, write, chunk, encoding, callback, isHeld, senderOf)
  }

  override end(callback?: () => void): this
  override end(chunk: unknown, callback?: () => void): this
  override end(chunk: unknown, encoding?: BufferEncoding, callback?: () => void): this
  override end(chunk?: unknown, ...rest: unknown[]): this {
    const end = super.end.bind(this) as (...values: unknown[]) => this
    return end(defensiveCopy(this, chunk, this.#channel === undefined), ...rest)
  }

  override _read(): void {
    const channel = this.#channel
    if (channel !== undefined && !channel.isReading) channel.readStart()
  }

  onBlock(block: Block, length: number): void {
    const chunk = this.#channel!.takeBytes(block, length)
    this.#resource.runInAsyncScope(() => {
      if (!this.push(chunk)) this.#channel!.readStop()
    })
  }

  onEnd(): void {
    this.#resource.runInAsyncScope(() => {
      this.push(null)
      // Without a reader 'end' is due at once.
      this.read(0)
    })
  }

  onReceiveError(errno: number): void {
    this.#resource.runInAsyncScope(() => this.destroy(systemError(errno, 'read')))
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: Callback): void {
    this._writev([{ chunk, encoding }], callback)
  }

  override _writev(entries: SendEntry[], callback: Callback): void {
    this.#whenAttached(callback, (channel) => {
      const write = new DuplexWrite(callback)
      const ahead = this.#ahead
      if (ahead === undefined) write.answered(channel.sendEntries(entries, write))
      else ahead.write(channel, entries, write)
      if (ahead?.isWritten) this.#ahead = undefined
    })
  }

  override _final(callback: Callback): void {
    this.#whenAttached(callback, (channel) => {
      const onShutdown = (status: number): void => {
        // As net.Socket: a peer that is gone already needs no FIN.
        if (status === 0 || status === Errno.ENOTCONN) callback()
        else callback(systemError(status, 'shutdown'))
      }
      const status = channel.shutdown({ onShutdown })
      if (status < 0) onShutdown(status)
    })
  }

  #whenAttached(callback: Callback, start: (channel: Channel) => void): void {
    if (this.#channel !== undefined) {
      start(this.#channel)
    } else {
      this.#waiting = {
        start: AsyncResource.bind(() => start(this.#channel!)),
        fail: AsyncResource.bind(callback),
      }
    }
  }

  get #held(): readonly SendEntry[] | undefined {
    return (this as { writableBuffer?: readonly SendEntry[] }).writableBuffer
  }

  /** See AheadSender. */
  sendAhead(): void {
    if (this.#held === undefined) return
    this.#ahead ??= new CorkBypass()
    this.#ahead.send(this.#channel!, this.#held)
  }

  /** Hands over what Writable holds, when nothing will ask for it again (W6). */
  onFlush(): void {
    const entries = this.#held
    if (this.#isFlushed || this.writableCorked > 0 || entries === undefined) return
    if (senderOf(this) === undefined) return
    this.#isFlushed = true
    this.#channel!.sendLast(entries)
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const waiting = this.#takeWaiting()
    const onClosed = (): void => {
      this.#resource.emitDestroy()
      this.#resource.runInAsyncScope(callback, undefined, error)
    }
    if (this.#channel === undefined) {
      onClosed()
      // After 'close', as a write of a net.Socket that was never connected.
      nextTick(() => waiting?.fail(error ?? destroyedError()))
      return
    }
    this.onFlush()
    this.#channel.close(false, onClosed)
  }
}

/** Nothing sends ahead past a program's own _write. */
function senderOf(stream: Writable): AheadSender | undefined {
  const { _write, _writev } = ConnectionDuplex.prototype
  const isPlain = stream._write === _write && stream._writev === _writev
  return isPlain ? (stream as ConnectionDuplex) : undefined
}

/** Node's error for what a destroy cut off; Node does not export it. */
function destroyedError(): Error {
  const error = new Error('Cannot call write after a stream was destroyed')
  return Object.assign(error, { code: 'ERR_STREAM_DESTROYED' })
}
