/**
 * Starts the processes in which checks run, and survives them: a check that ends its process, or that blocks it, has failed.
 * After a failure of any kind the next check runs in another process: what went wrong may have spoiled it. Owns the
 * processes, at most `parallel` at a time.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Clocks } from './check'
import { lostRecord } from './report/record'
import type { OutcomeRecord } from './report/record'
import type { Source } from './source'
import type { Reply, Request, SubjectFacts } from './worker'

const entry = join(__dirname, 'main.js')
const startMs = 20_000
const outputMs = 500
const outputCharsMax = 2000

export interface Job {
  source: Source
  subject: string
  /** URING_NET_DRIVER; undefined leaves it as it is. */
  driver: string | undefined
  checks: readonly string[]
  clocks: Clocks
  /** Its process goes on after failures, and may serve the next job as well. */
  shares?: boolean
}

export interface JobEvents {
  onStart?: (job: Job, check: string) => void
  /** Of a check that has taken its process with it after its end, a second time. */
  onOutcome: (job: Job, outcome: OutcomeRecord) => void
  onDone?: (job: Job) => void
}

export async function listSubjects(
  source: Source,
  driver: string | undefined,
): Promise<readonly SubjectFacts[]> {
  const worker = new Worker(driver)
  let subjects: readonly SubjectFacts[] = []
  try {
    await worker.ask({ ask: 'subjects', source }, startMs, (reply) => {
      if (reply.tell !== 'subjects') return false
      subjects = reply.subjects
      return true
    })
  } finally {
    worker.end()
  }
  return subjects
}

/** Resolves when all are through. */
export async function runJobs(
  jobs: readonly Job[],
  parallel: number,
  events: JobEvents,
): Promise<void> {
  const waiting = [...jobs]
  const lane = async (): Promise<void> => {
    let worker: Worker | undefined
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      if (job.shares !== true || worker?.driver !== job.driver) {
        worker?.end()
        worker = undefined
      }
      worker = await runJob(job, worker, events)
      events.onDone?.(job)
    }
    worker?.end()
  }
  await Promise.all(Array.from({ length: Math.min(parallel, jobs.length) }, lane))
}

/** The process that is left, if there is one. */
async function runJob(
  job: Job,
  worker: Worker | undefined,
  { onStart, onOutcome }: JobEvents,
): Promise<Worker | undefined> {
  let rest = job.checks
  let last: string | undefined
  while (rest.length > 0) {
    worker ??= new Worker(job.driver)
    let running: string | undefined
    let isSpoiled = false
    const { source, subject, clocks } = job
    const quietMs = startMs + clocks.checkMs + 2 * clocks.signalMs
    try {
      await worker.ask({ ask: 'run', source, subject, checks: rest, clocks }, quietMs, (reply) => {
        if (reply.tell === 'started') {
          running = last = reply.check
          onStart?.(job, running)
        } else if (reply.tell === 'finished') {
          running = undefined
          rest = rest.filter((id) => id !== reply.outcome.check)
          onOutcome(job, reply.outcome)
          isSpoiled = job.shares !== true && isFailure(reply.outcome)
        }
        return isSpoiled || reply.tell === 'done'
      })
      if (!isSpoiled) return worker
      worker?.end()
      worker = undefined
    } catch (error) {
      const { message } = error as Error
      worker?.end()
      worker = undefined
      const lost = running ?? last
      if (lost === undefined) {
        for (const id of rest) onOutcome(job, lostRecord(id, message))
        return undefined
      }
      const when = running === undefined ? 'after the end of this check' : 'during this check'
      onOutcome(job, lostRecord(lost, `${message} ${when}`))
      rest = rest.filter((id) => id !== lost)
    }
  }
  return worker
}

function isFailure({ status }: OutcomeRecord): boolean {
  return status === 'failed' || status === 'known failure'
}

/** A process, asked one thing at a time. */
class Worker {
  readonly driver: string | undefined
  readonly #child: ChildProcess
  #output = ''

  constructor(driver: string | undefined) {
    this.driver = driver
    const env = driver === undefined ? process.env : { ...process.env, URING_NET_DRIVER: driver }
    // For checks of what is collected.
    const execArgv = [...new Set([...process.execArgv, '--expose-gc'])]
    this.#child = fork(entry, ['--worker'], {
      env,
      execArgv,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    const keep = (data: Buffer): void => {
      this.#output = (this.#output + data.toString()).slice(-outputCharsMax)
    }
    this.#child.stdout!.on('data', keep)
    this.#child.stderr!.on('data', keep)
    this.#child.on('error', () => {})
  }

  /** Hands out replies until one of them is said to be the last; rejects when none comes for that long. */
  ask(request: Request, quietMs: number, onReply: (reply: Reply) => boolean): Promise<void> {
    const child = this.#child
    return new Promise((resolve, reject) => {
      const isQuiet = (): void => end(new Error(`nothing happened for ${quietMs} ms`))
      const timer = setTimeout(isQuiet, quietMs)
      const onMessage = (reply: Reply): void => {
        timer.refresh()
        if (reply.tell === 'broken') end(new Error(reply.message))
        else if (onReply(reply)) end()
      }
      const onClose = (code: number | null, signal: string | null): void => {
        const how = signal === null ? `with exit code ${code}` : `by ${signal}`
        end(new Error([`the process ended ${how}`, this.#output.trim()].filter(Boolean).join(': ')))
      }
      // A process of its own that holds its output open does not keep us.
      const onExit = (code: number | null, signal: string | null): void => {
        closing = setTimeout(onClose, outputMs, code, signal)
      }
      let closing: NodeJS.Timeout | undefined
      const end = (error?: Error): void => {
        clearTimeout(timer)
        clearTimeout(closing)
        child.off('message', onMessage).off('close', onClose).off('exit', onExit)
        if (error === undefined) resolve()
        else reject(error)
      }
      child.on('message', onMessage).on('close', onClose).on('exit', onExit)
      if (child.exitCode !== null || child.signalCode !== null) {
        onClose(child.exitCode, child.signalCode)
      } else {
        child.send(request, (error) => {
          if (error !== null) end(new Error(`the process cannot be reached: ${error.message}`))
        })
      }
    })
  }

  end(): void {
    this.#child.removeAllListeners('message')
    this.#child.kill('SIGKILL')
  }
}
