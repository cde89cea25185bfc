/**
 * The tables of docs/benchmark.md, from the whole runs that are recorded: that of the reference Node in full, the others beside it.
 * It computes no figure.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { METRICS, isThroughput } from './matrix'
import type { Case, Metric, Target } from './matrix'
import { overviews, remarks, targetOf, times } from './report'
import type { Run } from './report'
import { renderTable } from './table'

/** The release whose run is shown in full. */
const reference = 24

const begin = '<!-- bench:begin -->'
const end = '<!-- bench:end -->'

/** A run, and the name of its files. */
interface Recorded {
  run: Run
  name: string
}

/** The page with the tables of the runs in `folder`. Throws when it has no place for them, or the reference Node no run. */
export function withTables(page: string, folder: string): string {
  const [before, rest] = page.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) {
    throw new Error(`the page has no ${begin} and ${end}`)
  }
  return `${before}${begin}\n\n${tables(recordedIn(folder))}\n\n${end}${after}`
}

/** Writes the tables into docs/benchmark.md. */
export function writePage(root: string): void {
  const path = join(root, 'docs', 'benchmark.md')
  writeFileSync(path, withTables(readFileSync(path, 'utf8'), join(root, 'bench', 'results')))
}

/** The whole runs, that of the reference Node first, then the newest. */
function recordedIn(folder: string): Recorded[] {
  const names = readdirSync(folder)
    .filter((file) => file.endsWith('.json') && file !== 'partial.json')
    .map((file) => file.slice(0, -'.json'.length))
  const recorded = names.map((name) => ({
    name,
    run: JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Run,
  }))
  const rank = ({ run }: Recorded): number =>
    releaseOf(run) === reference ? Infinity : releaseOf(run)
  const sorted = recorded.sort((a, b) => rank(b) - rank(a))
  if (sorted[0] === undefined || releaseOf(sorted[0].run) !== reference) {
    throw new Error(`there is no whole run of Node ${reference} in ${folder}`)
  }
  return sorted
}

function releaseOf({ machine }: Run): number {
  return parseInt(machine.node, 10)
}

function tables(recorded: readonly Recorded[]): string {
  const [first] = recorded as [Recorded]
  const notes = remarks(first.run.results)
  return [
    recorded.map(describe).join('\n'),
    ...overviews(first.run).flatMap(({ title, table }) => [`### ${title}`, table]),
    ...(notes.length > 0 ? [notes.map((line) => `- ${line}`).join('\n')] : []),
    `### Ratios to node:net of the same Node: ${recorded.map(({ run }) => releaseOf(run)).join(', ')}`,
    sideBySide(recorded.map(({ run }) => run)),
  ].join('\n\n')
}

function describe({ run, name }: Recorded): string {
  const { machine, date } = run
  const kernel = machine.kernel.split('.').slice(0, 2).join('.')
  return (
    `- Node ${machine.node}: ${date.slice(0, 10)}, ${machine.cores} cores, Linux ${kernel}, one whole run; ` +
    `[all figures](../bench/results/${name}.md)`
  )
}

/** One row per case and figure; of those that count operations CPU only, which is what holds on a noisy machine. */
function sideBySide(runs: readonly Run[]): string {
  const targets = ['uring', 'epoll', 'core'] as const
  const header = [
    ...['case', 'figure'],
    ...targets.flatMap((target) => runs.map((run) => `${target}, ${releaseOf(run)}`)),
  ]
  const rows = runs[0]!.results.flatMap(({ case: one }) =>
    figuresOf(one).map((metric) => {
      const ratioOf = (run: Run, target: Target): string => {
        const result = run.results.find((each) => each.case.id === one.id)
        return times(result && targetOf(result, target)?.ratios?.[metric])
      }
      const ratios = targets.flatMap((target) => runs.map((run) => ratioOf(run, target)))
      return [one.title, metric === 'cpuUsPerOp' ? 'CPU' : METRICS[metric].name, ...ratios]
    }),
  )
  return renderTable(header, rows, [0, 1])
}

function figuresOf(one: Case): readonly Metric[] {
  return isThroughput(one) ? ['cpuUsPerOp'] : one.metrics
}
