/** Runs a whole program as a child process on one implementation, for what only a process of its own shows. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'

export interface Outcome {
  stdout: string
  stderr: string
  code: number | null
}

/** The compiled project. */
export const dist = join(__dirname, '..', '..', 'dist')
/** The compiled package. */
export const library = join(dist, 'src', 'index.js')

interface ProgramOptions {
  env?: NodeJS.ProcessEnv
  /** For node itself. */
  flags?: string[]
}

/** Runs a program in which `net` is uring-net on that driver (or node:net), and `nodeNet` is node:net. */
export function run(
  driver: string,
  source: string,
  { env = {}, flags = [] }: ProgramOptions = {},
): Promise<Outcome> {
  const module = driver === 'node:net' ? driver : library
  const prelude = `const net = require(${JSON.stringify(module)});const nodeNet = require('node:net');`
  const child = spawn(process.execPath, [...flags, '-e', prelude + source], {
    env: { ...process.env, ...(driver === 'node:net' ? {} : { URING_NET_DRIVER: driver }), ...env },
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
  })
  const outcome: Outcome = { stdout: '', stderr: '', code: null }
  child.stdout.on('data', (data: Buffer) => (outcome.stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (outcome.stderr += data.toString()))
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ ...outcome, code }))
  })
}
