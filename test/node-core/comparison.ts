/**
 * Holds a run against plain Node and against the list of tests that cannot pass. Pure functions; it never prints, and
 * knows of a test no more than its outcome.
 */
import type { Baseline, Count, Driver, Expectation, Outcome } from './records'
import type { Area } from './selection'
import { AREAS, areaOf } from './selection'

export interface Comparison {
  /** Pass on plain Node, not now, and nobody expected it. */
  regressions: string[]
  /** Pass on plain Node and not now, as the list says. */
  expected: string[]
  /** Entries of the list that excuse nothing, with what is wrong with each. */
  stale: Record<string, string>
  /** Fail on plain Node and pass now. */
  gained: string[]
  flaky: string[]
  /** The baseline does not know them. */
  unknown: string[]
  areas: Partial<Record<Area, Count>>
}

export interface Run {
  node: string
  driver: Driver
  tests: Record<string, Outcome>
  /** All areas were run, so that an entry whose test is not there is a mistake. */
  isComplete: boolean
}

export function passes(outcome: Outcome | undefined): boolean {
  return outcome === 'pass' || outcome === 'flaky'
}

/** The entries that speak of this version and driver. */
export function applicable(
  expectations: readonly Expectation[],
  { node, driver }: Pick<Run, 'node' | 'driver'>,
): Expectation[] {
  return expectations.filter(
    (entry) =>
      (entry.driver ?? driver) === driver && `${node}.`.startsWith(`${entry.node ?? node}.`),
  )
}

export function compare(
  run: Run,
  baseline: Baseline,
  expectations: readonly Expectation[],
): Comparison {
  const entries = applicable(expectations, run)
  const excused = new Set(entries.map((entry) => entry.test))
  const names = Object.keys(run.tests)
  const passed = (name: string) => passes(baseline.tests[name])
  // A test that skips itself shows nothing: on plain Node it did run.
  const lost = names.filter((name) => passed(name) && !passes(run.tests[name]))
  return {
    regressions: lost.filter((name) => !excused.has(name)),
    expected: lost.filter((name) => excused.has(name)),
    stale: staleEntries(entries, run, baseline),
    gained: names.filter((name) => baseline.tests[name] === 'fail' && passes(run.tests[name])),
    flaky: names.filter((name) => run.tests[name] === 'flaky'),
    unknown: names.filter((name) => baseline.tests[name] === undefined),
    areas: countAreas(names.filter(passed), run, excused),
  }
}

function staleEntries(
  entries: readonly Expectation[],
  run: Run,
  baseline: Baseline,
): Record<string, string> {
  const stale: Record<string, string> = {}
  for (const { test } of entries) {
    const outcome = run.tests[test]
    if (outcome === undefined) {
      if (run.isComplete) stale[test] = 'is not among the tests'
    } else if (!passes(baseline.tests[test])) stale[test] = 'does not pass on plain Node either'
    else if (passes(outcome)) stale[test] = 'passes'
  }
  return stale
}

function countAreas(
  passedBefore: readonly string[],
  run: Run,
  excused: ReadonlySet<string>,
): Comparison['areas'] {
  const areas: Comparison['areas'] = {}
  for (const area of AREAS) {
    const names = passedBefore.filter((name) => areaOf(name) === area)
    if (names.length === 0) continue
    const lost = names.filter((name) => !passes(run.tests[name]))
    areas[area] = {
      baseline: names.length,
      passes: names.length - lost.length,
      expected: lost.filter((name) => excused.has(name)).length,
    }
  }
  return areas
}
