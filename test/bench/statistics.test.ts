/** Medians, ratios and goals of the benchmark. */
import { CASES, TARGETS, roundsOf, selectCases, selectTargets, targetsOf } from '../../bench/matrix'
import type { Outcome } from '../../bench/statistics'
import { evaluate, median, spread } from '../../bench/statistics'
import { makeTrial } from './fixtures'

const [echo64] = selectCases(['echo-64B-64'])

function evaluateEcho64(uring: Outcome[], node: Outcome[]) {
  if (!echo64) throw new Error('the case is gone')
  const { targets } = evaluate(
    echo64,
    new Map([
      ['node', node],
      ['uring', uring],
    ]),
  )
  const [base, ours] = targets
  if (!base || !ours) throw new Error('a target is gone')
  return { base, ours }
}

const cpu = (...values: number[]): Outcome[] =>
  values.map((value) => ({ trial: makeTrial({ cpuUsPerOp: value, opsPerSecond: 1e6 / value }) }))

describe('median and spread', () => {
  test('the median of an odd number of values is the middle one, whatever their order', () => {
    expect(median([9, 1, 100])).toBe(9)
  })

  test('the median of an even number of values is halfway between the middle two', () => {
    expect(median([4, 1, 2, 100])).toBe(3)
  })

  test('sorting is by number and does not change the input', () => {
    const values = [10, 9, 100]
    expect(spread(values)).toEqual({ median: 10, min: 9, max: 100 })
    expect(values).toEqual([10, 9, 100])
  })

  test('there is no median of nothing', () => {
    expect(() => median([])).toThrow('median of nothing')
  })
})

describe('evaluate', () => {
  test('a ratio is the median of those of the rounds, so that a round on a slow machine is only one', () => {
    const { ours, base } = evaluateEcho64(cpu(5, 12, 9), cpu(10, 15, 10))
    expect(base.ratios).toBeNull()
    expect(ours.ratios?.cpuUsPerOp).toEqual({ median: 0.8, min: 0.5, max: 0.9 })
  })

  test('goals are judged in both directions, as rounded in print', () => {
    const met = evaluateEcho64(cpu(6.54), cpu(10)).ours.verdicts
    expect(met.map((verdict) => [verdict.goal.metric, verdict.isMet])).toEqual([
      ['cpuUsPerOp', true],
      ['opsPerSecond', true],
    ])
    const missed = evaluateEcho64(cpu(7.3), cpu(10)).ours.verdicts
    expect(missed.map((verdict) => verdict.isMet)).toEqual([false, false])
  })

  test('a goal without a base is judged by the figure itself, even if node:net has none', () => {
    const [one] = selectCases(['fairness'])
    if (!one) throw new Error('the case is gone')
    const shares = (...values: number[]): Outcome[] =>
      values.map((share) => ({ trial: makeTrial({ share }) }))
    const judged = (outcomes: Outcome[]) =>
      evaluate(one, new Map([['uring', outcomes]])).targets[0]?.verdicts.map(
        ({ reached, isMet }) => [reached, isMet],
      )
    expect(judged(shares(0.2, 0.5, 0.9))).toEqual([[0.5, true]])
    expect(judged(shares(0.49))).toEqual([[0.49, false]])
    expect(judged([{ failure: 'no' }])).toEqual([])
  })

  test('what a case does not tell has neither a figure nor a ratio', () => {
    const one = { p50Us: null, p99Us: null, elapsedMs: 5 }
    const { ours } = evaluateEcho64([{ trial: makeTrial(one) }], [{ trial: makeTrial(one) }])
    expect(ours.summary).toMatchObject({ p50Us: null, p99Us: null, share: null })
    expect(ours.ratios).toMatchObject({ p50Us: null, share: null, elapsedMs: { median: 1 } })
  })

  test('a failed trial is in no median and its round in no spread', () => {
    const { ours } = evaluateEcho64(
      [{ failure: 'the server is gone' }, ...cpu(6, 6)],
      cpu(1, 10, 10),
    )
    expect(ours.failures).toEqual(['the server is gone'])
    expect(ours.ratios?.cpuUsPerOp).toEqual({ median: 0.6, min: 0.6, max: 0.6 })
  })

  test('without a single trial there is neither summary nor verdict', () => {
    const { ours } = evaluateEcho64([{ failure: 'no' }], cpu(10))
    expect(ours).toMatchObject({ summary: null, ratios: null, verdicts: [] })
  })
})

describe('selection', () => {
  test('an exact id selects that case only, a beginning all that begin so, in matrix order', () => {
    expect(selectCases(['stream-64KB']).map((one) => one.id)).toEqual(['stream-64KB'])
    expect(selectCases(['churn', 'echo']).map((one) => one.id)).toEqual([
      'echo-64B-1',
      'echo-64B-64',
      'echo-64B-500',
      'echo-64B-2000',
      'churn',
    ])
    expect(() => selectCases(['ecko'])).toThrow("no case 'ecko'")
  })

  test('targets keep the order in which trials alternate', () => {
    expect(selectTargets(['epoll', 'node'])).toEqual(['node', 'epoll'])
    expect(() => selectTargets(['bun'])).toThrow("no target 'bun'")
  })

  test('floors run echo only, the low-level API what it has a counterpart of, and all else runs everywhere', () => {
    const [echo, http, proxy] = selectCases(['echo-64B-1', 'http-hello', 'proxy'])
    if (!echo || !http || !proxy) throw new Error('the case is gone')
    expect(targetsOf(echo, TARGETS)).toEqual(TARGETS)
    expect(targetsOf(http, TARGETS)).toEqual(['node', 'uring', 'epoll', 'register'])
    expect(targetsOf(http, ['floor-epoll'])).toEqual([])
    expect(targetsOf(proxy, TARGETS)).toEqual(['node', 'core'])
  })

  test('what does not vary takes fewer rounds, but at least one', () => {
    const [steady, other] = selectCases(['idle', 'churn']).reverse()
    if (!steady || !other) throw new Error('the case is gone')
    expect([1, 2, 5].map((trials) => roundsOf(steady, trials))).toEqual([1, 1, 3])
    expect(roundsOf(other, 5)).toBe(5)
  })

  test('every goal is about a figure that its case tells', () => {
    for (const one of CASES) {
      for (const goal of one.goals)
        expect([one.id, one.metrics]).toEqual([one.id, expect.arrayContaining([goal.metric])])
    }
  })

  test('ids are unique', () => {
    expect(new Set(CASES.map((one) => one.id)).size).toBe(CASES.length)
  })
})
