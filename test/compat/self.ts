/**
 * Proof that the suite bites: faults against checks. Owns the verdict, that each fault is caught by the checks it
 * lists, with the messages it lists, and by no other. Runs nothing itself but through processes.ts.
 */
import type { Check, Clocks } from './check'
import { checks as allChecks } from './checks/index'
import type { Fault } from './fault'
import { faults as allFaults } from './faults/index'
import { runJobs } from './processes'
import type { Job } from './processes'
import { hazards } from './hazards'
import type { OutcomeRecord } from './report/record'
import { defaultClocks } from './run'

const oracle = 'node:net'

/** Thousands of runs, most of them of faults that the check is not about. What looks wrong is run again at leisure. */
const shortClocks: Clocks = { signalMs: 500, silenceMs: 25, checkMs: 4000 }

export interface Finding {
  /** Empty where a check is meant. */
  fault: string
  check: string
  problem: string
}

export interface SelfReport {
  faults: number
  checks: number
  runs: number
  /** How many of them were run again. */
  repeated: number
  findings: Finding[]
  /** By fault and check: what the failure said. */
  caught: Record<string, Record<string, string>>
}

export interface SelfOptions {
  /** This part of so many, from 1. */
  shard?: readonly [number, number]
  /** Only faults whose name matches. */
  grep?: RegExp | undefined
  /** Every fault against every check, not only against those of the areas in which it is to be caught. */
  isWhole?: boolean
  parallel?: number
  onFault?: (name: string, done: number, count: number) => void
}

/** What needs no run: ids and names that exist once, checks without a fault, faults that list what does not exist. */
export function findMismatches(checks: readonly Check[], faults: readonly Fault[]): Finding[] {
  const ids = checks.map(({ id }) => id)
  const names = faults.map(({ name }) => name)
  const caught = new Set(faults.flatMap(({ caughtBy }) => Object.keys(caughtBy)))
  return [
    ...repeatedIn(ids).map((check) => ({ fault: '', check, problem: 'two checks have this id' })),
    ...repeatedIn(names).map((fault) => ({
      fault,
      check: '',
      problem: 'two faults have this name',
    })),
    ...ids
      .filter((id) => !caught.has(id))
      .map((check) => ({ fault: '', check, problem: 'no fault is listed as caught by it' })),
    ...faults.flatMap(({ name, caughtBy, alsoCaughtBy = {} }) => {
      const listed = [...Object.keys(caughtBy), ...Object.keys(alsoCaughtBy)]
      const nothing = { fault: name, check: '', problem: 'it lists no check' }
      return [
        ...(Object.keys(caughtBy).length === 0 ? [nothing] : []),
        ...listed
          .filter((id) => !ids.includes(id))
          .map((check) => ({
            fault: name,
            check,
            problem: 'it lists a check that does not exist',
          })),
      ]
    }),
  ]
}

/** Hazards that no check looks at and nothing excuses, and numbers that mean none. */
export function findUnseen(checks: readonly Check[]): Finding[] {
  const seen = new Set(checks.flatMap((check) => check.hazards))
  return [
    ...[...hazards]
      .filter(([number, { unseen }]) => !seen.has(number) && unseen === undefined)
      .map(([number, { name }]) => `no check looks at hazard ${number} ${name}`),
    ...[...seen]
      .filter((number) => !hazards.has(number))
      .map((number) => `there is no hazard ${number}`),
  ].map((problem) => ({ fault: '', check: '', problem }))
}

/** Undefined when the outcome is the one that the fault announces. */
export function judge(fault: Fault, { check, status, reason }: OutcomeRecord): Finding | undefined {
  const due = fault.caughtBy[check]
  const listed = due ?? fault.alsoCaughtBy?.[check]
  const find = (problem: string): Finding => ({ fault: fault.name, check, problem })
  if (status === 'failed') {
    if (listed === undefined) return find(`caught, and not listed: ${reason}`)
    return listed.test(reason) ? undefined : find(`caught with another message: ${reason}`)
  }
  return due === undefined ? undefined : find(`not caught: ${status}`)
}

export async function runSelf({
  shard: [part, parts] = [1, 1],
  grep,
  isWhole = false,
  parallel = 4,
  onFault = () => {},
}: SelfOptions = {}): Promise<SelfReport> {
  const faults = allFaults
    .filter((_fault, at) => at % parts === part - 1)
    .filter(({ name }) => grep === undefined || grep.test(name))
  const byName = new Map(faults.map((fault) => [fault.name, fault]))
  const suspects = new Map<string, string[]>()
  const ids = allChecks.map(({ id }) => id)
  const jobFor = (subject: string, checks: readonly string[], clocks: Clocks): Job => ({
    source: { kind: 'faults' },
    driver: 'node',
    subject,
    checks,
    clocks,
    shares: true,
  })
  const baseline = await failuresOfOracle(jobFor(oracle, ids, defaultClocks))
  // A recommended check that node:net fails is failed by what is made of it, too.
  const isOfOracle = (fault: string, check: string): boolean => {
    const { caughtBy, alsoCaughtBy } = byName.get(fault)!
    return baseline.has(check) && (caughtBy[check] ?? alsoCaughtBy?.[check]) === undefined
  }
  const caught: SelfReport['caught'] = {}
  const record = (fault: string, { check, status, reason }: OutcomeRecord): void => {
    const byCheck = (caught[fault] ??= {})
    delete byCheck[check]
    if (status === 'failed' && !isOfOracle(fault, check)) byCheck[check] = reason.split('\n')[0]!
  }
  let runs = 0
  let done = 0
  await runJobs(
    faults.map((fault) => jobFor(fault.name, isWhole ? ids : checksNear(fault), shortClocks)),
    parallel,
    {
      onOutcome({ subject }, outcome) {
        runs++
        record(subject, outcome)
        const finding = judge(byName.get(subject)!, outcome)
        if (finding === undefined || isOfOracle(subject, outcome.check)) return
        suspects.set(subject, [...(suspects.get(subject) ?? []), outcome.check])
      },
      onDone: ({ subject }) => onFault(subject, ++done, faults.length),
    },
  )
  const findings = new Map<string, Finding | undefined>()
  await runJobs(
    // In processes of their own: what went before may have been what was wrong.
    [...suspects].map(([name, again]) => ({
      ...jobFor(name, again, defaultClocks),
      shares: false,
    })),
    2,
    {
      onOutcome({ subject }, outcome) {
        record(subject, outcome)
        findings.set(`${subject} ${outcome.check}`, judge(byName.get(subject)!, outcome))
      },
    },
  )
  return {
    faults: faults.length,
    checks: ids.length,
    runs,
    repeated: findings.size,
    caught,
    findings: [
      ...findMismatches(allChecks, allFaults),
      ...findUnseen(allChecks),
      ...allChecks
        .filter(({ id, strength }) => strength === 'required' && baseline.has(id))
        .map(({ id }) => ({
          fault: '',
          check: id,
          problem: `node:net itself fails it: ${baseline.get(id)}`,
        })),
      ...[...findings.values()].filter((finding) => finding !== undefined),
    ],
  }
}

/** The checks of the areas in which the fault is to be caught. */
export function checksNear({ caughtBy }: Fault): string[] {
  const areas = allChecks.filter(({ id }) => id in caughtBy).map(({ area }) => area)
  return allChecks.filter(({ area }) => areas.includes(area)).map(({ id }) => id)
}

/** By check, with what it said. */
async function failuresOfOracle(job: Job): Promise<ReadonlyMap<string, string>> {
  const failures = new Map<string, string>()
  await runJobs([job], 1, {
    onOutcome(_job, { check, status, reason }) {
      if (status === 'failed') failures.set(check, reason)
    },
  })
  return failures
}

function repeatedIn(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, at) => names.indexOf(name) !== at))]
}
