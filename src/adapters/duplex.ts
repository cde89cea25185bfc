/**
 * A core connection as a stream.Duplex, usable before the connection exists. Owns the channel it takes over; never emits
 * anything after 'close', which comes last and once.
 *
 * Claims W1-W5, C1-C4, R1-R3. Of W6 only: the write that has reached the channel gets its attempt when the stream is
 * destroyed; writes queued behind it get ERR_STREAM_DESTROYED, as on any Duplex. E1 and E3 need a net.Socket: there are
 * no addresses, timeouts, ref() or destroySoon() here, which http.Agent, for one, asks of a socket that it keeps.
 *
 * Two streams: ChannelStream (node:stream) moves bytes; ConnectionDuplex (duplexify) is what the user holds and what
 * waits for the connection. duplexify stands on readable-stream 3, so an `instanceof stream.Duplex` is false and Node's
 * operators (map, compose) are missing; pipe, pipeline, finished, `for await`, http and tls are tested.
 */
import Duplexify from 'duplexify'
import { Duplex, Writable } from 'node:stream'
import { isUint8Array } from 'node:util/types'
import type { Channel, ChannelHandler } from '../core/channel'
import type { Connection } from '../core/connection'
import { Errno, systemError } from '../core/errors'

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
  if ('take' in connection) {
    duplex.attach(new ChannelStream(connection.take(), highWaterMark))
  } else {
    Promise.resolve(connection)
      .then((arrived) => {
        if (duplex.destroyed) return arrived.close()
        duplex.attach(new ChannelStream(arrived.take(), highWaterMark))
        return undefined
      })
      .catch((error: unknown) => duplex.destroy(error as Error))
  }
  return duplex
}

/** Moves bytes between a channel and its own buffers. */
class ChannelStream extends Duplex implements ChannelHandler {
  readonly #channel: Channel

  constructor(channel: Channel, highWaterMark: number) {
    super({
      readableHighWaterMark: highWaterMark,
      // write() then always answers false and 'drain' tells of every chunk: what duplexify waits for before it calls
      // back is that the kernel has the bytes (W4), not that they are buffered here.
      writableHighWaterMark: 0,
      // Whether to answer FIN with FIN is decided by the outer stream, when its reader has seen the end.
      allowHalfOpen: true,
      // The descriptor goes when both directions have ended, or with the first error; 'close' says when it has gone.
      autoDestroy: true,
      emitClose: true,
    })
    this.#channel = channel
    channel.handler = this
  }

  override _read(): void {
    if (!this.#channel.isReading) this.#channel.readStart()
  }

  onBytes(memory: Buffer, offset: number, length: number): void {
    // Memory of its own: a slice of Node's pool would show others their bytes.
    const chunk = Buffer.allocUnsafeSlow(length)
    memory.copy(chunk, 0, offset, offset + length)
    if (!this.push(chunk)) this.#channel.readStop()
  }

  onEnd(): void {
    this.push(null)
  }

  onReceiveError(errno: number): void {
    this.destroy(systemError(errno, 'read'))
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error) => void): void {
    const onSent = (status: number): void => {
      if (status === 0) callback()
      else callback(systemError(status, 'write'))
    }
    const status = this.#channel.send(chunk, { onSent }, false)
    if (status < 0) onSent(status)
  }

  override _final(callback: (error?: Error) => void): void {
    const onShutdown = (status: number): void => {
      // As net.Socket: a peer that is gone already needs no FIN.
      if (status === 0 || status === Errno.ENOTCONN) callback()
      else callback(systemError(status, 'shutdown'))
    }
    const status = this.#channel.shutdown({ onShutdown })
    if (status < 0) onShutdown(status)
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#channel.close(false, () => callback(error))
  }
}

type Callback = (error?: Error | null) => void

/** Throws what Node throws for a chunk or an encoding that is none. */
const refusing = new Writable()

/**
 * duplexify, mended where it falls short of a Duplex of Node's: callbacks of writes that a destroy cuts off are called,
 * end() keeps its encoding, 'finish' needs the FIN to be out, 'close' comes after the descriptor is gone.
 */
class ConnectionDuplex extends Duplexify {
  #inner: ChannelStream | null = null
  /** Callbacks of write() and end() that have not been called. */
  readonly #waiting = new Set<Callback>()
  /** cork() calls of the user's; duplexify counts its own on top, and would take uncork() for the connection. */
  #corks = 0
  #isEnding = false

  // What readable-stream 3 has not got and stream.finished(), pipeline and http look at.
  override closed: boolean = false
  override errored: Error | null = null
  override writableEnded: boolean = false
  override writableFinished: boolean = false
  override readableEnded: boolean = false

  constructor(highWaterMark: number, allowHalfOpen: boolean) {
    super(undefined, undefined, {
      readableHighWaterMark: highWaterMark,
      writableHighWaterMark: highWaterMark,
      // End of stream from the peer ends our half only if asked for.
      allowHalfOpen,
      // readable-stream 3 defaults to false: 'close' would never follow 'end' and 'finish'. duplexify's own option of the
      // same name (an error of the inner stream destroys the outer one) defaults to true and is wanted as well.
      autoDestroy: true,
      // Strings become bytes inside write(), so that a queued string is a snapshot, too (W2).
      decodeStrings: true,
    })
    // http undoes all corks at the end of an answer by setting this to 1 before it calls uncork().
    Object.defineProperty(this.#state, 'corked', {
      get: () => 0,
      set: (corks: number) => {
        while (this.#corks > Math.max(corks, 1)) this.uncork()
      },
    })
    // What readable-stream 3 has not got, either.
    Object.defineProperties(this, {
      writableCorked: { get: () => this.#corks },
      writableNeedDrain: {
        get: () => !this.destroyed && !this.#isEnding && this.#state.needDrain,
      },
    })
    this.on('preend', () => this.#sendFin())
    this.once('finish', () => (this.writableFinished = true))
    this.once('end', () => (this.readableEnded = true))
  }

  get #state(): { defaultEncoding: BufferEncoding; needDrain: boolean } {
    return (
      this as unknown as { _writableState: { defaultEncoding: BufferEncoding; needDrain: boolean } }
    )._writableState
  }

  attach(inner: ChannelStream): void {
    this.#inner = inner
    this.setReadable(inner)
    // Last: it lets the writes that waited go.
    this.#corks++
    this.setWritable(inner)
  }

  /** duplexify emits 'finish' when this many corks are undone; without the FIN that is never. */
  #sendFin(): void {
    super.cork()
    this.#inner!.once('finish', () => super.uncork())
    this.#inner!.end()
  }

  override cork(): void {
    this.#corks++
    super.cork()
  }

  override uncork(): void {
    if (this.#corks === 0) return
    this.#corks--
    super.uncork()
  }

  override read(size?: number): Buffer | string | null {
    // readable-stream 3 would go on emitting what it has buffered, even after 'close'.
    return this.destroyed ? null : (super.read(size) as Buffer | string | null)
  }

  override write(chunk: unknown, callback?: Callback): boolean
  override write(chunk: unknown, encoding?: BufferEncoding, callback?: Callback): boolean
  override write(
    chunk: unknown,
    encodingOrCallback?: BufferEncoding | Callback,
    maybeCallback?: Callback,
  ): boolean {
    const isShort = typeof encodingOrCallback === 'function'
    const encoding = (isShort ? undefined : encodingOrCallback) ?? this.#state.defaultEncoding
    const callback = isShort ? encodingOrCallback : maybeCallback
    // duplexify's mark for the end, which is known by identity; or a write after end, which is refused there.
    if (this.#isEnding) return super.write(chunk, encoding, callback)
    const isBytes = isUint8Array(chunk)
    if (!isBytes && !(typeof chunk === 'string' && Buffer.isEncoding(encoding))) {
      return refusing.write(chunk, encoding)
    }
    if (this.destroyed) {
      if (callback) process.nextTick(callback, destroyedError('write'))
      return false
    }
    const waiting = this.#wait(callback)
    return isBytes
      ? super.write(this.#isQueueing ? Buffer.from(chunk) : viewOf(chunk), waiting)
      : super.write(chunk, encoding, waiting)
  }

  /** Whether a chunk written now has to wait, and so must be a copy (W2); else the channel copies it inside write(). */
  get #isQueueing(): boolean {
    return this.#inner === null || this.#corks > 0 || this.writableLength > 0
  }

  #wait(callback: Callback | undefined): Callback {
    const waiting: Callback = (error) => {
      if (this.#waiting.delete(waiting)) callback?.(error)
    }
    this.#waiting.add(waiting)
    return waiting
  }

  override end(callback?: () => void): this
  override end(chunk: unknown, callback?: () => void): this
  override end(chunk: unknown, encoding?: BufferEncoding, callback?: () => void): this
  override end(chunk?: unknown, encoding?: unknown, callback?: () => void): this {
    if (typeof chunk === 'function') return this.end(undefined, undefined, chunk as () => void)
    if (typeof encoding === 'function') return this.end(chunk, undefined, encoding as () => void)
    if (chunk !== undefined && chunk !== null) this.write(chunk, encoding as BufferEncoding)
    if (this.destroyed) {
      if (callback) process.nextTick(callback, destroyedError('end'))
      return this
    }
    if (callback !== undefined) {
      const waiting = this.#wait(callback)
      if (this.writableFinished) process.nextTick(waiting)
      else this.once('finish', () => waiting())
    }
    while (this.#corks > 0) this.uncork()
    if (!this.#isEnding) {
      this.#isEnding = true
      super.end()
      this.writableEnded = true
    }
    return this
  }

  /** duplexify's own leaves callbacks uncalled and emits 'close' while the descriptor is open. */
  override destroy(error?: Error | null, callback: (error: null) => void = () => {}): this {
    if (this.destroyed) {
      process.nextTick(callback, null)
      return this
    }
    this.destroyed = true
    this.errored = error ?? null
    for (const waiting of this.#waiting) {
      process.nextTick(waiting, error ?? destroyedError('write'))
    }
    const close = (): void => {
      if (error) this.emit('error', error)
      this.closed = true
      this.emit('close')
      callback(null)
    }
    const inner = this.#inner
    inner?.destroy()
    if (inner === null || inner.closed) process.nextTick(close)
    else inner.once('close', close)
    return this
  }
}

function viewOf(chunk: Uint8Array): Buffer {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

/** Node's error for what a destroy cut off; Node does not export it. */
function destroyedError(method: string): Error {
  const error = new Error(`Cannot call ${method} after a stream was destroyed`)
  return Object.assign(error, { code: 'ERR_STREAM_DESTROYED' })
}
