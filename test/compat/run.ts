/**
 * Runs one check on one subject: hands out pairs, keeps the deadlines, undoes everything afterwards, and turns what
 * happened into an outcome. One check at a time in a process: an uncaught exception belongs to the check that runs.
 */
import type { Check, CheckContext, Clocks } from './check'
import { observe } from './observe'
import type { TraceEntry } from './observe'
import type { Capability, Pair, Subject } from './subject'

export const defaultClocks: Clocks = { signalMs: 2000, silenceMs: 60, checkMs: 15_000 }

export type Status =
  | 'passed'
  | 'failed'
  /** The subject lacks what the check needs: `reason`. */
  | 'not applicable'
  /** One of the subject's known failures: `reason`. */
  | 'known failure'

export interface Outcome {
  check: Check
  subject: string
  status: Status
  /** For all but 'passed'; of a failure the message. */
  reason: string
  /** As node:assert has them, where the failure was a comparison. */
  expected?: unknown
  observed?: unknown
  stack?: string
  trace: readonly TraceEntry[]
  ms: number
}

class Timeout extends Error {}

export async function runCheck(
  check: Check,
  subject: Subject,
  clocks: Clocks = defaultClocks,
): Promise<Outcome> {
  const start = performance.now()
  const trace: TraceEntry[] = []
  const made: Partial<Outcome> = {}
  const missing = (check.needs ?? []).filter((need) => subject.capabilities[need] !== true)
  const run =
    missing.length === 0 ? check.run.bind(check) : check.opposite?.run.bind(check.opposite)
  const finish = (status: Status, reason: string): Outcome => ({
    ...made,
    check,
    subject: subject.name,
    status,
    reason,
    trace,
    ms: performance.now() - start,
  })
  if (run === undefined) return finish('not applicable', notApplicable(missing))
  const known = subject.knownFailures?.[check.id]
  const error = await attempt(run, subject, clocks, trace)
  if (error === undefined) {
    return known === undefined
      ? finish('passed', '')
      : finish('failed', `passes, although it is listed as a known failure (${known})`)
  }
  Object.assign(made, detailsOf(error))
  return known === undefined ? finish('failed', messageOf(error)) : finish('known failure', known)
}

function notApplicable(missing: readonly Capability[]): string {
  return `the subject does not declare: ${missing.join(', ')}`
}

/** Undefined when the check has passed, or the reason. */
async function attempt(
  run: (context: CheckContext) => Promise<void>,
  subject: Subject,
  clocks: Clocks,
  trace: TraceEntry[],
): Promise<unknown> {
  const undo: (() => Promise<void> | void)[] = []
  const start = performance.now()
  const uncaught = new Promise<never>((_resolve, reject) => {
    const onUncaught = (error: unknown): void => reject(error)
    process.on('uncaughtException', onUncaught)
    process.on('unhandledRejection', onUncaught)
    undo.push(() => {
      process.off('uncaughtException', onUncaught)
      process.off('unhandledRejection', onUncaught)
    })
  })
  uncaught.catch(() => {})
  const context: CheckContext = {
    subject,
    clocks,
    async pair(options) {
      const pair: Pair = await within(
        subject.makePair(options),
        clocks.signalMs,
        'a connected pair',
      )
      undo.push(() => pair.stop())
      return observe(pair, trace)
    },
    after: (step) => void undo.push(step),
    within: (promise, what) => within(promise, clocks.signalMs, what),
    async until(holds, what) {
      const limit = performance.now() + clocks.signalMs
      while (!holds()) {
        if (performance.now() > limit) throw new Timeout(`timed out: ${what}`)
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    silence: () => new Promise((resolve) => setTimeout(resolve, clocks.silenceMs)),
    note: (what) => void trace.push({ ms: performance.now() - start, side: '', what }),
  }
  let failure: unknown
  try {
    const ran = within(run(context), clocks.checkMs, 'the check as a whole')
    await Promise.race([ran, uncaught])
    // What the check did may throw in the ticks after it.
    await Promise.race([new Promise((resolve) => setImmediate(resolve)), uncaught])
  } catch (error) {
    failure = error ?? new Error('rejected with nothing')
  }
  for (const step of undo.reverse()) {
    try {
      await within(Promise.resolve(step()), clocks.signalMs, 'the end of the pair')
    } catch (error) {
      failure ??= error
    }
  }
  return failure
}

async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Timeout(`timed out: ${what}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function detailsOf(error: unknown): Partial<Outcome> {
  if (!(error instanceof Error)) return {}
  const { expected, actual } = error as { expected?: unknown; actual?: unknown }
  const stack = error.stack ?? ''
  return 'expected' in error ? { expected, observed: actual, stack } : { stack }
}
