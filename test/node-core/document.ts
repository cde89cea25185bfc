/**
 * Writes docs/compatibility.md from the recorded results, wholly: what is not in them is not in it. The same results
 * give the same text.
 */
import { renderTable } from '../../bench/table'
import { applicable } from './comparison'
import type { Driver, Expectation, Result } from './records'
import { DRIVERS } from './records'
import { total } from './report'
import type { Area } from './selection'
import { AREAS, AROUND_AREAS, CORE_AREAS } from './selection'

const INTRODUCTION = `# Compatibility

<!-- Written by \`npm run test:node-core -- --record\`. Do not edit. -->

Node.js's own tests, each in a process of its own with \`uring-net/register\` loaded into it and into every process and
thread that it starts, on each driver. Counted are the tests that pass on the same binary without the package ("plain
Node"), and how many of these pass with it. The tests of the first rows are about sockets, name lookups and what Node
builds on them; those of the others about what sockets are handed to: cluster workers, child processes, worker threads,
async context.

To repeat it, with a folder that holds the \`test/\` of Node.js: \`npm run test:node-core -- --suite DIR\`. See
[test/node-core](../test/node-core/README.md).
`

export function toDocument(
  results: readonly Result[],
  expectations: readonly Expectation[],
): string {
  const versions = [...new Set(results.map((result) => result.circumstances.node))].sort(byVersion)
  const sections = versions.map((version) =>
    section(
      version,
      DRIVERS.flatMap((driver) => results.find((one) => isOf(one, version, driver)) ?? []),
      expectations,
    ),
  )
  const none = 'No run has been recorded yet.\n'
  return [INTRODUCTION, ...(sections.length > 0 ? sections : [none])].join('\n')
}

function isOf(result: Result, version: string, driver: Driver): boolean {
  return result.circumstances.node === version && result.driver === driver
}

function byVersion(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number))
  const at = [0, 1, 2].find((index) => left?.[index] !== right?.[index]) ?? 0
  return (left?.[at] ?? 0) - (right?.[at] ?? 0)
}

function section(
  version: string,
  results: readonly Result[],
  expectations: readonly Expectation[],
): string {
  const failures = results.flatMap((result) => failuresOf(result, expectations))
  return [
    `## Node.js ${version}`,
    ...results.map(conditions),
    table(results),
    ...(failures.length > 0 ? [failures.join('\n')] : []),
  ]
    .join('\n\n')
    .concat('\n')
}

function conditions({ circumstances, driver }: Result): string {
  const { suite, kernel, date, namespaces } = circumstances
  const where = namespaces ? '' : ', in the network of the machine'
  return `${driver}: tests of Node.js ${suite}, Linux ${kernel}, ${date}${where}.`
}

function table(results: readonly Result[]): string {
  // The baseline is one for all drivers.
  const rows = [
    ...CORE_AREAS.map((area) => row(area, results, [area])),
    ...AROUND_AREAS.map((area) => row(area, results, [area])),
    row('all', results, AREAS),
  ]
  return renderTable(['area', 'plain Node', ...results.map(({ driver }) => driver)], rows)
}

function row(title: string, results: readonly Result[], areas: readonly Area[]): string[] {
  const counts = results.map((result) => total(areas.flatMap((area) => result.areas[area] ?? [])))
  return [title, ...[counts[0]?.baseline ?? 0, ...counts.map(({ passes }) => passes)].map(String)]
}

/** Each test that passes on plain Node and not here: with the reason if it is a known one, else with what was seen. */
function failuresOf(result: Result, expectations: readonly Expectation[]): string[] {
  const { driver, circumstances, notPassing } = result
  const entries = applicable(expectations, { node: circumstances.node, driver })
  return Object.entries(notPassing).map(([test, seen]) => {
    const reason = entries.find((entry) => entry.test === test)?.reason
    return `- \`${test}\` on ${driver}: ${reason ?? `not expected (\`${seen.replaceAll('`', "'")}\`)`}`
  })
}
