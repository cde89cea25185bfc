/**
 * The report as one page that needs nothing else: the matrix of checks and subjects is in the text, what a cell shows is in
 * the page as data. Pure.
 */
import { script } from './html-script'
import { style } from './html-style'
import type { CheckRecord, OutcomeRecord, Report } from './record'
import { ruleNames } from './rules'
import { countsOf } from './text'

const marks = {
  passed: { mark: '✓', className: 'passed' },
  failed: { mark: '✗', className: 'failed' },
  'known failure': { mark: '!', className: 'known' },
  'not applicable': { mark: '·', className: 'none' },
} as const

export function toHtml(report: Report): string {
  const title = `uring-net ${report.version}: conformance`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escaped(title)}</title>
<style>${style}</style>
<header>
<h1>${escaped(title)}</h1>
<p>${escaped(circumstances(report))}</p>
<div class="tools">
${legend(report)}
<input id="search" type="search" placeholder="id, area or words" aria-label="filter the checks">
<label><input id="only-bad" type="checkbox"> only what fails</label>
</div>
</header>
<main>
<div class="matrix"><table>
${headOf(report)}
<tbody>
${rowsOf(report)}
</tbody>
</table></div>
<aside aria-live="polite" hidden></aside>
</main>
<script type="application/json" id="report">${asData(report)}</script>
<script>${script}</script>
</html>
`
}

function circumstances({ date, node, platform, kernel, absent }: Report): string {
  const day = date.slice(0, 16).replace('T', ' ')
  return [
    `${day} UTC, Node.js ${node}, ${platform}, kernel ${kernel}`,
    ...absent.map(({ driver, reason }) => `${driver} not run: ${reason}`),
  ].join(' · ')
}

function legend({ subjects }: Report): string {
  const counts = countsOf(subjects.flatMap(({ outcomes }) => outcomes))
  return Object.entries(marks)
    .map(([status, { mark, className }]) => {
      const count = counts[status as keyof typeof marks]
      return `<span class="count"><b class="${className}">${mark}</b> ${count} ${status}</span>`
    })
    .join('\n')
}

function headOf({ subjects }: Report): string {
  const columns = subjects.map(({ label, outcomes }) => {
    const bad = countsOf(outcomes).failed > 0 ? ' bad' : ''
    return `<th scope="col" class="subject${bad}" title="${escaped(label)}"><span>${escaped(label)}</span></th>`
  })
  return `<thead><tr><th class="corner">check</th>${columns.join('')}</tr></thead>`
}

function rowsOf(report: Report): string {
  const areas = [...new Set(report.checks.map(({ area }) => area))]
  const byCheck = report.subjects.map(
    ({ outcomes }) => new Map(outcomes.map((outcome) => [outcome.check, outcome])),
  )
  const span = report.subjects.length
  return areas
    .flatMap((area) => [
      `<tr class="area"><th scope="rowgroup">${escaped(area)}</th><td colspan="${span}"></td></tr>`,
      ...report.checks
        .filter((check) => check.area === area)
        .map((check) =>
          rowOf(
            check,
            byCheck.map((outcomes) => outcomes.get(check.id)),
            report,
          ),
        ),
    ])
    .join('\n')
}

function rowOf(
  { id, rule, strength, requirement }: CheckRecord,
  outcomes: readonly (OutcomeRecord | undefined)[],
  { subjects }: Report,
): string {
  const cells = outcomes.map((outcome, at) => {
    if (outcome === undefined) return '<td></td>'
    const { mark, className } = marks[outcome.status]
    const label = `${id}, ${subjects[at]!.label}: ${outcome.status}`
    const data = `data-subject="${at}" data-check="${escaped(id)}" aria-pressed="false"`
    return `<td><button class="${className}" ${data} aria-label="${escaped(label)}">${mark}</button></td>`
  })
  const title = `${rule}, ${ruleNames[rule]}; ${strength}`
  const name = `<code title="${escaped(title)}">${escaped(id)}</code> ${escaped(requirement)}`
  return `<tr class="check"><th scope="row">${name}</th>${cells.join('')}</tr>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (found) => `&#${found.charCodeAt(0)};`)
}

/** Within a script element only `<` can end it or begin a comment. */
function asData(report: Report): string {
  return JSON.stringify(report).replace(/</g, '\\u003c')
}
