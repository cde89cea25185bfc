/**
 * The server of a file system that holds one regular file, as FUSE asks for it (linux/fuse.h, version 7.31). Owns the words of
 * that protocol; who mounts it, and when a read is answered, is for others to say.
 */
import { writeSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'

const Op = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  open: 14,
  read: 15,
  statfs: 17,
  release: 18,
  flush: 25,
  init: 26,
  interrupt: 36,
  batchForget: 42,
} as const

const folder = 1n
const file = 2n
/** More than any request here has. The kernel insists on the 8 KiB that it may use. */
const requestBytes = 1 << 17
const requestHeaderBytes = 40
const replyHeaderBytes = 16
const readAheadBytes = 1 << 17
const asyncRead = 1
const enosys = 38

export interface ServedFile {
  readonly size: number
  read(offset: number, length: number): Promise<Buffer>
}

/** struct fuse_attr. */
function attributes(node: bigint, size: number): Buffer {
  const bytes = Buffer.alloc(88)
  bytes.writeBigUInt64LE(node, 0)
  bytes.writeBigUInt64LE(BigInt(node === file ? size : 0), 8)
  bytes.writeUInt32LE(node === file ? 0o100444 : 0o40555, 60)
  bytes.writeUInt32LE(1, 64)
  bytes.writeUInt32LE(4096, 80)
  return bytes
}

/**
 * struct fuse_init_out. Of what is optional, reading ahead without waiting (FUSE_ASYNC_READ): as with a disk, whoever asks for a
 * page that is not there yet waits for the page, and whoever does not want to wait is told so at once.
 */
function terms(): Buffer {
  const bytes = Buffer.alloc(64)
  bytes.writeUInt32LE(7, 0)
  bytes.writeUInt32LE(31, 4)
  bytes.writeUInt32LE(readAheadBytes, 8)
  bytes.writeUInt32LE(asyncRead, 12)
  bytes.writeUInt32LE(4096, 20)
  return bytes
}

/** What follows the header of the reply; undefined when there is no reply, a number for an error. */
function answer(
  request: Buffer,
  served: ServedFile,
): Buffer | number | undefined | Promise<Buffer> {
  const node = request.readBigUInt64LE(16)
  switch (request.readUInt32LE(4)) {
    case Op.init:
      return terms()
    case Op.lookup: {
      // struct fuse_entry_out. Every name is that of the file.
      const bytes = Buffer.alloc(40)
      bytes.writeBigUInt64LE(file, 0)
      return Buffer.concat([bytes, attributes(file, served.size)])
    }
    case Op.getattr:
      return Buffer.concat([Buffer.alloc(16), attributes(node === 0n ? folder : node, served.size)])
    case Op.open:
      return Buffer.alloc(16)
    case Op.statfs:
      return Buffer.alloc(80)
    case Op.read: {
      const offset = Number(request.readBigUInt64LE(requestHeaderBytes + 8))
      return served.read(offset, request.readUInt32LE(requestHeaderBytes + 16))
    }
    case Op.release:
    case Op.flush:
      return Buffer.alloc(0)
    case Op.forget:
    case Op.batchForget:
    case Op.interrupt:
      return undefined
    default:
      return enosys
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function reply(device: FileHandle, unique: bigint, body: Buffer | number): void {
  const header = Buffer.alloc(replyHeaderBytes)
  const rest = typeof body === 'number' ? Buffer.alloc(0) : body
  header.writeUInt32LE(replyHeaderBytes + rest.length, 0)
  header.writeInt32LE(typeof body === 'number' ? -body : 0, 4)
  header.writeBigUInt64LE(unique, 8)
  try {
    writeSync(device.fd, Buffer.concat([header, rest]))
  } catch (error) {
    // Nobody waits for it any more.
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

/** Answers what the kernel asks of `device`, which is mounted, until it is mounted no more. */
export async function serve(device: FileHandle, served: ServedFile): Promise<void> {
  for (;;) {
    const request = Buffer.alloc(requestBytes)
    try {
      await device.read(request, 0, requestBytes, null)
    } catch (error) {
      if (codeOf(error) === 'ENODEV') return
      // The request was taken back, or a signal came.
      if (['ENOENT', 'EINTR', 'EAGAIN'].includes(codeOf(error)!)) continue
      throw error
    }
    const body = answer(request, served)
    if (body === undefined) continue
    const unique = request.readBigUInt64LE(8)
    if (body instanceof Promise) void body.then((bytes) => reply(device, unique, bytes))
    else reply(device, unique, body)
  }
}
