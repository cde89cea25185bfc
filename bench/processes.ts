/**
 * Child processes of the benchmark: start, wait with a deadline, end. Every child is known here until it has ended, so
 * that an interrupted run leaves none behind. It never interprets what a child prints.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { basename } from 'node:path'

const running = new Set<ChildProcess>()

/** Kills every child that still runs. */
export function endAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** A child whose output is collected. */
export class Program {
  readonly #child: ChildProcess
  readonly #ended: Promise<string | undefined>
  readonly #name: string
  #output = ''
  #errors = ''
  #isStopped = false
  #onOutput: () => void = () => {}

  constructor(command: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    const [file = '', ...rest] = command
    // Without folders: the message may end up in a report.
    this.#name = command.map((word) => (word.startsWith('/') ? basename(word) : word)).join(' ')
    const child = spawn(file, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    running.add(child)
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text
      this.#onOutput()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-4000)
    })
    this.#ended = new Promise((resolve) => {
      child.on('error', (error) => resolve(error.message))
      child.on('close', (code, signal) => {
        running.delete(child)
        const how = signal ? `ended by ${signal}` : code === 0 ? undefined : `exit code ${code}`
        resolve(how)
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** The end of what it said on stderr. */
  get complaints(): string {
    return this.#errors.trim()
  }

  /** The first line it prints. Rejects when it ends before, or takes too long. */
  async firstLine(deadlineMs: number): Promise<string> {
    const line = new Promise<string>((resolve) => {
      this.#onOutput = () => {
        const end = this.#output.indexOf('\n')
        if (end >= 0) resolve(this.#output.slice(0, end))
      }
      this.#onOutput()
    })
    const early = this.#ended.then((how) => {
      throw this.#failure(how ?? 'ended without a line')
    })
    return this.#withDeadline(Promise.race([line, early]), deadlineMs)
  }

  /** All it prints. Rejects when it fails or takes too long. */
  async finish(deadlineMs: number): Promise<string> {
    const how = await this.#withDeadline(this.#ended, deadlineMs)
    if (how !== undefined) throw this.#failure(how)
    return this.#output
  }

  /** Rejects, should it end before `stop` is called. */
  async mustOutlive(): Promise<never> {
    const how = await this.#ended
    if (!this.#isStopped) throw this.#failure(how ?? 'ended too early')
    return new Promise<never>(() => {})
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  async #withDeadline<T>(work: Promise<T>, deadlineMs: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(this.#failure(`no end after ${deadlineMs} ms`))
        this.#child.kill('SIGKILL')
      }, deadlineMs)
    })
    try {
      return await Promise.race([work, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #failure(how: string): Error {
    const { complaints } = this
    return new Error(`${this.#name}: ${how}${complaints ? `\n${complaints}` : ''}`)
  }
}
