/**
 * The page of the dashboard: one document with its style and script, which asks for the numbers once a second. No request
 * leaves the server it came from.
 */
export const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>uring-net</title>
<style>
:root { color-scheme: light dark; --text: #1d2433; --dim: #5b6577; --line: #d9dee7; --back: #f6f7f9; --card: #fff; --in: #2563eb; --out: #c2410c; --warn: #b91c1c }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ef; --dim: #9aa4b5; --line: #2d3543; --back: #12161d; --card: #1a202a; --in: #7aa7ff; --out: #ff9e64; --warn: #ff8080 } }
* { box-sizing: border-box }
body { margin: 0; padding: 1.5rem; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif }
main { max-width: 62rem; margin: 0 auto }
h1 { margin: 0; font-size: 1.35rem }
header p { margin: .2rem 0 1.2rem; color: var(--dim); overflow-wrap: anywhere }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .8rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem .9rem }
.card h2 { margin: 0; font-size: .82rem; font-weight: 600; color: var(--dim) }
.card strong { display: block; margin: .1rem 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums }
.card small { color: var(--dim) }
.wide { grid-column: 1 / -1 }
svg { display: block; width: 100%; height: 120px; margin: .5rem 0; border-bottom: 1px solid var(--line) }
polyline { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round }
.in { stroke: var(--in) } .out { stroke: var(--out) }
.key { font-size: .82rem; color: var(--dim) }
.key b { font-weight: 600 } .key .i { color: var(--in) } .key .o { color: var(--out) }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
td { padding: .2rem 0; border-top: 1px solid var(--line) } td:last-child { text-align: right }
tr:first-child td { border-top: 0 }
.warn { color: var(--warn) }
[hidden] { display: none }
</style>
</head>
<body>
<main>
<header><h1>uring-net on <span id="name">…</span></h1><p id="reason"></p></header>
<p id="lost" class="warn" role="status" hidden>The server does not answer.</p>
<div class="cards">
  <section class="card"><h2>Open sockets</h2><strong id="endpoints">–</strong><small id="opened"></small></section>
  <section class="card"><h2>Operations in flight</h2><strong id="inFlight">–</strong><small id="submissions"></small></section>
  <section class="card"><h2>Completions per batch</h2><strong id="perBatch">–</strong><small id="batches"></small></section>
  <section class="card"><h2>Receive pool ran dry</h2><strong id="poolExhausted">–</strong><small>times since the start</small></section>
  <section class="card wide"><h2>Throughput of the driver, last two minutes</h2>
    <svg id="chart" viewBox="0 0 119 100" preserveAspectRatio="none" role="img" aria-label="Bytes per second, received and sent"><polyline class="in"/><polyline class="out"/></svg>
    <div class="key"><b class="i">received</b> <span id="rateIn">–</span> &nbsp; <b class="o">sent</b> <span id="rateOut">–</span> &nbsp; highest <span id="highest">–</span></div></section>
  <section class="card wide"><h2>Process</h2><table id="process"></table></section>
  <section class="card wide"><h2>All counters</h2><table id="counters"></table></section>
</div>
</main>
<script>
const seconds = 120, history = []
let before
const at = (id) => document.getElementById(id)
const count = (n) => Number(n ?? 0).toLocaleString('en')
const bytes = (n) => { const units = ['B', 'kB', 'MB', 'GB', 'TB']; let i = 0; while (n >= 1000 && i < units.length - 1) { n /= 1000; i++ } return n.toFixed(i === 0 || n >= 100 ? 0 : 1) + ' ' + units[i] }
const set = (id, text) => { at(id).textContent = text }
function rows(id, entries) {
  at(id).replaceChildren(...entries.map(([name, value]) => {
    const row = document.createElement('tr')
    for (const text of [name, value]) row.append(Object.assign(document.createElement('td'), { textContent: text }))
    return row
  }))
}
function draw(name, highest) {
  const points = history.map((one, i) => (seconds - history.length + i) + ',' + (98 - 96 * one[name] / highest).toFixed(2))
  document.querySelector('polyline.' + name).setAttribute('points', points.join(' '))
}
function show(now) {
  const { driver, stats, process } = now
  set('name', driver.name); set('reason', driver.reason)
  document.title = 'uring-net on ' + driver.name
  const elapsed = before === undefined ? 0 : (now.time - before.time) / 1000
  const since = (key) => (stats[key] ?? 0) - (before?.stats[key] ?? 0)
  const rate = (key) => elapsed > 0 ? since(key) / elapsed : 0
  set('endpoints', count(stats.endpoints)); set('opened', count(stats.opened) + ' opened since the start')
  set('inFlight', count(stats.inFlight)); set('submissions', count(Math.round(rate('submissions'))) + ' started per second')
  const batches = elapsed > 0 ? since('batches') : 0
  set('perBatch', batches > 0 ? (since('completions') / batches).toFixed(1) : '–'); set('batches', count(Math.round(rate('batches'))) + ' batches per second')
  set('poolExhausted', count(stats.poolExhausted)); at('poolExhausted').className = elapsed > 0 && since('poolExhausted') > 0 ? 'warn' : ''
  if (elapsed > 0) {
    history.push({ in: rate('bytesReceived'), out: rate('bytesSent') })
    if (history.length > seconds) history.shift()
    const highest = Math.max(1, ...history.flatMap((one) => [one.in, one.out]))
    draw('in', highest); draw('out', highest)
    set('rateIn', bytes(rate('bytesReceived')) + '/s'); set('rateOut', bytes(rate('bytesSent')) + '/s'); set('highest', bytes(highest === 1 ? 0 : highest) + '/s')
    rows('process', [['process', process.pid + (process.threadId > 0 ? ', thread ' + process.threadId : '')], ['Node.js', process.version], ['running for', count(Math.round(process.uptime)) + ' s'], ['CPU', ((process.cpu - before.process.cpu) / elapsed / 1e4).toFixed(0) + ' %'], ['resident memory', bytes(process.memory)]])
  }
  rows('counters', Object.entries(stats).filter(([, value]) => typeof value === 'number').map(([name, value]) => [name, count(value)]))
  before = now
}
async function ask() {
  try {
    const response = await fetch(location.pathname.replace(/\\/+$/, '') + '/stats.json', { cache: 'no-store' })
    if (!response.ok) throw new Error(response.statusText)
    show(await response.json())
    at('lost').hidden = true
  } catch { at('lost').hidden = false; before = undefined }
  setTimeout(ask, 1000)
}
ask()
</script>
</body>
</html>
`
