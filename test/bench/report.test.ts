/** Tables, remarks, progress, options and chart of the benchmark. */
import { drawChart } from '../../bench/chart'
import { CASES, selectCases } from '../../bench/matrix'
import { parseOptions } from '../../bench/options'
import { progressLine } from '../../bench/progress'
import { caseTable, overview, remarks, toMarkdown } from '../../bench/report'
import { evaluate } from '../../bench/statistics'
import { renderTable } from '../../bench/table'
import { makeRun, makeTrial } from './fixtures'

describe('table', () => {
  test('columns are aligned, the first to the left', () => {
    expect(
      renderTable(
        ['name', 'n'],
        [
          ['a', '1'],
          ['longer', '1,000'],
        ],
      ),
    ).toBe(
      ['| name   |     n |', '| ------ | ----: |', '| a      |     1 |', '| longer | 1,000 |'].join(
        '\n',
      ),
    )
  })

  test('a short row is filled up', () => {
    expect(renderTable(['a', 'b'], [['x']]).split('\n')[2]).toBe('| x   |     |')
  })
})

describe('report', () => {
  test('the overview has one row per case with ratios and verdicts', () => {
    const lines = overview(makeRun().results).split('\n')
    expect(lines).toHaveLength(2 + CASES.length)
    expect(lines[3]).toContain('0.60×')
    expect(lines[3]).toContain('uring CPU ≤ 0.70 met (0.60)')
    expect(lines[3]).toContain('epoll CPU ≤ 0.80 MISSED (0.85)')
  })

  test('a stream is reported in MB/s', () => {
    const stream = makeRun().results.find((result) => result.case.id === 'stream-64KB')
    if (!stream) throw new Error('the case is gone')
    const [header, , node] = caseTable(stream).split('\n')
    expect(header).toContain('MB/s')
    expect(node).toContain('6,554') // 100,000 pieces of 64 KB
  })

  test('every line of the Markdown tables has the same number of cells', () => {
    const tables = toMarkdown(makeRun())
      .split('\n\n')
      .filter((part) => part.startsWith('|'))
    expect(tables).toHaveLength(1 + CASES.length)
    for (const table of tables) {
      const counts = table
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' | ').length)
      expect(new Set(counts).size).toBe(1)
    }
  })

  test('a load generator that set the pace and a failed trial are remarked upon', () => {
    const [one] = selectCases(['churn'])
    if (!one) throw new Error('the case is gone')
    const trial = makeTrial({ serverBusy: 0.8, loadBusy: 0.99 })
    const result = evaluate(one, new Map([['node', [{ trial }, { failure: 'port in use' }]]]))
    const [failure, pace] = remarks([result])
    expect(failure).toContain('port in use')
    expect(pace).toContain('the load generator set the pace')
    expect(remarks(makeRun().results)).toEqual([])
  })
})

describe('progress', () => {
  test('the line has a bar, a count and the time left', () => {
    const line = progressLine(25, 100, 'churn', 60)
    expect(line).toMatch(/^█{6}░{18} 25\/100 · 3:00 left · churn$/)
  })
})

describe('options', () => {
  test('without arguments the run is full', () => {
    expect(parseOptions([])).toMatchObject({ trials: 5, seconds: 3, isFull: true })
  })

  test('a selection or a quick run is not full', () => {
    expect(parseOptions(['--quick'])).toMatchObject({ trials: 2, seconds: 1, isFull: false })
    expect(parseOptions(['--targets', 'node'])?.isFull).toBe(false)
    expect(parseOptions(['--cases', 'echo'])?.isFull).toBe(false)
  })

  test('bad numbers and unknown options are refused', () => {
    expect(() => parseOptions(['--trials', '1.5'])).toThrow('--trials needs a whole number')
    expect(() => parseOptions(['--seconds', 'x'])).toThrow('--seconds needs a number')
    expect(() => parseOptions(['--fast'])).toThrow('--fast')
  })
})

describe('chart', () => {
  const svg = drawChart(makeRun())

  test('there is a bar per case, driver and panel, inside the picture', () => {
    const bars = [
      ...svg.matchAll(/<rect class="(?:uring|epoll)" x="([\d.]+)" [^>]*width="([\d.]+)"/g),
    ]
    expect(bars).toHaveLength(2 + CASES.length * 2 * 2)
    for (const [, x, width] of bars) expect(Number(x) + Number(width)).toBeLessThanOrEqual(920)
  })

  test('text is escaped and nothing is loaded from elsewhere', () => {
    expect(svg).toContain('Some CPU &lt;1 &amp; only>')
    expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|url\(|@import/)
  })
})
