/**
 * Writes the results as text: one table per case, and one overview of ratios for the README. It never computes a
 * figure that is not in the results.
 */
import type { Case, Metric, Target } from './matrix'
import { CHUNK_BYTES, METRICS, isFloor, isThroughput } from './matrix'
import type { Machine } from './machine'
import type { CaseResult, Spread, TargetResult, Verdict } from './statistics'
import { renderTable } from './table'

export interface Run {
  date: string
  machine: Machine
  options: {
    trials: number
    seconds: number
    warmupSeconds: number
    serverCpu: number
    loadCpu: number
    /** Null for the closed loop. */
    openLoopRate: number | null
  }
  results: CaseResult[]
}

const LABELS: Record<Target, string> = {
  node: 'node:net',
  uring: 'uring',
  epoll: 'epoll',
  register: 'register',
  core: 'low-level API',
  'floor-epoll': 'floor, C on epoll',
  'floor-uring': 'floor, C on io_uring',
}

/** Above this share of a core, with the server below it, the load generator and not the server set the pace. */
const LOAD_BOUND = 0.97

export function toMarkdown(run: Run): string {
  const { machine, options } = run
  const notes = remarks(run.results)
  const cases = run.results.map((result) => `### ${result.case.title}\n\n${caseTable(result)}`)
  return `${[
    '# Benchmark results',
    `${run.date}. ${machine.cpuModel}, ${machine.cores} cores, Linux ${machine.kernel}, ${machine.system}, ` +
      `Node ${machine.node}, TCP congestion control ${machine.congestionControl}. Server on core ${options.serverCpu}, load on core ${options.loadCpu}. ` +
      `Medians of ${options.trials} alternating trials of ${options.seconds} s, with min–max; ` +
      (options.openLoopRate === null ? '' : `${rateOf(options.openLoopRate)}; `) +
      'columns with × are ratios to node:net; busy is the share of a core that server and load used. ' +
      'How to read this: [bench/README.md](../README.md).',
    ...overviews(run).flatMap(({ title, table }) => [`## ${title}`, table]),
    ...(notes.length > 0 ? [notes.map((line) => `- ${firstLineOf(line)}`).join('\n')] : []),
    '## All figures',
    ...cases,
  ].join('\n\n')}\n`
}

function rateOf(rate: number): string {
  return `open loop: ${count(rate)} messages per second at fixed times, latency from when each was due`
}

/** The tables for a quick look, each with its title; one that would be empty is left out. */
export function overviews({ results, machine }: Run): { title: string; table: string }[] {
  const counted = results.filter((result) => isThroughput(result.case))
  const others = results.filter((result) => !isThroughput(result.case))
  return [
    {
      title: `Ratios to node:net, Node ${machine.node}`,
      results: counted,
      table: throughputOverview(counted),
    },
    {
      title: `Memory, time and fairness, Node ${machine.node}`,
      results: others,
      table: measureOverview(others),
    },
  ].filter((one) => one.results.length > 0)
}

/** One row per case: ratios of both drivers, of the low-level API and of the lower floor, and whether the goals are met. */
function throughputOverview(results: readonly CaseResult[]): string {
  const header = [
    ...['case', 'node:net ops/s', 'node:net CPU', 'uring ops/s', 'uring CPU', 'uring p50'],
    ...['epoll ops/s', 'epoll CPU', 'epoll p50', 'core ops/s', 'core CPU', 'floor CPU', 'goals'],
  ]
  const rows = results.map((result) => {
    const node = targetOf(result, 'node')?.summary
    const ratios = (['uring', 'epoll'] as const).flatMap((name) => {
      const found = targetOf(result, name)?.ratios
      return [found?.opsPerSecond, found?.cpuUsPerOp, found?.p50Us].map(times)
    })
    const core = targetOf(result, 'core')?.ratios
    const floors = result.targets
      .filter(({ target }) => isFloor(target))
      .flatMap(({ ratios: own }) => own?.cpuUsPerOp ?? [])
    const lowest = floors.sort((a, b) => a.median - b.median)[0]
    return [
      result.case.title,
      show(node?.opsPerSecond, count),
      node?.cpuUsPerOp ? `${decimal(node.cpuUsPerOp.median)} µs` : '–',
      ...ratios,
      times(core?.opsPerSecond),
      times(core?.cpuUsPerOp),
      times(lowest),
      verdictList(verdictsOf(result)),
    ]
  })
  return renderTable(header, rows, [0, 12])
}

/** One row per figure of a case that counts no operations. */
function measureOverview(results: readonly CaseResult[]): string {
  const header = [
    ...['case', 'figure', 'node:net', 'uring', 'epoll', 'core', '× uring', '× epoll', '× core'],
    'goals',
  ]
  const rows = results.flatMap((result) =>
    result.case.metrics.map((metric) => {
      const targets = (['node', 'uring', 'epoll', 'core'] as const).map((name) =>
        targetOf(result, name),
      )
      const verdicts = verdictsOf(result).filter((verdict) => verdict.goal.metric === metric)
      return [
        result.case.title,
        METRICS[metric].column,
        ...targets.map((one) => show(one?.summary?.[metric], figureOf(metric))),
        ...targets.slice(1).map((one) => times(one?.ratios?.[metric])),
        verdictList(verdicts),
      ]
    }),
  )
  return renderTable(header, rows, [0, 1, 9])
}

/** What a target has reached in a case. */
export function targetOf(result: CaseResult, target: Target): TargetResult | undefined {
  return result.targets.find((one) => one.target === target)
}

function verdictsOf(result: CaseResult): Verdict[] {
  return result.targets.flatMap((one) => one.verdicts)
}

interface Column {
  title: string
  cell: (target: TargetResult) => string
}

/** One row per target, and the goals below. Throughput of streams is in MB/s, of all else in operations per second. */
export function caseTable(result: CaseResult): string {
  const columns = columnsOf(result.case)
  const header = ['target', ...columns.map(({ title }) => title)]
  const rows = result.targets.map((target) => [
    LABELS[target.target],
    ...(target.summary ? columns.map(({ cell }) => cell(target)) : ['failed']),
  ])
  const verdicts = verdictsOf(result)
  const table = renderTable(header, rows)
  return verdicts.length === 0 ? table : `${table}\n\nGoals: ${verdictList(verdicts)}.`
}

/** The figures of the case, then their ratios, then who was busy. */
function columnsOf(one: Case): Column[] {
  const ratios = one.metrics.map((metric) => ({
    title: `× ${METRICS[metric].name}`,
    cell: ({ ratios: own }: TargetResult) => show(own?.[metric], hundredths),
  }))
  const busy = {
    title: 'busy',
    cell: ({ summary }: TargetResult) =>
      `${show(summary?.serverBusy, percent)} / ${show(summary?.loadBusy, percent)}`,
  }
  return [...one.metrics.flatMap((metric) => metricColumns(one, metric)), ...ratios, busy]
}

/** A figure with its spread, and what belongs to it. */
function metricColumns(one: Case, metric: Metric): Column[] {
  const factor = isStream(one) && metric === 'opsPerSecond' ? CHUNK_BYTES / 1e6 : 1
  const figure = {
    title: columnTitle(one, metric),
    cell: ({ summary }: TargetResult) =>
      withSpread(summary?.[metric], (value) => figureOf(metric)(value * factor)),
  }
  if (metric === 'cpuUsPerOp') {
    const cell = ({ summary }: TargetResult) =>
      `${show(summary?.userUsPerOp, decimal)} + ${show(summary?.systemUsPerOp, decimal)}`
    return [figure, { title: 'user + sys', cell }]
  }
  if (metric === 'p50Us') {
    const cell = ({ summary }: TargetResult) => show(summary?.p99Us, decimal)
    return [figure, { title: 'p99 µs', cell }]
  }
  return [figure]
}

function columnTitle(one: Case, metric: Metric): string {
  if (metric === 'opsPerSecond') return isStream(one) ? 'MB/s' : `${plural(one.operation)}/s`
  if (metric === 'cpuUsPerOp') return `CPU µs per ${one.operation}`
  return METRICS[metric].column
}

function figureOf(metric: Metric): (value: number) => string {
  return metric === 'opsPerSecond' ? count : metric === 'share' ? hundredths : decimal
}

/** What went wrong, and what the reader must know about the figures; empty if nothing. */
export function remarks(results: readonly CaseResult[]): string[] {
  return results.flatMap(({ case: one, targets }) =>
    targets.flatMap(({ target, failures, summary }) => {
      const lines = failures.map((failure) => `${one.id}, ${LABELS[target]}: FAILED: ${failure}`)
      if (summary && isThroughput(one) && isLoadBound(summary.serverBusy, summary.loadBusy)) {
        lines.push(
          `${one.id}, ${LABELS[target]}: the load generator set the pace (its core was full, the server's was not); ` +
            'ops/s is a lower bound, CPU per operation holds',
        )
      }
      return lines
    }),
  )
}

function isLoadBound(server: Spread, load: Spread): boolean {
  return load.median >= LOAD_BOUND && server.median < LOAD_BOUND
}

function verdictList(verdicts: readonly Verdict[]): string {
  return verdicts.map(verdictText).join('; ') || '–'
}

function verdictText({ goal, reached, isMet }: Verdict): string {
  const sign = goal.bound === 'at least' ? '≥' : '≤'
  const base = goal.base === 'node' || goal.base === null ? '' : ` of ${goal.base}`
  const promise = `${goal.target} ${METRICS[goal.metric].name} ${sign} ${hundredths(goal.limit)}${base}`
  return `${promise} ${isMet ? 'met' : 'MISSED'} (${hundredths(reached)})`
}

function firstLineOf(text: string): string {
  return text.split('\n')[0] ?? ''
}

/** Counted in pieces of 64 KB. */
function isStream(one: Case): boolean {
  return one.operation === '64 KB'
}

function plural(noun: string): string {
  return noun === 'echo' ? 'echoes' : `${noun}s`
}

type Maybe<T> = T | null | undefined

function withSpread(value: Maybe<Spread>, text: (value: number) => string): string {
  return value ? `${text(value.median)} (${text(value.min)}–${text(value.max)})` : '–'
}

function show(value: Maybe<Spread>, text: (value: number) => string): string {
  return value ? text(value.median) : '–'
}

/** A ratio as text. */
export function times(ratio: Maybe<Spread>): string {
  return show(ratio, (value) => `${hundredths(value)}×`)
}

function hundredths(value: number): string {
  return value.toFixed(2)
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

function decimal(value: number): string {
  return value >= 1000 ? count(value) : value >= 100 ? value.toFixed(0) : value.toFixed(1)
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
