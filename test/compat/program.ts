/** Starts the compiled suite for its tests, with a deadline. Owns those processes. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { dist } from '../e2e/program'

export const cli = join(dist, 'src', 'cli', 'main.js')
export const suite = join(dist, 'test', 'compat', 'main.js')

/** Where dist has something compiled from this folder. */
export function compiled(...path: string[]): string {
  return join(dist, 'test', 'compat', ...path)
}

export interface Ended {
  code: number
  stdout: string
  stderr: string
}

/** Resolves also when it fails. */
export function runNode(args: readonly string[], deadlineMs: number): Promise<Ended> {
  const { NODE_OPTIONS: _options, URING_NET_DRIVER: _driver, ...env } = process.env
  // SIGTERM is handed on to what it starts; SIGKILL would leave it behind.
  const options = { env, timeout: deadlineMs, maxBuffer: 64 * 1024 * 1024 }
  return new Promise((resolve) => {
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ code, stdout, stderr })
    })
  })
}
