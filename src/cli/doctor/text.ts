/** The report for people: aligned, a line for each thing, colours on request only. Pure. */
import { errnoName } from './errno'
import type { Choice } from './facts'
import { isOlder } from './proc'
import type { Limit, Limits } from './proc'
import type { Report } from './report'

type Colour = 'red' | 'green' | 'yellow' | 'bold'

const codes: Record<Colour, number> = { bold: 1, red: 31, green: 32, yellow: 33 }

/** On a terminal, unless NO_COLOR (no-color.org: set and not empty) or TERM=dumb. */
export function wantsColour(isTty: boolean, env: NodeJS.ProcessEnv): boolean {
  return isTty && !env.NO_COLOR && env.TERM !== 'dumb'
}

export function formatReport(report: Report, colour: boolean): string {
  const paint = (name: Colour, text: string) =>
    colour ? `\u001B[${codes[name]}m${text}\u001B[0m` : text
  const heading = (text: string) => ['', paint('bold', text)]
  return [
    ...table('', summary(report)),
    ...heading('kernel features'),
    ...featureLines(report, paint),
    ...heading('limits'),
    ...table('  ', limits(report)),
    ...heading('in the way'),
    ...(report.obstacles.length === 0 ? [paint('green', '  nothing')] : []),
    ...report.obstacles.flatMap(({ id, problem, remedy }) => [
      `  ${paint('yellow', id.padEnd(9))}  ${problem}`,
      `  ${' '.repeat(9)}  ${paint('bold', `-> ${remedy}`)}`,
    ]),
  ].join('\n')
}

type Rows = (readonly [string, string])[]

function table(indent: string, rows: Rows): string[] {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${indent}${name.padEnd(width)}  ${value}`)
}

function summary(report: Report): Rows {
  const { driver, core, node, addon, ring } = report
  const differs = core.name !== driver.name || core.reason !== driver.reason
  const permission = node.permission ? ', permission model on' : ''
  return [
    ['uring-net', report.version],
    ['driver', sentence(driver)],
    ...(differs ? [['core', sentence(core)] as const] : []),
    ['node', `${node.version} ${node.platform} ${node.arch}${permission}`],
    ['kernel', report.kernel],
    ['addon', addon.loaded ? 'loaded' : `not loaded: ${addon.error}`],
    ...(ring === null ? [] : [['ring', ringText(ring)] as const]),
  ]
}

function sentence({ name, reason }: Choice): string {
  return name === null ? `none: ${reason}` : `${name}: ${reason}`
}

function ringText(ring: NonNullable<Report['ring']>): string {
  if (!ring.ok) return `refused at '${ring.step}': ${errnoName(ring.errno)}`
  return `${ring.submissionEntries} submissions, ${ring.completionEntries} completions`
}

function featureLines(
  { features }: Report,
  paint: (colour: Colour, text: string) => string,
): string[] {
  return Object.entries(features).map(([name, { present, used, role, since, purpose }]) => {
    const state = present === null ? 'unknown' : !present ? 'missing' : used ? 'used' : 'present'
    const worry = role === 'needed' ? 'red' : 'yellow'
    const isFine = present !== false || role === 'unused'
    const padded = state.padEnd(8)
    const shown = isFine ? padded : paint(worry, padded)
    const note = role === 'wanted' ? '' : ` (${role === 'needed' ? 'needed' : 'not used yet'})`
    return `  ${name.padEnd(18)}  ${shown}  ${since.padEnd(6)} ${purpose}${note}`
  })
}

const seccompModes: Record<number, string> = { 0: 'off', 1: 'strict', 2: 'a filter' }
const sysctlModes: Record<number, string> = {
  0: 'everybody may',
  1: 'only kernel.io_uring_group may',
  2: 'nobody may',
}

function limits(report: Report): Rows {
  const { seccomp, sysctl, container } = report
  const { memlock, nofile } = report.limits
  const { io_uring_disabled: disabled } = sysctl
  const absent = isOlder(report.kernel, 6, 6) ? 'not before Linux 6.6' : 'unknown'
  return [
    ['RLIMIT_MEMLOCK', pair(memlock, bytes)],
    ['RLIMIT_NOFILE', pair(nofile, String)],
    ['seccomp', seccomp === null ? 'unknown' : (seccompModes[seccomp] ?? String(seccomp))],
    ['io_uring_disabled', disabled === null ? absent : sysctlText(disabled, sysctl)],
    ...(container === null ? [] : [['container', container] as const]),
  ]
}

function sysctlText(disabled: number, { io_uring_group: group }: Report['sysctl']): string {
  const who = group === null || group < 0 ? '' : `, group ${group}`
  return `${disabled} (${sysctlModes[disabled] ?? 'unknown'}${who})`
}

function pair(limits: Limits | null, show: (limit: number) => string): string {
  if (limits === null) return 'unknown'
  const text = (limit: Limit) => (limit === 'unlimited' ? limit : show(limit))
  const { soft, hard } = limits
  return soft === hard ? text(soft) : `${text(soft)} (hard: ${text(hard)})`
}

function bytes(count: number): string {
  const mebibytes = count / 1024 / 1024
  return Number.isInteger(mebibytes) ? `${mebibytes} MiB` : `${Math.round(count / 1024)} KiB`
}
