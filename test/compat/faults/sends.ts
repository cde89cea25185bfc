/** For faults of writing and closing: gets between the judged end of each pair and its own methods. Spoils nothing itself. */
import type { Socket } from 'node:net'
import type { Subject } from '../subject'

export type Callback = (error?: Error | null) => void
export type Chunk = Uint8Array | string
export type Send = (chunk: Chunk, encoding?: BufferEncoding, callback?: Callback) => boolean
export type End = (chunk?: Chunk, encoding?: BufferEncoding, callback?: Callback) => unknown

/** What Writable calls, and what lies below a socket. */
export interface Internals {
  _write(chunk: Chunk, encoding: BufferEncoding, callback: Callback): void
  _writev(chunks: { chunk: Chunk; encoding: BufferEncoding }[], callback: Callback): void
  _final(callback: Callback): void
  _handle: { close(): void; writeQueueSize: number } | null
}

export function internals(socket: Socket): Internals {
  return socket as unknown as Internals
}

/** The oracle whose judged ends have gone through `deviate`. */
export function spoiled(oracle: Subject, deviate: (a: Socket) => void): Subject {
  return {
    ...oracle,
    async makePair(options) {
      const pair = await oracle.makePair(options)
      deviate(pair.a)
      return pair
    },
  }
}

/** Puts `make`'s function in the place of write(). What write() will not take goes past it. */
export function replaceWrite(socket: Socket, make: (send: Send) => Send): void {
  const base = socket.write.bind(socket) as unknown as Send
  const replaced = make((chunk, encoding, callback) => base(chunk, encoding, callback))
  const write = (
    chunk: Chunk,
    encoding?: BufferEncoding | Callback,
    callback?: Callback,
  ): boolean => {
    const isRight = typeof chunk === 'string' || (chunk as unknown) instanceof Uint8Array
    const send = isRight ? replaced : base
    return typeof encoding === 'function'
      ? send(chunk, undefined, encoding)
      : send(chunk, encoding, callback)
  }
  socket.write = write as unknown as Socket['write']
}

/** Puts `make`'s function in the place of end(). */
export function replaceEnd(socket: Socket, make: (end: End) => End): void {
  const base = socket.end.bind(socket) as unknown as End
  const replaced = make((chunk, encoding, callback) => base(chunk, encoding, callback))
  const end = (...args: unknown[]): Socket => {
    const callback = args.find((arg) => typeof arg === 'function') as Callback | undefined
    const [chunk, encoding] = args.filter((arg) => typeof arg !== 'function')
    replaced(chunk as Chunk | undefined, encoding as BufferEncoding | undefined, callback)
    return socket
  }
  socket.end = end as Socket['end']
}

/** Puts `make`'s function in the place of destroy(). */
export function replaceDestroy(
  socket: Socket,
  make: (destroy: (error?: Error) => Socket) => (error?: Error) => Socket,
): void {
  socket.destroy = make(socket.destroy.bind(socket))
}

/** Puts `make`'s function in the place of emit(). */
export function replaceEmit(
  socket: Socket,
  make: (
    emit: (name: string, ...values: unknown[]) => boolean,
  ) => (name: string, ...values: unknown[]) => boolean,
): void {
  socket.emit = make(socket.emit.bind(socket) as (name: string) => boolean) as Socket['emit']
}

/** More is waiting than any kernel buffer of these pairs takes. */
export function isBlocked(socket: Socket): boolean {
  return socket.writableLength >= 64 << 10
}

/** The socket goes on without its connection, which stays open and sends what it has. Closed when that is gone, or later. */
export function abandon(socket: Socket, closesWhenSent: boolean): void {
  const handle = internals(socket)._handle
  internals(socket)._handle = null
  const began = performance.now()
  const look = (): void => {
    const isLate = performance.now() - began > 2500
    if (isLate || (closesWhenSent && handle?.writeQueueSize === 0)) handle?.close()
    else setTimeout(look, 5).unref()
  }
  look()
}

export function lengthOf(chunk: Chunk): number {
  return typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.length
}

/** The error of a write whose stream was destroyed: libuv's, or that of streams. */
export function isCancel(error: unknown): boolean {
  const { code } = (error ?? {}) as NodeJS.ErrnoException
  return code === 'ERR_STREAM_DESTROYED' || code === 'ECANCELED'
}

/** It was destroyed without an error. From Node 22 on a write that this has cancelled leaves its own. */
export function hasNoReason(socket: Socket): boolean {
  return socket.errored === null || isCancel(socket.errored)
}

export function isReset(error: unknown): boolean {
  const { code } = (error ?? {}) as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE'
}
