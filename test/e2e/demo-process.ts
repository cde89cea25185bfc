/**
 * Runs the compiled demo as a child process for the tests beside it: collects what it prints, waits for a line, ends
 * it. Never builds it.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const program = join(__dirname, '..', '..', 'dist', 'examples', 'demo', 'main.js')

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  output: string
}

export interface Demo {
  /** What it has printed so far, both streams. */
  output(): string
  /** The first match, once it is printed; rejects when the demo ends before. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
  ended: Promise<Ended>
}

/** Starts the demo on a driver; it is killed after `deadlineMs` whatever happens. */
export function startDemo(driver: string, args: string[], deadlineMs: number): Demo {
  if (!existsSync(program)) throw new Error(`${program} is missing: build first (npm run build)`)
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...process.env, URING_NET_DRIVER: driver, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const listeners = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      for (const listener of listeners) listener()
    })
  }
  const deadline = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(deadline)
      resolve({ code, signal, output })
    })
  })
  return {
    output: () => output,
    ended,
    kill: (signal) => child.kill(signal),
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output)
          if (match) {
            listeners.delete(look)
            resolve(match)
          }
        }
        listeners.add(look)
        void ended.then(() => reject(new Error(`the demo ended without ${pattern}:\n${output}`)))
        look()
      }),
  }
}
