/**
 * Runs one check on one subject: hands out pairs, keeps the deadlines, undoes everything afterwards, and turns what
 * happened into an outcome. One check at a time in a process: an uncaught exception belongs to the check that runs.
 */
import { setTimeout as rest } from 'node:timers/promises'
import type { Check, CheckContext, Clocks } from './check'
import { observe } from './observe'
import type { Observed, TraceEntry } from './observe'
import type { Capability, Subject } from './subject'
import { turn } from './turns'

/** A step of `until`, for as many turns: most of what it waits for is there by then. */
const turnsAtFirst = 10

/** A timer that is so late tells of a machine that stood still. */
const stallMs = 300

export const defaultClocks: Clocks = { signalMs: 2000, silenceMs: 60, checkMs: 15_000 }

/** Waits as many times as long for what has to come. What must not come is listened for as long as ever. */
export function clocksOf(patience: number): Clocks {
  const { signalMs, silenceMs, checkMs } = defaultClocks
  return { signalMs: signalMs * patience, silenceMs, checkMs: checkMs * patience }
}

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
  /** What was asked: the check's requirement or that of its opposite. */
  requirement: string
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
  const missing = missingOf(check, subject)
  const asked = missing.length === 0 ? check : check.opposite
  const run = asked?.run.bind(asked)
  const finish = (status: Status, reason: string): Outcome => ({
    ...made,
    check,
    subject: subject.name,
    requirement: (asked ?? check).requirement,
    status,
    reason,
    trace,
    ms: performance.now() - start,
  })
  if (run === undefined) return finish('not applicable', notApplicable(missing))
  const racy = subject.racyFailures?.[check.id]
  const known = racy ?? subject.knownFailures?.[check.id]
  const error = await attempt(run, subject, clocks, trace)
  if (error === undefined) {
    return known === undefined || racy !== undefined
      ? finish('passed', '')
      : finish('failed', `passes, although it is listed as a known failure (${known})`)
  }
  Object.assign(made, detailsOf(error))
  return known === undefined ? finish('failed', messageOf(error)) : finish('known failure', known)
}

/** What the check needs and the subject does not declare. */
export function missingOf(check: Check, subject: Subject): readonly Capability[] {
  return (check.needs ?? []).filter((need) => subject.capabilities[need] !== true)
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
  const uncaught = listenForUncaught()
  /** What the check was given to wait for; it may have given up on some of it. */
  const waits: Promise<unknown>[] = []
  const wait = <T>(promise: Promise<T>): Promise<T> => {
    waits.push(promise)
    return promise
  }
  let pairs = 0
  let isOver = false
  const context: CheckContext = {
    subject,
    clocks,
    async pair(options) {
      if (isOver) throw new Error('the check is over')
      const made = subject.makePair(options)
      try {
        const pair = await within(made, clocks.signalMs, 'a connected pair')
        undo.push(() => pair.stop())
        pairs++
        return observe(pair, trace, { start, suffix: pairs === 1 ? '' : String(pairs) })
      } catch (error) {
        // One that comes too late is nobody's.
        made.then((late) => late.stop()).catch(() => {})
        throw error
      }
    },
    async pairs(count) {
      const made: Observed[] = []
      while (made.length < count) made.push(await context.pair())
      return made
    },
    after: (step) => void undo.push(step),
    within: (promise, what) => wait(within(promise, clocks.signalMs, what)),
    until: (holds, what) => wait(until(holds, clocks.signalMs, what)),
    silence: () => new Promise((resolve) => setTimeout(resolve, clocks.silenceMs)),
    note: (what) => void trace.push({ ms: performance.now() - start, side: '', what }),
  }
  let failure: unknown
  try {
    const ran = within(run(context), clocks.checkMs, 'the check as a whole')
    await Promise.race([ran, uncaught.happens])
    // What the check did may throw in the ticks after it.
    await Promise.race([turn(), uncaught.happens])
  } catch (error) {
    failure = error ?? new Error('rejected with nothing')
    context.note('fails')
  }
  isOver = true
  // A wait that the check has left behind would fail later, when another check runs.
  for (const promise of waits) promise.catch(() => {})
  for (const step of undo.reverse()) {
    try {
      await within(toPromise(step), clocks.signalMs, 'the end of the pair')
    } catch (error) {
      failure ??= error
    }
  }
  await turn()
  uncaught.stop()
  return failure ?? uncaught.first()
}

/** What nobody has caught: as a promise that rejects with it, and afterwards. */
function listenForUncaught(): { happens: Promise<never>; first(): unknown; stop(): void } {
  const errors: unknown[] = []
  let listener: (error: unknown) => void = () => {}
  const happens = new Promise<never>((_resolve, reject) => {
    listener = (error) => {
      errors.push(error ?? new Error('nothing was thrown, and not caught'))
      reject(errors[0])
    }
  })
  happens.catch(() => {})
  const events = ['uncaughtException', 'unhandledRejection'] as const
  for (const event of events) process.on(event, listener)
  const stop = (): void => {
    for (const event of events) process.off(event, listener)
  }
  return { happens, first: () => errors[0], stop }
}

async function toPromise(step: () => Promise<void> | void): Promise<void> {
  await step()
}

async function until(holds: () => boolean, ms: number, what: string): Promise<void> {
  let isLate = false
  const stop = afterMs(ms, () => (isLate = true))
  try {
    for (let count = 0; !holds(); count++) {
      if (isLate) throw new Timeout(`timed out: ${what}`)
      // What takes longer is waited for asleep: a loop that never blocks would hide a wake-up that is lost.
      await (count < turnsAtFirst ? turn() : rest(1))
    }
  } finally {
    stop()
  }
}

async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let stop = (): void => {}
  const late = new Promise<never>((_resolve, reject) => {
    stop = afterMs(ms, () => reject(new Timeout(`timed out: ${what}`)))
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    stop()
  }
}

/**
 * Calls when so much time has passed; what it returns stops it. Where this process stood still until after the time, timers run
 * before the I/O that has come meanwhile: then it begins again.
 */
function afterMs(ms: number, call: () => void): () => void {
  let due = performance.now() + ms
  const onTimer = (): void => {
    const now = performance.now()
    if (now - due < stallMs) return call()
    due = now + ms
    timer = setTimeout(onTimer, ms)
  }
  let timer = setTimeout(onTimer, ms)
  return () => clearTimeout(timer)
}

/** Not by instanceof: under Jest, node:assert's errors are another realm's. */
function messageOf(error: unknown): string {
  return isErrorLike(error) ? error.message : String(error)
}

function detailsOf(error: unknown): Partial<Outcome> {
  if (!isErrorLike(error)) return {}
  const { expected, actual, stack = '' } = error
  // assert.fail() has both, and compares nothing.
  const isComparison = expected !== undefined || actual !== undefined
  return isComparison ? { expected, observed: actual, stack } : { stack }
}

interface ErrorLike {
  message: string
  stack?: string
  expected?: unknown
  actual?: unknown
}

function isErrorLike(error: unknown): error is ErrorLike {
  return typeof error === 'object' && error !== null && 'message' in error
}
