/**
 * The adapters over a core connection, accepted from a node:net peer: toDuplex as it is, and toReadiness behind a Duplex
 * that does what a writer for readiness has to: what was refused is offered again when it is asked for.
 */
import { AsyncResource } from 'node:async_hooks'
import { once } from 'node:events'
import * as nodeNet from 'node:net'
import { Duplex } from 'node:stream'
import type { DuplexOptions } from '../../../src/adapters/duplex'
import type { Readiness } from '../../../src/adapters/readiness'
import type * as core from '../../../src/core/index'
import { copyOf, destroyAll, fdOf, shrink } from './pairs'
import type { MakePair } from './pairs'

type Callback = (error?: Error | null) => void

/** Makes pairs whose `a` is what `present` makes of an accepted connection. */
export function corePairs(
  { listen }: Pick<typeof core, 'listen'>,
  present: (connection: core.Connection, options: DuplexOptions) => Duplex,
): MakePair {
  return async ({ allowHalfOpen = true, highWaterMark, smallBuffers = false } = {}) => {
    const listener = await listen({ port: 0, host: '127.0.0.1' })
    const { port } = listener.localName!
    const b = nodeNet.connect({ port, host: '127.0.0.1', allowHalfOpen })
    const [accepted] = await Promise.all([listener.accept(), once(b, 'connect')])
    await listener.close()
    const channel = accepted!.handOff()
    if (smallBuffers) {
      shrink(channel.fd)
      shrink(fdOf(b))
    }
    // What an adapter asks of a connection.
    const connection = { handOff: () => channel } as core.Connection
    const water = highWaterMark === undefined ? {} : { highWaterMark }
    const a = present(connection, { allowHalfOpen, ...water })
    return { a: a as unknown as nodeNet.Socket, b, stop: () => destroyAll(a, b) }
  }
}

/** More than the default highWaterMark of a Readiness: refused while anything is queued. */
const tooMuch = Buffer.alloc(65_537)

/** What a program would write around Readiness to have a stream. */
export class ReadinessDuplex extends Duplex {
  readonly #readiness: Readiness
  readonly #into: Buffer
  /** Of the write, or the end, that waits for room. */
  #refused: Callback | null = null

  constructor(readiness: Readiness, { allowHalfOpen = true, highWaterMark }: DuplexOptions) {
    super({ allowHalfOpen, ...(highWaterMark === undefined ? {} : { highWaterMark }) })
    this.#readiness = readiness
    this.#into = Buffer.allocUnsafeSlow(this.readableHighWaterMark)
    readiness.onReadable = () => {
      // Should a listener throw, the stream would not ask again by itself.
      process.nextTick(() => this.read(0))
      this._read()
    }
    // As net.Socket does: the first bytes are there before the first listener.
    this.read(0)
  }

  override _read(): void {
    let count
    try {
      count = this.#readiness.tryRead(this.#into)
    } catch (error) {
      this.destroy(error as Error)
      return
    }
    // What a listener of push() throws is not ours to catch.
    if (count > 0) this.push(copyOf(this.#into.subarray(0, count)))
    else if (count === 0) this.push(null)
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: Callback): void {
    const readiness = this.#readiness
    this.#refused = null
    try {
      if (readiness.tryWrite(chunk)) return void callback()
      this.#refused = callback
      // The callback belongs to whoever wrote, not to what made room.
      readiness.onWritable = AsyncResource.bind(() => this._write(chunk, encoding, callback))
    } catch (error) {
      callback(error as Error)
    }
  }

  override _final(callback: Callback): void {
    const readiness = this.#readiness
    this.#refused = null
    try {
      if (readiness.queuedBytes > 0) {
        // close() may follow, which does not wait for what is queued. This is refused, until nothing is.
        this.#refused = callback
        readiness.onWritable = () => this._final(callback)
        readiness.tryWrite(tooMuch)
        return
      }
      readiness.shutdown()
    } catch (error) {
      callback(error as Error)
      return
    }
    callback()
  }

  override _destroy(error: Error | null, callback: Callback): void {
    // Nothing is called back after close().
    const refused = this.#refused
    this.#refused = null
    refused?.(error ?? Object.assign(new Error('destroyed'), { code: 'ERR_STREAM_DESTROYED' }))
    this.#readiness.close().then(() => callback(error), callback)
  }
}
