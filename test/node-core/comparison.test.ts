/** A run held against plain Node, and what is refused as a measure. */
import type { Run } from './comparison'
import { applicable, compare } from './comparison'
import { circumstances } from './fixtures'
import type { Baseline, Outcome } from './records'
import { checkBaseline, checkExpectations, differences } from './records'
import { baselineReport, comparisonReport } from './report'

const NET = 'parallel/test-net-a.js'
const HTTP = 'parallel/test-http-a.js'
const BROKEN = 'parallel/test-tls-broken.js'

const baseline: Baseline = {
  circumstances,
  tests: { [NET]: 'pass', [HTTP]: 'flaky', [BROKEN]: 'fail' },
}

function makeRun(tests: Record<string, Outcome>, changes: Partial<Run> = {}): Run {
  return { node: '24.12.0', driver: 'uring', tests, isComplete: true, ...changes }
}

const good = { [NET]: 'pass', [HTTP]: 'pass', [BROKEN]: 'fail' } as const
const expectation = { test: NET, reason: 'reads a private field' }

describe('comparison', () => {
  test('a run that passes what plain Node passes has nothing to report', () => {
    expect(compare(makeRun(good), baseline, [])).toEqual({
      regressions: [],
      expected: [],
      stale: {},
      gained: [],
      flaky: [],
      unknown: [],
      areas: {
        net: { baseline: 1, passes: 1, expected: 0 },
        http: { baseline: 1, passes: 1, expected: 0 },
      },
    })
  })

  test('a test that fails now and passes on plain Node is a regression', () => {
    const comparison = compare(makeRun({ ...good, [NET]: 'fail' }), baseline, [])
    expect(comparison.regressions).toEqual([NET])
    expect(comparison.areas.net).toEqual({ baseline: 1, passes: 0, expected: 0 })
  })

  test('a test that skips itself now, and runs on plain Node, is a regression', () => {
    expect(compare(makeRun({ ...good, [NET]: 'skip' }), baseline, []).regressions).toEqual([NET])
  })

  test('an expected failure is none', () => {
    const comparison = compare(makeRun({ ...good, [NET]: 'fail' }), baseline, [expectation])
    expect(comparison).toMatchObject({ regressions: [], expected: [NET], stale: {} })
    expect(comparison.areas.net).toEqual({ baseline: 1, passes: 0, expected: 1 })
  })

  test('an expectation whose test passes is stale', () => {
    expect(compare(makeRun(good), baseline, [expectation]).stale).toEqual({ [NET]: 'passes' })
  })

  test('an expectation whose test fails on plain Node too is stale', () => {
    const { stale } = compare(makeRun(good), baseline, [{ ...expectation, test: BROKEN }])
    expect(stale).toEqual({ [BROKEN]: 'does not pass on plain Node either' })
  })

  test('an expectation for a test that is not there is stale, when all tests were run', () => {
    const entries = [{ ...expectation, test: 'parallel/test-net-typo.js' }]
    const partial = makeRun(good, { isComplete: false })
    expect(compare(makeRun(good), baseline, entries).stale).toEqual({
      'parallel/test-net-typo.js': 'is not among the tests',
    })
    expect(compare(partial, baseline, entries).stale).toEqual({})
  })

  test('what passes only here, what needed a second attempt and what is new are told apart', () => {
    const tests = { [NET]: 'flaky', [BROKEN]: 'pass', 'parallel/test-net-new.js': 'fail' } as const
    expect(compare(makeRun(tests), baseline, [])).toMatchObject({
      regressions: [],
      gained: [BROKEN],
      flaky: [NET],
      unknown: ['parallel/test-net-new.js'],
    })
  })

  test('an expectation for one version or driver does not excuse another', () => {
    const here = { node: '24.12.0', driver: 'uring' } as const
    const isIn = (entry: object) => applicable([{ ...expectation, ...entry }], here).length === 1
    expect([{}, { node: '24' }, { node: '24.12.0', driver: 'uring' as const }].map(isIn)).toEqual([
      true,
      true,
      true,
    ])
    expect(
      [{ node: '2' }, { node: '20' }, { node: '24.1' }, { driver: 'epoll' }].map(isIn),
    ).toEqual([false, false, false, false])
  })
})

describe('records', () => {
  test('a baseline of another version of Node is refused', () => {
    expect(() => checkBaseline(baseline, '20.20.2')).toThrow(
      'the baseline is of Node 24.12.0, the binary is Node 20.20.2',
    )
    expect(checkBaseline(baseline, '24.12.0')).toBe(baseline)
  })

  test('another suite and other circumstances are named, another day and kernel are not', () => {
    const now = { ...circumstances, fingerprint: 'ffffffffffff', helpers: 'h2load' }
    expect(differences(now, circumstances)).toEqual([
      'fingerprint is ffffffffffff, in the baseline 0123456789ab',
      'helpers is h2load, in the baseline openssl-cli h2load',
    ])
    expect(
      differences({ ...circumstances, date: '2027-01-01', kernel: '7' }, circumstances),
    ).toEqual([])
  })

  test.each([
    [{}, 'holds a list'],
    [[{ test: NET }], 'test, reason'],
    [[{ test: NET, reason: '' }], 'test, reason'],
    [[{ ...expectation, version: '24' }], "what is 'version'?"],
    [[{ ...expectation, node: 24 }], "what is 'node'?"],
    [[{ ...expectation, driver: 'node' }], 'driver is one of'],
  ])('the expectations %j are refused', (value, message) => {
    expect(() => checkExpectations(value)).toThrow(message)
  })
})

describe('report', () => {
  test('a regression has one line with what was seen, and the table counts it', () => {
    const comparison = compare(makeRun({ ...good, [NET]: 'fail' }), baseline, [])
    const lines = comparisonReport(comparison, { [NET]: 'timeout' }, {}).split('\n')
    expect(lines[0]).toBe(`regression  ${NET}  timeout`)
    expect(lines.find((line) => line.startsWith('| net'))).toMatch(
      /\| net +\| +1 \| +0 \| +0 \| +1 \|/,
    )
  })

  test('a stale expectation has one line', () => {
    const comparison = compare(makeRun(good), baseline, [expectation])
    expect(comparisonReport(comparison, {}, {})).toContain(
      `stale       ${NET}  expected to fail; passes`,
    )
  })

  test('plain Node is counted by area', () => {
    const lines = baselineReport(baseline.tests, { [BROKEN]: 'exit 1' }).split('\n')
    expect(lines[0]).toBe(`fail        ${BROKEN}  exit 1`)
    expect(lines.at(-1)).toMatch(/\| all +\| +3 \| +2 \| +1 \| +0 \| +1 \|/)
  })
})
