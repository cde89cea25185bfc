/**
 * The suite's own test: every fault against the checks of the areas in which it is to be caught, in processes of their own;
 * with URING_NET_TEST_WHOLE=1 against all, which takes three times as long. A test for each fault: it is caught by the
 * checks that it lists, for the reasons that it lists, and by no other. A test for each check: it has a fault.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Check } from './check'
import { checks } from './checks/index'
import type { Fault } from './fault'
import { faults } from './faults/index'
import { runNode, suite } from './program'
import { lostRecord } from './report/record'
import { checksNear, findMismatches, findUnseen, judge } from './self'
import type { SelfReport } from './self'

const isWhole = process.env['URING_NET_TEST_WHOLE'] === '1'

/** Two minutes on two idle cores; all against all more than ten, beside other work. */
const runMs = 900_000

describe('every fault', () => {
  let report: SelfReport

  beforeAll(async () => {
    const directory = mkdtempSync(join(tmpdir(), 'compat-self-'))
    const json = join(directory, 'self.json')
    try {
      const { stderr } = await runNode(
        [suite, '--faults', ...(isWhole ? ['--whole'] : []), '--json', json],
        runMs,
      )
      if (stderr !== '') throw new Error(stderr)
      report = JSON.parse(readFileSync(json, 'utf8')) as SelfReport
    } finally {
      rmSync(directory, { recursive: true })
    }
  }, runMs + 10_000)

  test('was run with all that may catch it', () => {
    const near = faults.reduce((sum, fault) => sum + checksNear(fault).length, 0)
    expect(report.runs).toBe(isWhole ? faults.length * checks.length : near)
  })

  for (const { name, imitates } of faults) {
    test(`${name} is caught as it says: ${imitates}`, () => {
      expect(report.findings.filter(({ fault }) => fault === name)).toEqual([])
    })
  }

  test('every hazard is looked at by a check, or says why it cannot be', () => {
    const unseen = report.findings.filter(({ fault, check }) => fault === '' && check === '')
    expect(unseen).toEqual([])
  })

  for (const { id } of checks) {
    test(`${id} has a fault`, () => {
      expect(report.findings.filter(({ fault, check }) => fault === '' && check === id)).toEqual([])
    })
  }
})

describe('the verdict', () => {
  const fault = {
    name: 'wrong',
    caughtBy: { 'W1-1': /^bytes lost/ },
    alsoCaughtBy: { 'W1-3': /^bytes lost/ },
  } as unknown as Fault
  const outcome = (check: string, reason: string) => lostRecord(check, reason)

  test('is silent about what was announced', () => {
    expect(judge(fault, outcome('W1-1', 'bytes lost at the end'))).toBeUndefined()
    expect(judge(fault, { ...outcome('W1-2', ''), status: 'passed' })).toBeUndefined()
    expect(judge(fault, { ...outcome('W1-2', ''), status: 'not applicable' })).toBeUndefined()
    // On some versions of Node, and not on others.
    expect(judge(fault, outcome('W1-3', 'bytes lost at the end'))).toBeUndefined()
    expect(judge(fault, { ...outcome('W1-3', ''), status: 'passed' })).toBeUndefined()
  })

  test.each([
    ['not caught', { ...outcome('W1-1', ''), status: 'passed' as const }, /^not caught: passed$/],
    ['not run', { ...outcome('W1-1', ''), status: 'not applicable' as const }, /^not caught: not/],
    ['caught for another reason', outcome('W1-1', 'timed out'), /another message: timed out/],
    [
      'caught by one of some versions for another reason',
      outcome('W1-3', 'timed out'),
      /another message: timed out/,
    ],
    ['caught by a check that is not listed', outcome('W1-2', 'no'), /^caught, and not listed: no$/],
  ])('names a fault that is %s', (_title, record, problem) => {
    expect(judge(fault, record)).toMatchObject({
      fault: 'wrong',
      check: record.check,
      problem: expect.stringMatching(problem),
    })
  })

  test('names hazards that no check looks at, and numbers of none', () => {
    const looking = { hazards: [2, 999] } as unknown as Check
    const problems = findUnseen([looking]).map(({ problem }) => problem)
    expect(problems).toContain('no check looks at hazard 1 other-bytes-after-would-block')
    expect(problems).toContain('there is no hazard 999')
    expect(problems.join()).not.toMatch(/hazard (2|17) /)
  })

  test('names checks without a fault, checks that do not exist, and what exists twice', () => {
    const check = (id: string) => ({ id }) as Check
    const empty = { name: 'empty', caughtBy: {} } as unknown as Fault
    const all = findMismatches(
      [check('W1-2'), check('W1-3'), check('W1-3')],
      [fault, fault, empty, { ...fault, name: 'other', caughtBy: { 'W1-3': /x/ } }],
    )
    expect(all).toEqual([
      { fault: '', check: 'W1-3', problem: 'two checks have this id' },
      { fault: 'wrong', check: '', problem: 'two faults have this name' },
      { fault: '', check: 'W1-2', problem: 'no fault is listed as caught by it' },
      { fault: 'wrong', check: 'W1-1', problem: 'it lists a check that does not exist' },
      { fault: 'wrong', check: 'W1-1', problem: 'it lists a check that does not exist' },
      { fault: 'empty', check: '', problem: 'it lists no check' },
    ])
  })
})
