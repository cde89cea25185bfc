/**
 * Writes the results as text: one table per case, and one overview of ratios for the README. It never computes a
 * figure that is not in the results.
 */
import type { Case, Metric } from './matrix'
import { CHUNK_BYTES } from './matrix'
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
  }
  results: CaseResult[]
}

const METRIC_NAMES: Record<Metric, string> = {
  opsPerSecond: 'ops/s',
  cpuUsPerOp: 'CPU',
  p50Us: 'p50',
}

const LABELS = { node: 'node:net', uring: 'uring', epoll: 'epoll', register: 'register' } as const

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
      'columns with × are ratios to node:net; busy is the share of a core that server and load used. ' +
      'How to read this: [bench/README.md](../README.md).',
    '## Ratios to node:net',
    overview(run.results),
    ...(notes.length > 0 ? [notes.map((line) => `- ${firstLineOf(line)}`).join('\n')] : []),
    '## All figures',
    ...cases,
  ].join('\n\n')}\n`
}

/** One row per case: ratios of both drivers, and whether the goals are met. */
export function overview(results: readonly CaseResult[]): string {
  const header = [
    ...['case', 'node:net ops/s', 'node:net CPU', 'uring ops/s', 'uring CPU', 'uring p50'],
    ...['epoll ops/s', 'epoll CPU', 'epoll p50', 'goals'],
  ]
  const rows = results.map((result) => {
    const of = (name: string) => result.targets.find((one) => one.target === name)
    const node = of('node')?.summary
    const ratios = ['uring', 'epoll'].flatMap((name) => {
      const found = of(name)?.ratios
      return [found?.opsPerSecond, found?.cpuUsPerOp, found?.p50Us].map((ratio) =>
        ratio ? `${ratio.median.toFixed(2)}×` : '–',
      )
    })
    const verdicts = result.targets.flatMap((one) => one.verdicts)
    return [
      result.case.title,
      node ? count(node.opsPerSecond.median) : '–',
      node ? `${decimal(node.cpuUsPerOp.median)} µs` : '–',
      ...ratios,
      verdictList(verdicts),
    ]
  })
  return renderTable(header, rows, [0, 9])
}

/** One row per target, and the goals below. Throughput of streams is in MB/s, of all else in operations per second. */
export function caseTable(result: CaseResult): string {
  const { case: one } = result
  const header = [
    'target',
    isStream(one) ? 'MB/s' : `${plural(one.operation)}/s`,
    `CPU µs per ${one.operation}`,
    ...['user + sys', 'p50 µs', 'p99 µs', '× ops/s', '× CPU', '× p50', 'busy'],
  ]
  const table = renderTable(
    header,
    result.targets.map((target) => targetRow(one, target)),
  )
  const verdicts = result.targets.flatMap((target) => target.verdicts)
  return verdicts.length === 0 ? table : `${table}\n\nGoals: ${verdictList(verdicts)}.`
}

/** What went wrong, and what the reader must know about the figures; empty if nothing. */
export function remarks(results: readonly CaseResult[]): string[] {
  return results.flatMap(({ case: one, targets }) =>
    targets.flatMap(({ target, failures, summary }) => {
      const lines = failures.map((failure) => `${one.id}, ${LABELS[target]}: FAILED: ${failure}`)
      if (summary && isLoadBound(summary.serverBusy, summary.loadBusy)) {
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

function targetRow(one: Case, result: TargetResult): string[] {
  const { summary, ratios } = result
  if (!summary) return [LABELS[result.target], 'failed']
  const factor = isStream(one) ? CHUNK_BYTES / 1e6 : 1
  const latency = (value: Spread | null) => (value ? withSpread(value, decimal) : '–')
  const ratio = (value: Spread | null | undefined) => (value ? value.median.toFixed(2) : '–')
  return [
    LABELS[result.target],
    withSpread(summary.opsPerSecond, (value) => count(value * factor)),
    withSpread(summary.cpuUsPerOp, decimal),
    `${decimal(summary.userUsPerOp.median)} + ${decimal(summary.systemUsPerOp.median)}`,
    latency(summary.p50Us),
    summary.p99Us ? decimal(summary.p99Us.median) : '–',
    ratio(ratios?.opsPerSecond),
    ratio(ratios?.cpuUsPerOp),
    ratio(ratios?.p50Us),
    `${percent(summary.serverBusy.median)} / ${percent(summary.loadBusy.median)}`,
  ]
}

function verdictList(verdicts: readonly Verdict[]): string {
  return verdicts.map(verdictText).join('; ') || '–'
}

function verdictText({ goal, reached, isMet }: Verdict): string {
  const sign = goal.bound === 'at least' ? '≥' : '≤'
  const promise = `${goal.target} ${METRIC_NAMES[goal.metric]} ${sign} ${goal.ratio.toFixed(2)}${goal.base === 'node' ? '' : ` of ${goal.base}`}`
  return `${promise} ${isMet ? 'met' : 'MISSED'} (${reached.toFixed(2)})`
}

function firstLineOf(text: string): string {
  return text.split('\n')[0] ?? ''
}

function isStream(one: Case): boolean {
  return one.bytes === CHUNK_BYTES
}

function plural(noun: string): string {
  return noun === 'echo' ? 'echoes' : `${noun}s`
}

function withSpread({ median, min, max }: Spread, show: (value: number) => string): string {
  return `${show(median)} (${show(min)}–${show(max)})`
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
