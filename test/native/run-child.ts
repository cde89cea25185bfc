/** Runs the programs of child.js to their end. Owns the child process, its limits and its deadline. */
import { spawn } from 'node:child_process'
import type { ChildProcess, StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { programDeadlineMs, within } from '../deadlines'
import { ordinaryUser } from '../ordinary-user'
import { addonPath } from './rig'

export const program = join(__dirname, 'child.js')
export const env = {
  ...process.env,
  URING_NET_ADDON_UNDER_TEST: addonPath,
  // libuv's own rings are not the matter here.
  UV_USE_IO_URING: '0',
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly said: unknown[]
  readonly stderr: string
}

export interface Setting {
  readonly args?: string[]
  /** For the shell, before it becomes the program. */
  readonly ulimit?: string
  /** Descriptors from 3 on. */
  readonly stdio?: StdioOptions[number][]
  /** A user who is not the superuser, if we are. */
  readonly asOrdinaryUser?: boolean
  /** Called as soon as the program runs. */
  readonly onSpawn?: (child: ChildProcess) => void
  /** Called for everything it says. */
  readonly onSaid?: (message: unknown) => void
}

/** Starts a program of child.js and waits for its end. */
export async function run(name: string, kind: string, setting: Setting = {}): Promise<Ended> {
  const words = [process.execPath, program, name, kind, ...(setting.args ?? [])]
  const script = `ulimit -c 0; ${setting.ulimit ?? ':'}; exec "$@"`
  const child = spawn('bash', ['-c', script, 'bash', ...words], {
    env,
    stdio: ['ignore', 'pipe', 'pipe', ...(setting.stdio ?? [])] as StdioOptions,
    ...(setting.asOrdinaryUser ? ordinaryUser() : {}),
  })
  setting.onSpawn?.(child)
  const said: unknown[] = []
  let rest = ''
  let stderr = ''
  child.stdout!.on('data', (chunk) => {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      const message: unknown = JSON.parse(line)
      said.push(message)
      setting.onSaid?.(message)
    }
  })
  child.stderr!.on('data', (chunk) => (stderr += chunk))
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  try {
    const [code, signal] = await within(`end of ${name}`, closed, programDeadlineMs)
    return { code, signal, said, stderr }
  } finally {
    child.kill('SIGKILL')
  }
}
