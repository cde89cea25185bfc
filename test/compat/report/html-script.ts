/** What the page does: a cell shows its outcome, the fields filter rows, arrows move between cells. Plain browser code. */
export const script = `
'use strict'
const report = JSON.parse(document.getElementById('report').textContent)
const checks = new Map(report.checks.map((check) => [check.id, check]))
const cells = document.querySelector('.matrix')
const panel = document.querySelector('aside')
const names = { passed: 'passed', failed: 'failed', 'known failure': 'known', 'not applicable': 'none' }
let shown = null

function make(name, text, className) {
  const element = document.createElement(name)
  if (text !== undefined) element.textContent = text
  if (className !== undefined) element.className = className
  return element
}

function show(button) {
  if (shown !== null) shown.setAttribute('aria-pressed', 'false')
  shown = button
  panel.hidden = button === null
  if (button === null) return
  button.setAttribute('aria-pressed', 'true')
  const subject = report.subjects[Number(button.dataset.subject)]
  const check = checks.get(button.dataset.check)
  const outcome = subject.outcomes.find((one) => one.check === check.id)
  const close = make('button', '✕', 'close')
  close.setAttribute('aria-label', 'close')
  close.onclick = () => show(null)
  const list = make('dl')
  const item = (name, element) => {
    const value = make('dd')
    value.append(element)
    list.append(make('dt', name), value)
  }
  item('must hold', outcome.requirement ?? check.requirement)
  if (outcome.reason !== '') {
    const name = outcome.status === 'failed' ? 'observed' : 'because'
    item(name, make('pre', outcome.reason, 'reason'))
  }
  if (outcome.expected !== undefined) item('expected', make('pre', outcome.expected, 'expected'))
  if (outcome.observed !== undefined) item('instead', make('pre', outcome.observed, 'instead'))
  item('why it matters', check.intent)
  item('comes from', 'rule ' + check.rule + (check.hazards.length > 0 ? ', hazards ' + check.hazards.join(', ') : ''))
  if (outcome.trace.length > 0) {
    const lines = outcome.trace.map(({ ms, side, what }) =>
      ms.toFixed(1).padStart(8) + ' ms  ' + side.padEnd(3) + ' ' + what)
    if (outcome.traceOmitted > 0) lines.unshift('… ' + outcome.traceOmitted + ' before')
    item('trace (a is judged, b is its peer)', make('pre', lines.join('\\n'), 'trace'))
  }
  if (outcome.status === 'failed' && outcome.stack) item('stack', make('pre', outcome.stack, 'trace'))
  const where = check.area + ', ' + check.strength + ', ' + outcome.ms + ' ms'
  panel.replaceChildren(
    close,
    make('h2', check.id + ' · ' + subject.label),
    make('p', where, 'where'),
    make('span', outcome.status, 'verdict ' + names[outcome.status]),
    list,
  )
  panel.scrollTop = 0
  history.replaceState(null, '', '#' + encodeURIComponent(subject.label) + '/' + check.id)
}

cells.addEventListener('click', (event) => {
  const button = event.target.closest('td button')
  if (button !== null) show(button === shown ? null : button)
})

/** Rows above and below, columns left and right; hidden rows are passed over. */
const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }
cells.addEventListener('keydown', (event) => {
  const step = steps[event.key]
  const button = event.target.closest('td button')
  if (step === undefined || button === null) return
  const rows = [...cells.querySelectorAll('tr.check:not([hidden])')]
  const row = rows.indexOf(button.closest('tr')) + step[0]
  const next = rows[row]?.querySelector('[data-subject="' + (Number(button.dataset.subject) + step[1]) + '"]')
  if (!next) return
  event.preventDefault()
  next.focus()
  if (shown !== null) show(next)
})
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') show(null)
})

const search = document.getElementById('search')
const isOnlyBad = document.getElementById('only-bad')
function filter() {
  const wanted = search.value.toLowerCase()
  let area = null
  for (const row of cells.querySelectorAll('tbody tr')) {
    if (row.className === 'area') {
      area = row
      area.hidden = true
      continue
    }
    const isFound = row.textContent.toLowerCase().includes(wanted) || area.textContent.toLowerCase().includes(wanted)
    const isBad = row.querySelector('.failed') !== null
    row.hidden = !isFound || (isOnlyBad.checked && !isBad)
    if (!row.hidden) area.hidden = false
  }
}
search.addEventListener('input', filter)
isOnlyBad.addEventListener('change', filter)

const [label, id] = decodeURIComponent(location.hash.slice(1)).split(/\\/(?=[^/]*$)/)
const linked = report.subjects.findIndex((subject) => subject.label === label)
const start = cells.querySelector('[data-subject="' + linked + '"][data-check="' + id + '"]')
if (start !== null) {
  show(start)
  start.scrollIntoView({ block: 'center' })
}
`
