/** What servers send and expect: the bytes that the load generator compares, and a file of them. It never opens a socket. */
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CHUNK_BYTES } from './matrix'

/** Byte i of every 64 KB. */
export function makePattern(bytes: number): Buffer {
  const chunk = Buffer.allocUnsafe(Math.min(bytes, CHUNK_BYTES))
  for (let i = 0; i < chunk.length; i++) chunk[i] = i * 31 + (i >> 8)
  return bytes <= CHUNK_BYTES ? chunk : Buffer.alloc(bytes, chunk)
}

/** Takes the pieces of a stream; throws when one does not begin as it must. Returns the bytes so far. */
export function checkPattern(): (data?: Buffer) => number {
  const chunk = makePattern(CHUNK_BYTES)
  let position = 0
  return (data) => {
    if (!data) return position
    if (data[0] !== chunk[position % CHUNK_BYTES]) {
      throw new Error(`byte ${position} of the stream is not what was sent`)
    }
    position += data.length
    return position
  }
}

/** An open file without a name, in the page cache. */
export function makeFile(bytes: number): { fd: number; bytes: number } {
  const folder = mkdtempSync(join(tmpdir(), 'uring-net-bench-'))
  try {
    const path = join(folder, 'file')
    writeFileSync(path, makePattern(bytes))
    return { fd: openSync(path, 'r'), bytes }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
