/** Runs the built command line as a process of its own. Owns the process and the directories apps are written to. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { programDeadlineMs, waitDeadlineMs } from '../deadlines'
import { dist } from '../e2e/program'

export const cli = join(dist, 'src', 'cli', 'main.js')
export const register = join(dist, 'src', 'register.js')

export interface Outcome {
  stdout: string
  stderr: string
  code: number | null
  signal: NodeJS.Signals | null
}

interface CliOptions {
  /** URING_NET_DRIVER; unset when absent, whatever the tests themselves run on. */
  driver?: string | undefined
  env?: NodeJS.ProcessEnv
  /** For the node that runs the command line. */
  flags?: string[]
  /** What starts that node, as in ['sh', '-c', 'ulimit …; exec "$@"', 'sh']. */
  under?: string[]
  cwd?: string
  /** The program's file, when not by its own name. */
  program?: string
}

export function startCli(args: string[], options: CliOptions = {}): ChildProcess {
  const { driver, env = {}, flags = [], under = [], cwd, program = cli } = options
  const [file, ...rest] = [...under, process.execPath, ...flags, program, ...args]
  const { URING_NET_DRIVER: _driver, NODE_OPTIONS: _options, ...inherited } = process.env
  return spawn(file!, rest, {
    env: { ...inherited, ...(driver === undefined ? {} : { URING_NET_DRIVER: driver }), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
    ...(cwd === undefined ? {} : { cwd }),
  })
}

export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const outcome: Outcome = { stdout: '', stderr: '', code: null, signal: null }
  child.stdout!.on('data', (data: Buffer) => (outcome.stdout += data.toString()))
  child.stderr!.on('data', (data: Buffer) => (outcome.stderr += data.toString()))
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ ...outcome, code, signal }))
  })
}

export function runCli(args: string[], options?: CliOptions): Promise<Outcome> {
  return outcomeOf(startCli(args, options))
}

const directories: string[] = []

/** Writes an app, and ends it by force if it outlives its test. Its path. */
export function writeApp(name: string, source: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'uring-net-cli-'))
  directories.push(directory)
  const path = join(directory, name)
  writeFileSync(path, `${source}\nsetTimeout(() => process.exit(99), ${waitDeadlineMs}).unref();\n`)
  return path
}

export function removeApps(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
}
