/**
 * Streams that are Duplex and no more: two ends in memory, and one end in front of a socket. Honest implementations: what
 * they cannot do (descriptors, addresses, resets) their subjects do not declare.
 */
import { Duplex } from 'node:stream'
import type { DuplexOptions } from 'node:stream'
import type { Socket } from 'node:net'
import type { PairOptions } from '../subject'
import { copyOf, destroyAll } from './pairs'
import type { MakePair } from './pairs'

type Callback = (error?: Error | null) => void

/** A pair without a kernel: what one end writes the other end buffers, up to its highWaterMark. */
export const memoryPairs: MakePair = ({ allowHalfOpen = true, highWaterMark } = {}) => {
  const a = new MemoryEnd({ allowHalfOpen, ...waterOf({ highWaterMark }) })
  const b = new MemoryEnd({ allowHalfOpen })
  a.peer = b
  b.peer = a
  return Promise.resolve({
    a: a as unknown as Socket,
    b: b as unknown as Socket,
    stop: () => destroyAll(a, b),
  })
}

class MemoryEnd extends Duplex {
  peer!: MemoryEnd
  /** What the peer has not taken yet of the chunk that is written, and its callback. */
  #rest: Buffer = Buffer.alloc(0)
  #held: Callback | null = null
  #isOffering = false

  override _read(): void {
    this.peer.#offer()
  }

  override _write(chunk: Buffer, _encoding: string, callback: Callback): void {
    if (this.peer.destroyed) {
      callback(gone())
      return
    }
    // As with a kernel, what was taken is a copy.
    this.#rest = copyOf(chunk)
    this.#held = callback
    this.#offer()
  }

  /** Hands over what the peer has room for, as the kernel would: in a turn of its own, never from inside a write. */
  #offer(): void {
    if (this.#held === null || this.#isOffering) return
    this.#isOffering = true
    setImmediate(() => {
      this.#isOffering = false
      const { peer } = this
      const room = peer.readableHighWaterMark - peer.readableLength
      if (this.#held === null || peer.destroyed || room <= 0) return
      const part = this.#rest.subarray(0, room)
      this.#rest = this.#rest.subarray(part.length)
      try {
        peer.push(copyOf(part))
      } finally {
        if (this.#rest.length === 0) this.#release()
        else this.#offer()
      }
    })
  }

  #release(error?: Error): void {
    const held = this.#held
    this.#held = null
    held?.(error)
  }

  override _final(callback: Callback): void {
    if (!this.peer.destroyed) this.peer.push(null)
    callback()
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const { peer } = this
    this.#release(Object.assign(new Error('destroyed'), { code: 'ERR_STREAM_DESTROYED' }))
    // As close(2) of a socket: what was handed over arrives, then the end.
    if (!peer.destroyed && !this.writableFinished) peer.push(null)
    peer.#release(gone())
    callback(error)
  }
}

function gone(): Error {
  return Object.assign(new Error('the other end is gone'), { code: 'EPIPE' })
}

/** Makes pairs whose `a` is a plain Duplex in front of the `a` of `below`. */
export function duplexPairs(
  below: MakePair,
  make: (socket: Socket, options: DuplexOptions) => Duplex = (socket, options) =>
    new FrontDuplex(socket, options),
): MakePair {
  return async (options = {}) => {
    const lower = await below({ ...options, allowHalfOpen: true })
    const { allowHalfOpen = true } = options
    const a = make(lower.a, { allowHalfOpen, ...waterOf(options) })
    return {
      a: a as unknown as Socket,
      b: lower.b,
      async stop() {
        destroyAll(a)
        await lower.stop()
      },
    }
  }
}

function waterOf({ highWaterMark }: { highWaterMark?: PairOptions['highWaterMark'] | undefined }): {
  highWaterMark?: number
} {
  return highWaterMark === undefined ? {} : { highWaterMark }
}

/** Passes everything on, as wrappers in front of sockets do. Its underscore methods are what faults override. */
export class FrontDuplex extends Duplex {
  protected readonly socket: Socket
  #isReading = false

  constructor(socket: Socket, options: DuplexOptions) {
    super(options)
    this.socket = socket
    socket.on('error', (error) => this.destroy(error))
    // After an orderly end there may be bytes that nobody has read yet.
    socket.on('close', () => {
      if (!socket.readableEnded || !this.writableFinished) this.destroy()
    })
    socket.on('end', () => this.push(null))
    // As net.Socket does: the first bytes are there before the first listener.
    this.read(0)
  }

  override _read(): void {
    if (this.#isReading) {
      this.socket.resume()
      return
    }
    this.#isReading = true
    this.socket.on('data', (chunk: Buffer) => this.receive(chunk))
  }

  protected receive(chunk: Buffer): void {
    if (!this.push(chunk)) this.socket.pause()
  }

  override _write(chunk: Buffer, _encoding: string, callback: Callback): void {
    this.socket.write(chunk, callback)
  }

  override _final(callback: Callback): void {
    this.socket.end(callback)
  }

  override _destroy(error: Error | null, callback: Callback): void {
    if (this.socket.closed) {
      callback(error)
      return
    }
    this.socket.once('close', () => callback(error))
    this.socket.destroy()
  }
}
