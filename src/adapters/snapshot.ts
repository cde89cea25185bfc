/**
 * W2 where Node would break it: a Writable keeps chunks that wait by reference, and sends what is in them later. Decides
 * which chunks of a write() have to be copied first; what is handed to the driver within the call is copied there, if at
 * all.
 */
import type { Writable } from 'node:stream'
import { isUint8Array } from 'node:util/types'
import { copyOf } from '../core/copy'

/** `chunk`, or its copy if the stream keeps it; `isBlocked`: for a reason that Writable does not know. */
export function snapshot(stream: Writable, chunk: unknown, isBlocked: boolean): unknown {
  if (typeof chunk === 'string') return chunk
  if (!isBlocked && stream.writableLength === 0 && stream.writableCorked === 0) return chunk
  if (isUint8Array(chunk)) return copyOf(chunk)
  if (!ArrayBuffer.isView(chunk)) return chunk
  // Where Node takes other views, or refuses them by their name.
  const { buffer } = copyOf(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
  return new (chunk.constructor as new (memory: ArrayBufferLike) => ArrayBufferView)(buffer)
}
