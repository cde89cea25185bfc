/**
 * Plays a program under plain Node, the oracle, and on each driver, loaded by register and used as a library, and compares
 * what came of it. Owns the processes; every one has a deadline.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { writeApp } from '../cli/program'
import { library } from '../e2e/program'
import { drivers } from '../e2e/subjects'
import { command, nodes } from '../register/program'
import type { Mode } from '../register/program'

const stage = join(__dirname, 'stage.js')
const prelude = `const { net, attach, pair, say, places, listen, peer, closed, turn, told, events, done, once } = require(${JSON.stringify(stage)});`

/** register: loaded before the program. library: the program's own `net` is the package. */
export type Way = 'register' | 'library'

export interface Played {
  /** What `done` was given. */
  result: unknown
  /** Each line that was printed. */
  lines: string[]
  stderr: string
  exit: string
  driver: string
  /** The driver has carried sockets. */
  isCarried: boolean
  unexpectedCompletions: number
  /** The most memory that was resident until `done`, in KiB. */
  peakKb: number
}

export interface Scene {
  /** The program: see stage.js for what is in scope. It ends by `done(result)`. */
  source: string
  ways?: Way[]
  flags?: string[]
  /** The program is the argument of -e, or typed into the REPL. */
  by?: 'file' | 'eval' | 'repl'
  /** What starts it, as in ['sh', '-c', 'ulimit …; exec "$@"', 'sh']. */
  under?: string[]
  /** What plain Node answers, where it is known. */
  expected?: unknown
  /** What has to hold for ours; the same result as plain Node's when absent. */
  holds?: (ours: Played, plain: Played) => void
  /** It may be that libuv reads for all sockets of the program. */
  isNotCarried?: boolean
}

/** Runs the program to its end; one that hangs is ended by force, which its exit tells. */
export async function play(mode: Mode, way: Way, node: string, scene: Scene): Promise<Played> {
  const { flags = [], by = 'file', under = [] } = scene
  const directory = mkdtempSync(join(tmpdir(), 'uring-net-field-'))
  const source = `${prelude}${scene.source}`
  const path = writeApp('app.js', source)
  const { args, env } = command(way === 'library' ? 'plain' : mode, { flags })
  const what = { file: [path], eval: ['-e', source], repl: ['-i'] }[by]
  const [file, ...rest] = [...under, node, ...args, ...what]
  const child = spawn(file!, rest, {
    env: {
      ...env,
      ...(mode === 'plain' ? {} : { URING_NET_DRIVER: mode }),
      TEST_MODE: mode,
      TEST_WAY: way,
      TEST_LIBRARY: library,
      TEST_DIRECTORY: directory,
    },
    cwd: dirname(path),
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
  })
  child.stdin.on('error', () => {})
  if (by === 'repl') child.stdin.write(`${source.replace(/\n/g, ' ')}\n`)
  else child.stdin.end()
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
  const exit = await new Promise<string>((resolve) => {
    child.on('close', (code, signal) => resolve(String(signal ?? code)))
  })
  rmSync(directory, { recursive: true, force: true })
  const lines = stdout.split('\n').slice(0, -1)
  // A prompt of the REPL is before it, and a peer's lines may be behind it.
  const said = /\{"result".*\}/.exec(stdout)?.[0] ?? '{}'
  return { ...(JSON.parse(said) as Played), lines, stderr, exit }
}

/** The scenes of a test's file: one test for the oracle, and one for each way and driver. */
export function scenes(all: Record<string, Scene>): void {
  describe.each(nodes)('%s', (node) => {
    describe.each(Object.entries(all))('%s', (_title, scene) => {
      const { ways = ['register', 'library'], expected, holds, isNotCarried = false } = scene
      let oracle: Promise<Played> | undefined
      const plain = (): Promise<Played> => (oracle ??= play('plain', 'register', node, scene))

      test('under plain Node', async () => {
        const { result, stderr, exit } = await plain()
        expect({ stderr, exit }).toEqual({ stderr: '', exit: '0' })
        expect(result).toBeDefined()
        if (expected !== undefined) expect(result).toEqual(expected)
      })

      const subjects = ways.flatMap((way) => drivers.map((driver) => [way, driver] as const))
      test.each(subjects)('in %s mode on %s', async (way, driver) => {
        const ours = await play(driver, way, node, scene)
        const { stderr, exit, unexpectedCompletions } = ours
        expect({ stderr, exit }).toEqual({ stderr: '', exit: '0' })
        const isCarried = ours.isCarried || isNotCarried
        expect([ours.driver, isCarried, unexpectedCompletions]).toEqual([driver, true, 0])
        if (holds === undefined) expect(ours.result).toEqual((await plain()).result)
        else holds(ours, await plain())
      })
    })
  })
}
