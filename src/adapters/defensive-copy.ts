/**
 * W2 where Node would break it: a Writable keeps chunks that wait by reference, and sends what is in them later. Sees to
 * it that such a chunk is a copy; what is handed to the driver within the call is copied there, as far as the kernel does
 * not take it at once.
 */
import type { Writable } from 'node:stream'
import { isUint8Array } from 'node:util/types'
import { plainView } from '../core/bytes'
import { copyOf } from '../core/copy'

/** A larger chunk is not copied only to wait for uncork(): it is sent at once, with what was corked before it. */
const corkedBytesMax = 16384

/** `chunk` for stream.end(), which uncorks, or its copy if it has to wait. `isHeld`: for a reason Writable does not know. */
export function defensiveCopy(stream: Writable, chunk: unknown, isHeld: boolean): unknown {
  if (typeof chunk === 'string' || !ArrayBuffer.isView(chunk)) return chunk
  return isHeld || isWriting(stream) ? copyOfView(chunk) : chunk
}

/** stream.write() as Node has it. */
export type Write = (
  this: Writable,
  chunk: unknown,
  encoding: unknown,
  callback: unknown,
) => boolean

/** Sends what a corked stream holds, which goes on as if it had not been sent. */
export interface AheadSender {
  sendAhead(stream: Writable): void
}

/** Calls `write` with `chunk` or its copy. `senderOf` answers undefined for a stream that may not send ahead. */
export function writeDefensiveCopy(
  stream: Writable,
  write: Write,
  chunk: unknown,
  encoding: unknown,
  callback: unknown,
  isHeld: boolean,
  senderOf: (stream: Writable) => AheadSender | undefined,
): boolean {
  if (stream.writableCorked === 0 || typeof chunk === 'string' || !ArrayBuffer.isView(chunk)) {
    return write.call(stream, defensiveCopy(stream, chunk, isHeld), encoding, callback)
  }
  const isLarge = chunk.byteLength > corkedBytesMax && !isHeld && !isWriting(stream)
  const sender = isLarge ? senderOf(stream) : undefined
  if (sender === undefined) return write.call(stream, copyOfView(chunk), encoding, callback)
  const answer = write.call(stream, chunk, encoding, callback)
  sender.sendAhead(stream)
  return answer
}

/** Whether a write is under way, so that the next one waits. */
function isWriting(stream: Writable): boolean {
  return (
    (stream as unknown as { _writableState: { writing?: boolean } })._writableState.writing !==
    false
  )
}

/** Other views than Uint8Array: newer Nodes take them, older ones refuse them by their name. */
function copyOfView(chunk: ArrayBufferView): ArrayBufferView {
  // Nobody is shown this copy: it may lie in Node's pool.
  if (isUint8Array(chunk)) return Buffer.from(plainView(chunk))
  const { buffer } = copyOf(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  return new (chunk.constructor as new (memory: ArrayBufferLike) => ArrayBufferView)(buffer)
}
