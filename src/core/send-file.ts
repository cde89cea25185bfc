/** What sendFile takes: a path, a descriptor or a FileHandle, and a range of it. Owns a descriptor that it opens itself. */
import { fstat } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Cancellable } from './cancellation'
import { invalidArgument, outOfRange } from './errors'
import type { FileRange } from './file-sending'

/** A path (or file: URL), a FileHandle, or a descriptor. The two latter stay the caller's. */
export type FileSource = string | URL | FileHandle | number

/** Which part of the file, and what to tell. */
export interface SendFileOptions extends Cancellable {
  /** Byte to begin with. Default 0. */
  offset?: number | undefined
  /** Bytes to send. Default: to the end of the file. */
  length?: number | undefined
  /** Called with the bytes that the kernel has taken so far, after each part of at most 256 KiB. */
  onProgress?: ((sent: number) => void) | undefined
}

/** A file as a range of a descriptor, which close() closes if it was opened here. */
export interface OpenedFile extends FileRange {
  close(): Promise<void>
}

/** Opens the source. Rejects with the system error, or ERR_OUT_OF_RANGE for a range that is not within the file. */
export async function openSource(
  source: FileSource,
  { offset = 0, length }: SendFileOptions,
): Promise<OpenedFile> {
  for (const [name, value] of Object.entries({ offset, length: length ?? 0 })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw outOfRange(`${name} is a number of bytes. Received ${value}`)
    }
  }
  if (typeof source === 'string' || source instanceof URL) {
    const handle = await open(source, 'r')
    try {
      return { ...(await rangeOf(handle.fd, offset, length)), close: () => handle.close() }
    } catch (error) {
      await handle.close()
      throw error
    }
  }
  const fd = typeof source === 'number' ? source : (source as FileHandle | null)?.fd
  if (fd === undefined || !Number.isInteger(fd) || fd < 0) {
    throw invalidArgument('source', 'a path, a FileHandle or a descriptor', source)
  }
  return { ...(await rangeOf(fd, offset, length)), close: () => Promise.resolve() }
}

const sizeOf = promisify(fstat)

async function rangeOf(fd: number, offset: number, length?: number): Promise<FileRange> {
  const { size } = await sizeOf(fd)
  const rest = size - offset
  if (rest < 0 || (length ?? rest) > rest) {
    throw outOfRange(`the file has ${size} bytes: fewer than offset and length ask for`)
  }
  return { fd, offset, length: length ?? rest }
}
