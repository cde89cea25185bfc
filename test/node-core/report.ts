/**
 * What a run says on the terminal: a line for each test that matters and a table of the areas. It decides nothing.
 */
import { renderTable } from '../../bench/table'
import type { Comparison } from './comparison'
import { passes } from './comparison'
import type { Count, Outcome } from './records'
import type { Area } from './selection'
import { AREAS, areaOf } from './selection'

/** `whys` has a line for every test that did not pass. */
export function comparisonReport(
  comparison: Comparison,
  whys: Record<string, string>,
  reasons: Record<string, string>,
): string {
  const { regressions, expected, stale, gained, flaky, unknown, areas } = comparison
  const lines = [
    ...regressions.map((name) => `regression  ${name}  ${whys[name] ?? ''}`),
    ...expected.map((name) => `expected    ${name}  ${reasons[name] ?? ''}`),
    ...Object.entries(stale).map(
      ([name, what]) => `stale       ${name}  expected to fail; ${what}`,
    ),
    ...list('flaky', flaky),
    ...list('fail on plain Node, pass now', gained),
    ...list('not in the baseline', unknown),
  ]
  return [...lines, countTable(areas)].join('\n')
}

function list(title: string, names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`${title}: ${names.length}: ${names.join(' ')}`]
}

function countTable(areas: Comparison['areas']): string {
  const row = (title: string, { baseline, passes, expected }: Count) =>
    [title, baseline, passes, expected, baseline - passes - expected].map(String)
  const counts = AREAS.flatMap((area): [Area, Count][] => {
    const count = areas[area]
    return count ? [[area, count]] : []
  })
  return renderTable(
    ['area', 'plain Node passes', 'passes now', 'expected failures', 'regressions'],
    [
      ...counts.map(([area, count]) => row(area, count)),
      row('all', total(counts.map(([, count]) => count))),
    ],
  )
}

export function total(counts: readonly Count[]): Count {
  const sum = (key: keyof Count) => counts.reduce((all, count) => all + count[key], 0)
  return { baseline: sum('baseline'), passes: sum('passes'), expected: sum('expected') }
}

/** A run of plain Node has nothing to be held against. */
export function baselineReport(
  tests: Record<string, Outcome>,
  whys: Record<string, string>,
): string {
  const names = Object.keys(tests)
  const row = (title: string, some: readonly string[]) => {
    const count = (is: (outcome: Outcome | undefined) => boolean) =>
      String(some.filter((name) => is(tests[name])).length)
    return [
      title,
      String(some.length),
      count(passes),
      count((outcome) => outcome === 'flaky'),
      count((outcome) => outcome === 'skip'),
      count((outcome) => outcome === 'fail'),
    ]
  }
  const rows = [...AREAS, undefined].flatMap((area) => {
    const some = names.filter((name) => areaOf(name) === area)
    return some.length === 0 ? [] : [row(area ?? 'others', some)]
  })
  return [
    ...names
      .filter((name) => tests[name] === 'fail')
      .map((name) => `fail        ${name}  ${whys[name] ?? ''}`),
    renderTable(
      ['area', 'tests', 'pass', 'of them flaky', 'skip', 'fail'],
      [...rows, row('all', names)],
    ),
  ].join('\n')
}
