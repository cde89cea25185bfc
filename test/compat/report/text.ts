/** The report for people, line by line. Pure; colours on request only. */
import type { OutcomeRecord, Report, SubjectRecord } from './record'
import type { TraceEntry } from '../observe'
import type { Status } from '../run'

export type Paint = (colour: 'bold' | 'red' | 'green' | 'yellow' | 'dim', text: string) => string

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 }
const traceLinesMax = 20

export const plain: Paint = (_colour, text) => text
export const coloured: Paint = (colour, text) => `\u001B[${codes[colour]}m${text}\u001B[0m`

interface Told {
  requirement: string
  intent: string
}

/** What a failure has to tell: what should hold, what happened, and why it matters. */
export function formatFailure(outcome: OutcomeRecord, told: Told, paint: Paint = plain): string[] {
  const { reason, expected, observed, trace, traceOmitted } = outcome
  const shown = aroundFailure(trace)
  const [before, after] = [
    trace.indexOf(shown[0]!),
    trace.length - trace.indexOf(shown.at(-1)!) - 1,
  ]
  return [
    ...item('must hold', outcome.requirement ?? told.requirement),
    ...item('observed', reason).map((line) => paint('red', line)),
    // Of objects the message has the difference already.
    ...(expected === undefined || reason.includes('\n') ? [] : item('expected', expected)),
    ...(observed === undefined || reason.includes('\n') ? [] : item('instead', observed)),
    ...item('why', told.intent),
    ...(shown.length === 0 ? [] : ['  trace']),
    ...(before + traceOmitted > 0 ? [`    … ${before + traceOmitted} before`] : []),
    ...shown.map(({ ms, side, what }) =>
      paint('dim', `    ${ms.toFixed(1).padStart(8)} ms  ${side.padEnd(3)} ${what}`),
    ),
    ...(after > 0 && shown.length > 0 ? [`    … ${after} after`] : []),
  ]
}

/** What the end of the pairs leaves behind is mostly of no interest. */
function aroundFailure(trace: readonly TraceEntry[]): readonly TraceEntry[] {
  const at = trace.findLastIndex(({ side, what }) => side === '' && what === 'fails')
  const end = at < 0 ? trace.length : at + 1
  return trace.slice(Math.max(0, end - traceLinesMax), end)
}

function item(name: string, text: string): string[] {
  const [first = '', ...rest] = text.trimEnd().split('\n')
  return [`  ${name.padEnd(10)}${first}`, ...rest.map((line) => ' '.repeat(12) + line)]
}

/** One line of a subject that is through. */
export function formatSubject({ label, outcomes, ms }: SubjectRecord, paint: Paint): string {
  const counts = countsOf(outcomes)
  const mark = counts.failed > 0 ? paint('red', '✗') : paint('green', '✓')
  return `${mark} ${label}: ${describe(counts)}  ${(ms / 1000).toFixed(1)} s`
}

/** Failures in full, what is known to fail, the table by area, and the sum. */
export function formatReport(report: Report, paint: Paint): string {
  const sum = countsOf(report.subjects.flatMap(({ outcomes }) => outcomes))
  const subjects = report.subjects.length
  return [
    ...failureLines(report, paint),
    '',
    ...areaLines(report, paint),
    ...report.absent.map(({ driver, reason }) => paint('yellow', `${driver} not run: ${reason}`)),
    paint(
      sum.failed > 0 ? 'red' : 'green',
      `${subjects} ${subjects === 1 ? 'subject' : 'subjects'}: ${describe(sum)}`,
    ),
  ].join('\n')
}

function failureLines(report: Report, paint: Paint): string[] {
  const told = new Map(report.checks.map((check) => [check.id, check]))
  return report.subjects.flatMap(({ label, outcomes }) =>
    outcomes
      .filter(({ status }) => status === 'failed')
      .flatMap((outcome) => {
        const check = told.get(outcome.check)!
        const heading = `${check.id} (${check.area}, ${check.strength}) fails: ${label}`
        return ['', paint('bold', heading), ...formatFailure(outcome, check, paint)]
      }),
  )
}

function areaLines(report: Report, paint: Paint): string[] {
  const areaOf = new Map(report.checks.map(({ id, area }) => [id, area]))
  const outcomes = report.subjects.flatMap((subject) => subject.outcomes)
  const areas = [...new Set(report.checks.map(({ area }) => area))]
  const head = ['area', ...statuses]
  const rows = areas.map((area) => {
    const counts = countsOf(outcomes.filter(({ check }) => areaOf.get(check) === area))
    return [area, ...statuses.map((status) => String(counts[status] || '–'))]
  })
  const widths = head.map((_name, at) => Math.max(...[head, ...rows].map((row) => row[at]!.length)))
  const line = (row: string[]): string =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[at]!)))
      .join('  ')
  return [paint('bold', line(head)), ...rows.map(line), '']
}

const statuses = ['passed', 'failed', 'known failure', 'not applicable'] as const

export function countsOf(outcomes: readonly OutcomeRecord[]): Record<Status, number> {
  const counts = { passed: 0, failed: 0, 'known failure': 0, 'not applicable': 0 }
  for (const { status } of outcomes) counts[status]++
  return counts
}

function describe(counts: Record<Status, number>): string {
  const failures = counts['known failure'] === 1 ? 'known failure' : 'known failures'
  return [
    `${counts.passed} passed`,
    `${counts.failed} failed`,
    ...(counts['known failure'] > 0 ? [`${counts['known failure']} ${failures}`] : []),
    ...(counts['not applicable'] > 0 ? [`${counts['not applicable']} not applicable`] : []),
  ].join(', ')
}
