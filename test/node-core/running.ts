/**
 * Runs test files, one process each, and says how each ended. Owns every process it starts until nothing of it is left:
 * a test's process group, and what left the group, end with the test. It never judges an outcome.
 */
import { spawn } from 'node:child_process'
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { MARK } from './environment'
import { directives } from './selection'
import type { Ending } from './why'
import { tellingLine } from './why'

const TAIL_LINES = 40
const OUTPUT_BYTES_MAX = 256 * 1024

/** Below the range that the kernel hands out by itself (net.ipv4.ip_local_port_range). */
const FIRST_PORT = 12346
const PORTS_PER_WORKER = 10
const PORT_BLOCKS = 900

export interface Ended extends Ending {
  ms: number
  /** Passed, but not at the first attempt; `tail` is then that of the first. */
  flaky?: boolean
  /** Processes that outlived the test. */
  strays?: number
}

export interface Settings {
  /** The folder that holds parallel/ and sequential/. */
  testRoot: string
  node: string
  /** Between the binary and the flags of the test. */
  nodeArguments: readonly string[]
  env: NodeJS.ProcessEnv
  timeoutMs: number
}

export class Runner {
  readonly #settings: Settings
  readonly #scratch = mkdtempSync(join(tmpdir(), 'node-core-'))
  readonly #groups = new Set<number>()
  readonly #firstPort = FIRST_PORT + (process.pid % PORT_BLOCKS) * 2 * PORTS_PER_WORKER
  #serial = 0

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Runs all of them, `jobs` at a time, and tells `onEnd` of each. */
  async runAll(
    names: readonly string[],
    jobs: number,
    onEnd: (name: string, ended: Ended) => void,
  ): Promise<void> {
    const rest = names[Symbol.iterator]()
    const work = async (worker: number) => {
      for (const name of rest) onEnd(name, await this.run(name, worker))
    }
    await Promise.all(Array.from({ length: jobs }, (_, worker) => work(worker)))
  }

  /** Runs one. Two that run at the same time need two `worker` numbers. */
  async run(name: string, worker = 0): Promise<Ended> {
    const { testRoot, node, nodeArguments, env, timeoutMs } = this.#settings
    const file = join(testRoot, name)
    const asked = directives(readFileSync(file, 'utf8'))
    const serial = ++this.#serial
    const mark = `${basename(this.#scratch)}.${serial}`
    const folder = join(this.#scratch, `w${worker}`)
    const log = join(this.#scratch, `${serial}.log`)
    mkdirSync(folder, { recursive: true })
    // A file, not a pipe: a grandchild that keeps it open delays nothing.
    const output = openSync(log, 'w')
    const startedAt = performance.now()
    const child = spawn(node, [...nodeArguments, ...asked.flags, file], {
      cwd: testRoot,
      detached: true, // A process group of its own, to be ended whole.
      stdio: ['ignore', output, output],
      env: {
        ...env,
        [MARK]: mark,
        NODE_TEST_DIR: folder,
        TEST_THREAD_ID: String(worker),
        TEST_SERIAL_ID: String(serial),
        TEST_PARALLEL: name.startsWith('parallel/') ? '1' : '0',
        NODE_COMMON_PORT: String(this.#firstPort + worker * PORTS_PER_WORKER),
        ...asked.env,
      },
    })
    closeSync(output)
    const group = child.pid
    if (group !== undefined) this.#groups.add(group)
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      if (group !== undefined) killGroup(group)
    }, timeoutMs)
    const end = await new Promise<{ code: number | null; signal?: string | null; error?: Error }>(
      (resolve) => {
        child.on('error', (error) => resolve({ code: null, error }))
        child.on('exit', (code, signal) => resolve({ code, signal }))
      },
    )
    clearTimeout(timer)
    const ms = Math.round(performance.now() - startedAt)
    if (group !== undefined) {
      killGroup(group)
      this.#groups.delete(group)
    }
    const strays = killMarked(mark)
    let text = readEnds(log)
    if (timedOut) text += `\n[ended after ${timeoutMs / 1000} s]`
    if (end.error) text += `\n[not started: ${end.error.message}]`
    rmSync(log, { force: true })
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    return {
      ...(timedOut ? failed({ timedOut: true }, text) : ending(end.code, end.signal, text)),
      ms,
      ...(strays > 0 && { strays }),
    }
  }

  /** Ends whatever still runs and removes what was written. */
  dispose(): void {
    for (const group of this.#groups) killGroup(group)
    killMarked(basename(this.#scratch))
    rmSync(this.#scratch, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** How a process ended, in the terms of the suite: a test that cannot run says so and exits with 0. */
export function ending(
  code: number | null,
  signal: string | null | undefined,
  output: string,
): Ending {
  if (code !== 0) {
    return failed({ ...(signal ? { signal } : code !== null && { code }) }, output)
  }
  const skipped = /^1\.\.0 # Skipped:?(.*)$/m.exec(output)
  return skipped ? { status: 'skip', reason: skipped[1]?.trim() ?? '' } : { status: 'pass' }
}

function failed(how: Partial<Ending>, output: string): Ending {
  const tail = output.trimEnd().split('\n').slice(-TAIL_LINES).join('\n')
  return { status: 'fail', ...how, line: tellingLine(output), tail }
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // Nothing of it is left.
  }
}

/** Ends processes that left their group, found by the mark in their environment, so that nobody else's is hit. */
function killMarked(mark: string): number {
  const pattern = `${MARK}=${mark}`
  let count = 0
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    try {
      const variables = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0')
      if (!variables.some((text) => text === pattern || text.startsWith(`${pattern}.`))) continue
      process.kill(pid, 'SIGKILL')
      count++
    } catch {
      // Gone, or not ours to look at.
    }
  }
  return count
}

/** A test may write without end: the beginning and the end are enough. */
function readEnds(file: string): string {
  const descriptor = openSync(file, 'r')
  try {
    const { size } = fstatSync(descriptor)
    const read = (from: number, bytes: number) => {
      const buffer = Buffer.alloc(bytes)
      return buffer.toString('utf8', 0, readSync(descriptor, buffer, 0, bytes, from))
    }
    const half = OUTPUT_BYTES_MAX / 2
    if (size <= OUTPUT_BYTES_MAX) return read(0, size)
    return `${read(0, half)}\n[${size - 2 * half} bytes left out]\n${read(size - half, half)}`
  } finally {
    closeSync(descriptor)
  }
}
