/**
 * Starts the program that runs the rows, in one mode with one Node, and collects the results. A row that ends the program
 * costs its own result only: the program is started again with the rows that are left. Compares nothing.
 */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { waitDeadlineMs } from '../deadlines'

const program = join(__dirname, 'child.js')
/** Of all rows in one mode: half a minute on an idle machine. */
const runDeadlineMs = 600_000

/** `mode` is that of worlds.js; `driver` is empty where it does not matter. */
export interface Run {
  node: string
  mode: string
  driver: string
}

export interface Results {
  /** Whether the driver carried what a socket read; undefined when the program did not start. */
  isCarried: boolean | undefined
  rows: Map<string, unknown>
}

export interface Theme {
  theme: string
  titles: string[]
}

interface Line {
  title?: string
  isCarried?: boolean
  milliseconds?: number
}

const register = join(__dirname, '..', '..', 'dist', 'src', 'register.js')

/** Both ways in have to do the same: one driver comes by each. */
function flagsOf(driver: string): string[] {
  return driver === 'uring'
    ? ['--require', register]
    : ['--import', String(pathToFileURL(register))]
}

/** Runs these rows, and says how each one ended: with a result, a deadline, an exception, or the process. */
export async function runRows(run: Run, titles: readonly string[]): Promise<Results> {
  const results: Results = { isCarried: undefined, rows: new Map() }
  let left = titles
  while (left.length > 0) {
    results.isCarried = undefined
    const ending = await runOnce(run, left, results)
    left = left.filter((title) => !results.rows.has(title))
    if (results.isCarried === undefined) {
      // It did not even start, and would not the next time either.
      for (const title of left) results.rows.set(title, { crashed: ending })
      break
    }
    const [crashed] = left
    if (crashed !== undefined) results.rows.set(crashed, { crashed: ending })
    left = left.slice(1)
  }
  return results
}

async function runOnce(
  { node, mode, driver }: Run,
  titles: readonly string[],
  results: Results,
): Promise<string> {
  const flags = mode === 'register' ? flagsOf(driver) : []
  const { NODE_OPTIONS: _, URING_NET_DRIVER: __, ...env } = process.env
  const child = spawn(node, [...flags, program, mode, JSON.stringify(titles)], {
    env: {
      ...env,
      ...(driver === '' ? {} : { URING_NET_DRIVER: driver }),
      TEST_ROW_DEADLINE_MS: String(waitDeadlineMs),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: runDeadlineMs,
    killSignal: 'SIGKILL',
  })
  let stderr = ''
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
  createInterface(child.stdout).on('line', (line) => {
    const { title, milliseconds: _, ...result } = JSON.parse(line) as Line
    if (title !== undefined) results.rows.set(title, result)
    else if (result.isCarried !== undefined) results.isCarried = result.isCarried
  })
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve(`${signal ?? code}: ${stderr.slice(-400)}`))
  })
}

/** At most so many of them at the same time. */
export async function inTurn<T>(limit: number, tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < tasks.length) {
      const index = next++
      results[index] = await tasks[index]!()
    }
  }
  await Promise.all(Array.from({ length: limit }, worker))
  return results
}
