/**
 * A disk that hangs: a file system with one file, whose reads wait until they are let go. The program that reads it has the
 * mount in a namespace of its own, so that nothing of it is left when the program has ended, in whatever way. Owns the device
 * and the folder. The process that serves it must not touch the file, for it would wait for itself.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from './fuse'

const size = 1 << 20

/** For the shell: mounts descriptor 3 at $1 and becomes the program that follows, which does not have the descriptor. */
const mounting =
  'mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none "$1" && shift && exec "$@" 3<&-'

function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'uring-net-disk-'))
}

/** Why there can be no slow disk here, if so. */
export function slowDiskRefusal(): string | undefined {
  const folder = makeFolder()
  try {
    const script = `exec 3<>/dev/fuse && ${mounting}`
    const args = ['--mount', 'sh', '-c', script, 'sh', folder, 'true']
    const { error, status, stderr } = spawnSync('unshare', args, { encoding: 'utf8' })
    if (error !== undefined) return error.message
    return status === 0 ? undefined : stderr.trim()
  } finally {
    rmdirSync(folder)
  }
}

export class SlowDisk {
  /** Of the file, for the program. */
  readonly path: string
  /** The first read is waiting. */
  readonly hangs: Promise<void>
  /** For real.ts, to start a program with the disk; it has no descriptor 3. */
  readonly command: { node: string; flags: string[]; device: number }
  readonly #device: FileHandle
  readonly #folder: string
  readonly #released: Promise<void>
  #release!: () => void
  #noteRead!: () => void
  #served: Promise<void> | undefined

  private constructor(device: FileHandle) {
    this.#device = device
    this.#folder = makeFolder()
    this.path = join(this.#folder, 'file')
    const shell = ['sh', '-c', mounting, 'sh', this.#folder]
    this.command = {
      node: 'unshare',
      flags: ['--mount', ...shell, process.execPath],
      device: device.fd,
    }
    this.hangs = new Promise((resolve) => (this.#noteRead = resolve))
    this.#released = new Promise((resolve) => (this.#release = resolve))
  }

  static async open(): Promise<SlowDisk> {
    return new SlowDisk(await open('/dev/fuse', 'r+'))
  }

  /** To be called when the program runs, and so has mounted it. */
  serve(): void {
    this.#served = serve(this.#device, {
      size,
      read: async (offset, length) => {
        this.#noteRead()
        await this.#released
        return Buffer.alloc(Math.max(0, Math.min(length, size - offset)), 'x')
      },
    })
  }

  /** The disk has recovered: all reads are answered. */
  letGo(): void {
    this.#release()
  }

  /** Resolves when the program has ended, which it is free to do from now on. */
  async close(): Promise<void> {
    this.letGo()
    await this.#served
    await this.#device.close()
    rmdirSync(this.#folder)
  }
}
