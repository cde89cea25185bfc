/**
 * Draws the ratios to node:net as one self-contained SVG: a bar per driver and case, node:net as the line at 1. It
 * follows the reader's light or dark scheme and never uses a font or file from elsewhere.
 */
import type { Case, Metric } from './matrix'
import { METRICS, isFloor } from './matrix'
import type { Run } from './report'
import type { CaseResult, Spread, TargetResult } from './statistics'

const WIDTH = 920
const MARGIN = 24
const LABEL_WIDTH = 268
const LABEL_LENGTH = 44
const VALUE_WIDTH = 52
const PANEL_GAP = 26
const TOP = 132
const BAR = 13
const BAR_GAP = 4
const ROW_PADDING = 18

/** The figures of node:net under a case. */
const FIGURES: Record<Metric, (value: number) => string> = {
  cpuUsPerOp: (value) => `${value.toFixed(1)} µs`,
  opsPerSecond: (value) => `${Math.round(value).toLocaleString('en-US')}/s`,
  p50Us: (value) => `p50 ${Math.round(value).toLocaleString('en-US')} µs`,
  rssMb: (value) => `memory ${Math.round(value)} MB`,
  kbPerConnection: (value) => `${value.toFixed(1)} KB each`,
  elapsedMs: (value) => `time ${value.toFixed(1)} ms`,
  share: (value) => `slowest / fastest ${value.toFixed(2)}`,
}

interface Panel {
  better: 'less' | 'more'
  title: string
  left: number
  width: number
  /** The ratio at the right end. */
  scale: number
}

const STYLE = `
  svg { color-scheme: light dark }
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #1f2933 }
  .page { fill: #ffffff } .band { fill: #f3f5f8 } .grid { stroke: #d5dbe3; stroke-dasharray: 2 4 } .one { stroke: #1f2933; stroke-width: 1.5 }
  .title { font-size: 17px; font-weight: 600 } .head { font-weight: 600 } .soft { fill: #5b6774; font-size: 11px }
  .value { font-variant-numeric: tabular-nums; text-anchor: end }
  .uring { fill: #2563c9 } .epoll { fill: #c77700 } .core { fill: #7a4bc2 }
  .range { stroke: #1f2933; stroke-opacity: .55 } .goal { fill: #c2185b }
  .floor { fill: #12805c; stroke: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6eaf0 } .page { fill: #12171e } .band { fill: #1a212b } .grid { stroke: #333e4c }
    .one { stroke: #e6eaf0 } .soft { fill: #9aa7b5 } .uring { fill: #6ea3ff } .epoll { fill: #f0a63a } .core { fill: #b694f0 }
    .range { stroke: #ffffff } .goal { fill: #ff6ea6 } .floor { fill: #3ddba5; stroke: #12171e }
  }`

export function drawChart(run: Run): string {
  const bars = Math.max(...run.results.map(({ targets }) => targets.filter(isDrawn).length))
  const rowHeight = Math.max(bars, 2) * (BAR + BAR_GAP) - BAR_GAP + ROW_PADDING
  const bottom = TOP + run.results.length * rowHeight
  const height = bottom + 52
  const panels = layPanels(run.results)
  const rows = run.results.map((result, index) =>
    drawRow(result, TOP + index * rowHeight, rowHeight, panels),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>uring-net against node:net: what an operation costs and how many there are, as ratios</title>
<style>${STYLE}
</style>
<rect class="page" width="${WIDTH}" height="${height}"/>
${drawHead(run)}
${run.results.map((_, index) => drawBand(index, TOP + index * rowHeight, rowHeight)).join('\n')}
${panels.map((panel) => drawGrid(panel, bottom)).join('\n')}
${rows.join('\n')}
${panels.map((panel) => drawOne(panel, bottom)).join('\n')}
${text(MARGIN, height - 14, 'Thin line: min to max over rounds. Triangle: the goal. Dot: the lower of the floors in C. Figures under each case: node:net.', 'soft')}
</svg>
`
}

function layPanels(results: readonly CaseResult[]): Panel[] {
  const room = WIDTH - 2 * MARGIN - LABEL_WIDTH - PANEL_GAP
  const width = room / 2 - VALUE_WIDTH
  const titles: [Panel['better'], string][] = [
    ['less', 'CPU, memory or time, shorter is better'],
    ['more', 'Operations/s or share, longer is better'],
  ]
  return titles.map(([better, title], index) => {
    const highest = Math.max(
      1.2,
      ...results.flatMap((result) =>
        result.targets
          .filter((one) => isDrawn(one) || isFloor(one.target))
          .map((target) => ratioOf(result.case, target, better) ?? 0),
      ),
    )
    const left = MARGIN + LABEL_WIDTH + index * (width + VALUE_WIDTH + PANEL_GAP)
    return { better, title, left, width, scale: Math.ceil(highest * 5) / 5 }
  })
}

/** The most important figure of the case that is to be low, or high. */
function metricOf(one: Case, better: Panel['better']): Metric | undefined {
  return one.metrics.find((metric) => METRICS[metric].better === better)
}

function ratioOf(one: Case, target: TargetResult, better: Panel['better']): number | undefined {
  const metric = metricOf(one, better)
  return metric && target.ratios?.[metric]?.median
}

function drawHead({ machine, options, date }: Run): string {
  const trials = `Medians of ${options.trials} alternating trials of ${options.seconds} s; ratios to node:net in the same run; ${date}`
  const where = `${machine.cpuModel}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}`
  const legend = (x: number, name: string, title = name) =>
    `<rect class="${name}" x="${x}" y="${TOP - 40}" width="12" height="12" rx="2"/>${text(x + 18, TOP - 30, title)}`
  return [
    text(MARGIN, 34, 'uring-net against node:net', 'title'),
    text(MARGIN, 54, trials, 'soft'),
    text(MARGIN, 70, where, 'soft'),
    legend(MARGIN, 'uring'),
    legend(MARGIN + 72, 'epoll'),
    legend(MARGIN + 144, 'core', 'low-level API'),
    `<line class="one" x1="${MARGIN + 258}" x2="${MARGIN + 258}" y1="${TOP - 41}" y2="${TOP - 27}"/>`,
    text(MARGIN + 266, TOP - 30, 'node:net'),
    `<circle class="floor" cx="${MARGIN + 336}" cy="${TOP - 34}" r="3.5"/>`,
    text(MARGIN + 345, TOP - 30, 'C'),
  ].join('\n')
}

function drawRow(
  result: CaseResult,
  top: number,
  height: number,
  panels: readonly Panel[],
): string {
  const node = result.targets.find((one) => one.target === 'node')
  const drivers = result.targets.filter(isDrawn)
  const bars = drivers.flatMap((driver, place) =>
    panels.map((panel) =>
      drawBar(result.case, driver, panel, top + ROW_PADDING / 2 + place * (BAR + BAR_GAP)),
    ),
  )
  return [
    text(MARGIN, top + height / 2 - 3, shortened(result.case.title)),
    text(MARGIN, top + height / 2 + 12, node ? figuresOf(result.case, node) : '', 'soft'),
    ...bars,
    ...panels.map((panel) => drawFloor(result, panel, top, height)),
  ].join('\n')
}

/** What fits in the column of labels. */
function shortened(title: string): string {
  return title.length <= LABEL_LENGTH ? title : `${title.slice(0, LABEL_LENGTH - 1).trimEnd()}…`
}

function figuresOf(one: Case, { summary }: TargetResult): string {
  const texts = one.metrics.slice(0, 2).flatMap((metric) => {
    const value = summary?.[metric]?.median
    return value === undefined ? [] : [FIGURES[metric](value)]
  })
  return texts.join(', ')
}

function drawBand(index: number, top: number, height: number): string {
  if (index % 2 === 1) return ''
  const width = WIDTH - 2 * MARGIN + 16
  return `<rect class="band" x="${MARGIN - 8}" y="${top}" width="${width}" height="${height}"/>`
}

/** Value labels stand in a column of their own, so that no bar, line or mark can meet them. */
function drawBar(one: Case, driver: TargetResult, panel: Panel, top: number): string {
  const { better, left, width } = panel
  const metric = metricOf(one, better)
  if (!metric) return ''
  const ratio = driver.ratios?.[metric]
  const right = left + width + VALUE_WIDTH - 6
  if (!ratio) return text(right, top + BAR - 2, 'n/a', 'value soft')
  const end = position(panel, ratio.median)
  const goal = driver.verdicts
    .map((verdict) => verdict.goal)
    .find((candidate) => candidate.metric === metric && candidate.base === 'node')
  return [
    `<rect class="${driver.target}" x="${left}" y="${top}" width="${round(end - left)}" height="${BAR}" rx="2"/>`,
    drawRange(panel, ratio, top + BAR / 2),
    ...(goal ? [drawGoal(position(panel, goal.limit), top)] : []),
    text(right, top + BAR - 2, `${ratio.median.toFixed(2)}×`, 'value'),
  ].join('')
}

function drawRange(panel: Panel, { min, max }: Spread, y: number): string {
  const [from, to] = [position(panel, min), position(panel, max)]
  return `<line class="range" x1="${from}" x2="${to}" y1="${y}" y2="${y}"/>`
}

function drawGoal(x: number, top: number): string {
  return `<path class="goal" d="M${round(x - 4)} ${top - 3}h8l-4 7z"/>`
}

/** As far as a server in C gets, over the bars of the row. */
function drawFloor(result: CaseResult, panel: Panel, top: number, height: number): string {
  const ratios = result.targets
    .filter(({ target }) => isFloor(target))
    .flatMap((target) => ratioOf(result.case, target, panel.better) ?? [])
  if (ratios.length === 0) return ''
  const furthest = panel.better === 'less' ? Math.min(...ratios) : Math.max(...ratios)
  return `<circle class="floor" cx="${position(panel, furthest)}" cy="${round(top + height / 2)}" r="3.5"/>`
}

function drawGrid(panel: Panel, bottom: number): string {
  const { left, title, scale } = panel
  const step = scale > 2 ? 1 : 0.5
  const parts = [text(left, TOP - 14, title, 'head')]
  for (let value = 0; value <= scale; value += step) {
    const x = position(panel, value)
    parts.push(
      verticalLine('grid', x, bottom),
      text(x, bottom + 15, String(value), 'soft', 'middle'),
    )
  }
  return parts.join('\n')
}

/** Where node:net stands; over the bars, unlike the grid. */
function drawOne(panel: Panel, bottom: number): string {
  return verticalLine('one', position(panel, 1), bottom)
}

function verticalLine(className: string, x: number, bottom: number): string {
  return `<line class="${className}" x1="${x}" x2="${x}" y1="${TOP - 4}" y2="${bottom}"/>`
}

function position({ left, width, scale }: Panel, ratio: number): number {
  return round(left + (width * Math.min(ratio, scale)) / scale)
}

function text(x: number, y: number, content: string, className = '', anchor = ''): string {
  const attributes = `${className ? ` class="${className}"` : ''}${anchor ? ` text-anchor="${anchor}"` : ''}`
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${round(x)}" y="${round(y)}"${attributes}>${escaped}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

/** The drivers and the low-level API. node:net is the line at 1, and register mode is compared with uring: see the tables. */
function isDrawn({ target }: TargetResult): boolean {
  return target === 'uring' || target === 'epoll' || target === 'core'
}
