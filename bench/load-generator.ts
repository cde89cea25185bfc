/**
 * Builds load.c when it is newer than its binary, and says where the binary is. It never runs it.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

const FLAGS = ['-O2', '-std=gnu11', '-Wall', '-Wextra']

/** Compiles `source` to `binary` with gcc (or $CC) if needed. Throws with the compiler's words when that fails. */
export function buildLoadGenerator(source: string, binary: string): void {
  if (modifiedAt(binary) > modifiedAt(source)) return
  mkdirSync(dirname(binary), { recursive: true })
  const compiler = process.env['CC'] ?? 'gcc'
  try {
    execFileSync(compiler, [...FLAGS, '-o', binary, source], { encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error(`cannot build the load generator with ${compiler}: ${stderr || message}`)
  }
}

function modifiedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
