/**
 * The programs in C: the load generator and the two floors. Builds what is older than its sources, and says where the
 * binaries are. It never runs them.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const FLAGS = ['-O2', '-std=gnu11', '-Wall', '-Wextra']

export interface NativePrograms {
  load: string
  'floor-epoll': string
  'floor-uring': string
}

/** Compiles what is in `sources` into `folder` with gcc (or $CC). Throws with the compiler's words when that fails. */
export function buildPrograms(sources: string, folder: string): NativePrograms {
  mkdirSync(folder, { recursive: true })
  const load = join(sources, 'load')
  const parts = readdirSync(load).map((name) => join(load, name))
  return {
    load: build(parts, join(folder, 'load')),
    'floor-epoll': build([join(sources, 'floor_epoll.c')], join(folder, 'floor-epoll')),
    'floor-uring': build([join(sources, 'floor_uring.c')], join(folder, 'floor-uring'), '-luring'),
  }
}

function build(sources: readonly string[], binary: string, ...libraries: string[]): string {
  if (modifiedAt(binary) > Math.max(...sources.map(modifiedAt))) return binary
  const units = sources.filter((source) => source.endsWith('.c'))
  const compiler = process.env['CC'] ?? 'gcc'
  try {
    const args = [...FLAGS, '-o', binary, ...units, ...libraries]
    execFileSync(compiler, args, { encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error(`cannot build ${units.join(', ')} with ${compiler}: ${stderr || message}`)
  }
  return binary
}

function modifiedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
