/**
 * Outcomes as data that passes between processes and into files: values as text, traces cut to what can be read. The
 * report of a whole run is made of them, and is what `--json` writes.
 */
import { inspect } from 'node:util'
import type { Check } from '../check'
import { hazards as hazardsByNumber } from '../hazards'
import type { TraceEntry } from '../observe'
import type { Outcome, Status } from '../run'
import type { Capabilities } from '../subject'

const traceEntriesMax = 300
const valueCharsMax = 4000

export interface OutcomeRecord {
  check: string
  /** Where the check's opposite was asked. */
  requirement?: string
  /** As node:assert had them, inspected. */
  expected?: string
  observed?: string
  status: Status
  reason: string
  stack?: string
  /** The last ones. */
  trace: readonly TraceEntry[]
  /** How many there were before them. */
  traceOmitted: number
  ms: number
}

export type CheckRecord = Pick<
  Check,
  'id' | 'rule' | 'strength' | 'area' | 'requirement' | 'intent'
> & {
  /** Number and name. */
  hazards: readonly string[]
  opposite?: string
}

export interface SubjectRecord {
  /** Unique in a report. */
  label: string
  name: string
  driver: string
  capabilities: Capabilities
  outcomes: OutcomeRecord[]
  ms: number
}

export interface Report {
  version: string
  node: string
  platform: string
  kernel: string
  /** ISO 8601. */
  date: string
  checks: CheckRecord[]
  subjects: SubjectRecord[]
  /** Drivers that were not run, with the reason. */
  absent: { driver: string; reason: string }[]
}

export function toRecord(outcome: Outcome): OutcomeRecord {
  const { check, requirement, status, reason, stack, trace, ms } = outcome
  const omitted = Math.max(0, trace.length - traceEntriesMax)
  return {
    check: check.id,
    ...(requirement === check.requirement ? {} : { requirement }),
    status,
    reason,
    ...('expected' in outcome
      ? { expected: toText(outcome.expected), observed: toText(outcome.observed) }
      : {}),
    ...(stack === undefined ? {} : { stack }),
    trace: trace
      .slice(omitted)
      .map((entry) => ({ ...entry, ms: Math.round(entry.ms * 100) / 100 })),
    traceOmitted: omitted,
    ms: Math.round(ms * 10) / 10,
  }
}

/** Of a check that ended with its process. */
export function lostRecord(check: string, reason: string): OutcomeRecord {
  return { check, status: 'failed', reason, trace: [], traceOmitted: 0, ms: 0 }
}

export function toCheckRecord(check: Check): CheckRecord {
  const { id, rule, strength, area, requirement, intent, hazards, opposite } = check
  const other = opposite === undefined ? {} : { opposite: opposite.requirement }
  const named = hazards.map((number) => `${number} ${hazardsByNumber.get(number)?.name}`)
  return { id, rule, strength, area, requirement, intent, hazards: named, ...other }
}

function toText(value: unknown): string {
  const text = inspect(value, { depth: 4, breakLength: 90 })
  return text.length > valueCharsMax ? `${text.slice(0, valueCharsMax)} …` : text
}
