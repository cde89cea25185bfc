/** Tables, remarks, progress, options and chart of the benchmark. */
import { drawChart } from '../../bench/chart'
import { CASES, METRICS, isThroughput, selectCases, targetsOf } from '../../bench/matrix'
import { parseOptions } from '../../bench/options'
import type { Options } from '../../bench/options'
import { progressLine } from '../../bench/progress'
import { caseTable, overviews, remarks, toMarkdown } from '../../bench/report'
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
  const [throughput, measures] = overviews(makeRun()).map(({ table }) => table.split('\n'))
  const counted = CASES.filter(isThroughput)

  test('the overview has one row per case that counts operations, with ratios, floor and verdicts', () => {
    expect(throughput).toHaveLength(2 + counted.length)
    const row = throughput?.[3]
    expect(row).toContain('0.60×')
    expect(row).toContain('0.30×')
    expect(row).toContain('uring CPU ≤ 0.65 met (0.60)')
    expect(row).toContain('epoll CPU ≤ 0.80 MISSED (0.85)')
  })

  test('every figure of the other cases has a row in a table of its own', () => {
    const figures = CASES.filter((one) => !isThroughput(one)).flatMap((one) => one.metrics)
    expect(measures).toHaveLength(2 + figures.length)
    const memory = measures?.find((line) => line.includes('memory MB'))
    expect(memory).toMatch(
      /\| +200 \| +120 \| +170 \| +100 \| +0\.60× \| +0\.85× \| +0\.50× \| uring memory ≤ 1\.10 met/,
    )
  })

  test('a goal for the figure itself is judged without node:net', () => {
    const share = measures?.find((line) => line.includes('| slowest / fastest '))
    expect(share).toContain('uring slowest / fastest ≥ 0.50 met (0.83)')
  })

  test('titles and description name the Node of the servers', () => {
    const run = makeRun()
    const other = { ...run, machine: { ...run.machine, node: '24.1.2', loadNode: '20.0.0' } }
    for (const { title } of overviews(other)) expect(title).toContain('Node 24.1.2')
    expect(toMarkdown(other)).toContain(', Node 24.1.2,')
  })

  test('a table that would be empty is left out', () => {
    const run = makeRun()
    const results = run.results.filter((result) => isThroughput(result.case))
    expect(overviews({ ...run, results })).toHaveLength(1)
  })

  test('floors have a row where they ran, and only there', () => {
    const tables = makeRun().results.map((result) => [result.case.kind, caseTable(result)] as const)
    for (const [kind, table] of tables) {
      expect(table.includes('floor, C on io_uring')).toBe(kind === 'echo')
    }
  })

  test('a case has the columns of its figures, and no others', () => {
    const header = (id: string) => {
      const result = makeRun().results.find((candidate) => candidate.case.id === id)
      if (!result) throw new Error('the case is gone')
      return caseTable(result)
        .split('\n')[0]
        ?.split('|')
        .map((cell) => cell.trim())
        .filter((cell) => cell !== '')
    }
    expect(header('destroy-4000')).toEqual(['target', 'time ms', '× time', 'busy'])
    expect(header('fairness')).toContain('p99 µs')
    expect(header('h2c')).not.toContain('p50 µs')
    expect(header('uploads')).toContain('MB/s')
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
    expect(tables).toHaveLength(2 + CASES.length)
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

  test('where no operations are counted nobody sets a pace', () => {
    const [one] = selectCases(['destroy'])
    if (!one) throw new Error('the case is gone')
    const trial = makeTrial({ serverBusy: 0.8, loadBusy: 0.99 })
    expect(remarks([evaluate(one, new Map([['node', [{ trial }]]]))])).toEqual([])
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
    expect(parseOptions(['--targets', 'node'])).toMatchObject({ isFull: false })
    expect(parseOptions(['--cases', 'echo'])).toMatchObject({ isFull: false })
  })

  test('servers run on the node that runs the benchmark, or on another one', () => {
    expect(parseOptions([])).toMatchObject({ node: process.execPath })
    expect(parseOptions(['--node', '/some/node'])).toMatchObject({
      node: '/some/node',
      isFull: true,
    })
  })

  test('an open loop takes the echo cases, without the goals of a closed one', () => {
    const options = parseOptions(['--open-loop', '20000']) as Options
    expect(options).toMatchObject({ openLoopRate: 20_000, isFull: false })
    expect(options.cases.map((one) => one.kind)).toEqual(
      CASES.map((one) => one.kind).filter((kind) => kind === 'echo' || kind === 'ws-echo'),
    )
    expect(options.cases.flatMap((one) => one.goals)).toEqual([])
    expect(parseOptions([])).toMatchObject({ openLoopRate: null })
  })

  test('an open loop refuses other cases, and rates that are none', () => {
    expect(() => parseOptions(['--open-loop', '9', '--cases', 'echo,churn'])).toThrow(
      '--open-loop cannot load churn',
    )
    expect(() => parseOptions(['--open-loop', '0'])).toThrow('--open-loop needs a whole number')
  })

  test('bad numbers and unknown options are refused', () => {
    expect(() => parseOptions(['--trials', '1.5'])).toThrow('--trials needs a whole number')
    expect(() => parseOptions(['--seconds', 'x'])).toThrow('--seconds needs a number')
    expect(() => parseOptions(['--fast'])).toThrow('--fast')
  })

  test('what is asked for in the place of a run is told', () => {
    expect(parseOptions(['--help'])).toBe('help')
    expect(parseOptions(['--page'])).toBe('page')
  })
})

describe('chart', () => {
  const run = makeRun()
  const svg = drawChart(run)

  test('there is a bar per case, what ran it and panel that the case has a figure for, inside the picture', () => {
    const bars = [
      ...svg.matchAll(/<rect class="(?:uring|epoll|core)" x="([\d.]+)" [^>]*width="([\d.]+)"/g),
    ]
    const due = run.results.map(({ case: one }) => {
      const panels = new Set(one.metrics.map((metric) => METRICS[metric].better))
      return panels.size * targetsOf(one, ['uring', 'epoll', 'core']).length
    })
    const legend = 3
    expect(bars).toHaveLength(due.reduce((sum, count) => sum + count, legend))
    for (const [, x, width] of bars) expect(Number(x) + Number(width)).toBeLessThanOrEqual(920)
  })

  test('a floor is marked where one ran, in both panels', () => {
    const echoes = CASES.filter((one) => one.kind === 'echo')
    expect(svg.match(/<circle class="floor"/g)).toHaveLength(1 + echoes.length * 2)
  })

  test('text is escaped and nothing is loaded from elsewhere', () => {
    expect(svg).toContain('Some CPU &lt;1 &amp; only>')
    expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|url\(|@import/)
  })
})
