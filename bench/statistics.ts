/**
 * From trials to the figures of a report: medians with their spread, ratios to node:net, goals met or missed. Pure
 * functions; it never prints.
 */
import type { Case, Goal, Metric, Target } from './matrix'
import { METRIC_NAMES } from './matrix'
import type { Trial } from './trial'

export interface Spread {
  median: number
  min: number
  max: number
}

/** What one target reached in one case, over its trials; null is what the case does not tell. */
export interface Summary extends Record<Metric, Spread | null> {
  userUsPerOp: Spread | null
  systemUsPerOp: Spread | null
  p99Us: Spread | null
  serverBusy: Spread
  loadBusy: Spread
}

/**
 * Median of the target divided by median of node:net. Min and max are those of the rounds (the trials that followed
 * each other), which shows how far the machine's moods reach.
 */
export type Ratios = Record<Metric, Spread | null>

export interface Verdict {
  goal: Goal
  reached: number
  isMet: boolean
}

export interface TargetResult {
  target: Target
  trials: Trial[]
  /** Trials that failed, by message; they are in no median. */
  failures: string[]
  summary: Summary | null
  ratios: Ratios | null
  verdicts: Verdict[]
}

export interface CaseResult {
  case: Case
  targets: TargetResult[]
}

/** Outcomes of one target, in the order of the rounds. */
export type Outcome = { trial: Trial } | { failure: string }

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('median of nothing')
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

export function summarise(trials: readonly Trial[]): Summary {
  const known = (pick: (trial: Trial) => number | null) => {
    const values = trials.map(pick).filter((value) => value !== null)
    return values.length > 0 ? spread(values) : null
  }
  return {
    ...forEachMetric((metric) => known((trial) => trial[metric])),
    userUsPerOp: known((trial) => trial.userUsPerOp),
    systemUsPerOp: known((trial) => trial.systemUsPerOp),
    p99Us: known((trial) => trial.p99Us),
    serverBusy: spread(trials.map((trial) => trial.serverBusy)),
    loadBusy: spread(trials.map((trial) => trial.loadBusy)),
  }
}

function forEachMetric<T>(tell: (metric: Metric) => T): Record<Metric, T> {
  return Object.fromEntries(METRIC_NAMES.map((name) => [name, tell(name)])) as Record<Metric, T>
}

/** The results of one case from the outcomes of every target, round by round. */
export function evaluate(one: Case, outcomes: ReadonlyMap<Target, readonly Outcome[]>): CaseResult {
  const base = outcomes.get('node') ?? []
  const targets = [...outcomes].map(([target, own]): TargetResult => {
    const trials = own.flatMap((outcome) => ('trial' in outcome ? [outcome.trial] : []))
    const failures = own.flatMap((outcome) => ('failure' in outcome ? [outcome.failure] : []))
    const summary = trials.length > 0 ? summarise(trials) : null
    const ratios = target === 'node' ? null : compare(own, base)
    const goals = one.goals.filter((goal) => goal.target === target)
    const verdicts = goals.flatMap((goal) => {
      const reached =
        goal.base === null
          ? summary?.[goal.metric]
          : compare(own, outcomes.get(goal.base) ?? [])?.[goal.metric]
      return reached ? [judge(goal, reached.median)] : []
    })
    return { target, trials, failures, summary, ratios, verdicts }
  })
  return { case: one, targets }
}

/**
 * By rounds: what disturbs the machine for a while disturbs all trials of a round alike, so it is their ratio that holds. Null
 * when there is no round in which both have figures.
 */
function compare(own: readonly Outcome[], base: readonly Outcome[]): Ratios | null {
  const ratios = forEachMetric((metric): Spread | null => {
    const [ours, theirs] = [figures(own, metric), figures(base, metric)]
    const rounds = ours.flatMap((value, round) => {
      const other = theirs[round]
      return value !== null && other ? [value / other] : []
    })
    return rounds.length === 0 ? null : spread(rounds)
  })
  return METRIC_NAMES.some((name) => ratios[name] !== null) ? ratios : null
}

function figures(outcomes: readonly Outcome[], metric: Metric): (number | null)[] {
  return outcomes.map((outcome) => ('trial' in outcome ? outcome.trial[metric] : null))
}

function judge(goal: Goal, reached: number): Verdict {
  // Judged as printed, with two decimals: a table must not say "0.70, missed" of a goal of 0.70.
  const shown = Math.round(reached * 100) / 100
  const isMet = goal.bound === 'at least' ? shown >= goal.limit : shown <= goal.limit
  return { goal, reached, isMet }
}
