/**
 * The parts of README.md that are written by program: the example, and the tables rule -> checks -> faults. Pure: the same
 * lists give the same text.
 */
import type { Check, Rule } from '../check'
import type { Fault } from '../fault'
import { hazards } from '../hazards'
import type { Hazard } from '../hazards'
import { ruleNames } from './rules'

/** The text with its example and its tables replaced. */
export function documented(
  text: string,
  example: string,
  checks: readonly Check[],
  faults: readonly Fault[],
): string {
  const code = ['```js', ...withoutComment(example).trim().split('\n'), '```']
  return between(between(text, 'example', code), 'checks', tableLines(checks, faults))
}

function between(text: string, name: string, lines: readonly string[]): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`]
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`README.md has no ${begin} … ${end}`)
  return `${text.slice(0, from)}${[begin, '', ...lines, '', ''].join('\n')}${text.slice(to)}`
}

/** The README says itself what the file's head says. */
function withoutComment(source: string): string {
  return source.replace(/^\/\*[^]*?\*\/\n/, '')
}

function tableLines(checks: readonly Check[], faults: readonly Fault[]): string[] {
  const rules = Object.keys(ruleNames) as Rule[]
  const used = rules.filter((rule) => checks.some((check) => check.rule === rule))
  return [
    `${checks.length} checks, ${faults.length} faults; (r) is recommended, all others are required.`,
    ...used.flatMap((rule) => [
      '',
      `### ${rule}: ${ruleNames[rule]}`,
      '',
      ...table([
        ['check', 'holds', 'proven by the faults'],
        ...checks.filter((check) => check.rule === rule).map((check) => rowOf(check, faults)),
      ]),
    ]),
    '',
    '### Hazards',
    '',
    ...table([
      ['hazard', 'what goes wrong', 'looked at by'],
      ...[...hazards].map((entry) => hazardRow(entry, checks)),
    ]),
  ]
}

function hazardRow(
  [number, { name, what, unseen }]: [number, Hazard],
  checks: readonly Check[],
): string[] {
  const looking = checks.filter((check) => check.hazards.includes(number)).map(({ id }) => id)
  const seen = unseen === undefined ? looking.join(', ') : `no check: ${unseen}`
  return [`${number} ${name}`, escaped(what), seen]
}

function rowOf({ id, strength, requirement }: Check, faults: readonly Fault[]): string[] {
  const catching = faults.filter(({ caughtBy }) => id in caughtBy).map(({ name }) => `\`${name}\``)
  const name = strength === 'required' ? id : `${id} (r)`
  return [name, escaped(requirement), catching.join(', ')]
}

/** What Markdown would take for markup. */
function escaped(text: string): string {
  return text.replace(/[|<*_`]/g, '\\$&')
}

/** As Prettier wants it. */
function table([head, ...rows]: string[][]): string[] {
  const all = [head!, ...rows]
  const widths = head!.map((_cell, at) => Math.max(3, ...all.map((row) => row[at]!.length)))
  const line = (row: string[]): string =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`
  return [line(head!), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)]
}
