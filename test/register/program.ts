/**
 * Runs unmodified programs: under plain Node, the oracle, and with register loaded before them, on a driver. Owns their
 * files and what they find in scope; never looks inside what they print. URING_NET_TEST_NODES names other Node binaries,
 * separated by colons; each is compared with itself.
 */
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { createCertificate } from '../../examples/demo/certificate'
import { register, writeApp } from '../cli/program'
import type { Outcome } from '../cli/program'
import { library } from '../e2e/program'
import { drivers } from '../e2e/subjects'

export { removeApps } from '../cli/program'
export type { Outcome } from '../cli/program'

export const nodes = (process.env['URING_NET_TEST_NODES'] ?? process.execPath).split(':')

/** 'plain' is Node without register; the others are values of URING_NET_DRIVER. */
export type Mode = 'plain' | 'uring' | 'epoll' | 'node' | 'auto'

export interface ProgramOptions {
  node?: string
  /** How register is loaded; --require when absent. */
  by?: 'require' | 'import' | 'NODE_OPTIONS'
  /** For node, before the program. */
  flags?: string[]
  /** For the program. */
  args?: string[]
  env?: NodeJS.ProcessEnv
}

const { key, cert } = createCertificate(['localhost', '127.0.0.1'])
const pair = JSON.stringify({ key, cert })

/**
 * In scope of every program: `say`, which prints at once; `carried(n)`, whether the driver of this thread has
 * carried sockets and sent n bytes for them and more (under plain Node: true); `hash`; `library`, the path of the package.
 */
const prelude = `
const library = ${JSON.stringify(library)}
const say = (...words) => require('node:fs').writeSync(1, words.join(' ') + '\\n')
const carried = (bytes) => {
  if (process.env.TEST_MODE === 'plain') return true
  const { bytesSent, opened } = require(library).driver.stats()
  return bytesSent >= bytes && opened > 0
}
const hash = (data) => require('node:crypto').createHash('sha256').update(data).digest('hex').slice(0, 16)
`

/** What ES modules need to run the same text. */
const forModules = `import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
`

/** Writes a program. Its path; a name that ends in .mjs makes it an ES module. */
export function program(source: string, name = 'app.js'): string {
  return writeApp(name, name.endsWith('.mjs') ? forModules + prelude + source : prelude + source)
}

/** Node's arguments and environment for a program in that mode. */
export function command(
  mode: Mode,
  { by = 'require', flags = [], env = {} }: ProgramOptions = {},
): { args: string[]; env: NodeJS.ProcessEnv } {
  const { URING_NET_DRIVER: _driver, NODE_OPTIONS: _options, ...inherited } = process.env
  const all = { ...inherited, TEST_MODE: mode, TEST_PAIR: pair, ...env }
  if (mode === 'plain') return { args: flags, env: all }
  const ours: NodeJS.ProcessEnv = { ...all, URING_NET_DRIVER: mode }
  if (by !== 'NODE_OPTIONS') return { args: [`--${by}`, register, ...flags], env: ours }
  return { args: flags, env: { ...ours, NODE_OPTIONS: `--require ${register}` } }
}

/** Runs the program at `path` to its end; one that hangs is ended by force, which its exit tells. */
export function run(mode: Mode, path: string, options: ProgramOptions = {}): Promise<Outcome> {
  const { args, env } = command(mode, options)
  const child = spawn(options.node ?? process.execPath, [...args, path, ...(options.args ?? [])], {
    env,
    cwd: dirname(path),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
  })
  const outcome: Outcome = { stdout: '', stderr: '', code: null, signal: null }
  child.stdout.on('data', (data: Buffer) => (outcome.stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (outcome.stderr += data.toString()))
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ ...outcome, code, signal }))
  })
}

/** A program that has to print `lines`, silently otherwise, under plain Node and on each driver alike. */
export interface Scenario {
  source: string
  lines: string[]
  name?: string
  options?: ProgramOptions
}

export function expectLines(outcome: Outcome, lines: string[]): void {
  expect(outcome).toEqual({
    stdout: lines.map((line) => `${line}\n`).join(''),
    stderr: '',
    code: 0,
    signal: null,
  })
}

/** One test for each Node and driver, and one for Node itself: the oracle has to print the same. */
export function scenarios(all: Record<string, Scenario>): void {
  describe.each(nodes)('%s', (node) => {
    describe.each(Object.entries(all))('%s', (_title, { source, lines, name, options }) => {
      const path = (): string => program(source, name)
      test('under plain Node', async () => {
        expectLines(await run('plain', path(), { ...options, node }), lines)
      })
      test.each(drivers)('on %s', async (driver) => {
        expectLines(await run(driver, path(), { ...options, node }), lines)
      })
    })
  })
}

/** What the programs of a file print when nothing runs on a driver, which they have to notice. */
export async function expectNoticed({ source, lines, name, options }: Scenario): Promise<void> {
  const { stdout } = await run('node', program(source, name), options)
  expect(stdout.split('\n').slice(0, -1)).not.toEqual(lines)
}

/** This package's compiled directory. */
export const packageDirectory = join(library, '..', '..', '..')
