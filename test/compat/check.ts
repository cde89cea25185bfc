/**
 * A check: one requirement, as data and a function. Checks know no test runner. They judge by what the peer has received;
 * callbacks and events are judged where the requirement is about them.
 */
import type { Capability, PairOptions, Subject } from './subject'
import type { Observed } from './observe'

/** Rules of docs/design.md; `H` for the harness. */
export type Rule =
  | 'H'
  | 'W1'
  | 'W2'
  | 'W3'
  | 'W4'
  | 'W5'
  | 'W6'
  | 'C1'
  | 'C2'
  | 'C3'
  | 'C4'
  | 'C5'
  | 'R1'
  | 'R2'
  | 'R3'
  | 'E1'
  | 'E2'
  | 'E3'

export interface CheckContext {
  readonly subject: Subject
  readonly clocks: Clocks
  /** A fresh connected pair, recorded from the first tick; the runner stops it after the check. */
  pair(options?: PairOptions): Promise<Observed>
  pairs(count: number): Promise<Observed[]>
  /** Something else to be undone after the check, last first. */
  after(undo: () => Promise<void> | void): void
  /** The promise, or a failure that names what did not come in time. */
  within<T>(promise: Promise<T>, what: string): Promise<T>
  /** Polls on immediates until it holds, or fails naming what did not come. Only for what has no event. */
  until(holds: () => boolean, what: string): Promise<void>
  /** Waits as long as silence is listened to. */
  silence(): Promise<void>
  /** A line in the trace that a failure shows. */
  note(line: string): void
}

/** In milliseconds. Awaiting a signal and asserting silence are different things. */
export interface Clocks {
  signalMs: number
  silenceMs: number
  /** For a check as a whole, whatever it waits for. */
  checkMs: number
}

export interface Check {
  /** `<rule>-<number>`, for ever. */
  id: string
  rule: Rule
  strength: 'required' | 'recommended'
  /** Names the file's subject: 'writing', 'closing', …: summaries are by area. */
  area: string
  /** One sentence: what holds. */
  requirement: string
  /** What breaks in real programs when it does not. */
  intent: string
  /** Numbers in hazards.ts of what can be seen here. */
  hazards: readonly number[]
  /** Without these it does not apply. */
  needs?: readonly Capability[]
  /** Runs in place of `run` for a subject that lacks what is needed; without it the check is not applicable. */
  opposite?: { requirement: string; run(context: CheckContext): Promise<void> }
  run(context: CheckContext): Promise<void>
}
