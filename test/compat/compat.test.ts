/**
 * The suite on what it was made for: the sockets of each driver in all their guises, and node:net, by the built command
 * line. A test for each check: it names the subjects that fail it. Needs the compiled package (npm run build).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checks } from './checks/index'
import { cli, runNode } from './program'
import type { OutcomeRecord, Report } from './report/record'

const { URING_NET_DRIVER: only } = process.env
const drivers = only === undefined || only === 'auto' ? ['uring', 'epoll', 'node'] : [only]
const runMs = 600_000

describe.each(drivers)('on %s', (driver) => {
  let report: Report
  let said: string

  beforeAll(async () => {
    const directory = mkdtempSync(join(tmpdir(), 'compat-'))
    const json = join(directory, 'report.json')
    try {
      const ended = await runNode([cli, 'conformance', '--driver', driver, '--json', json], runMs)
      said = ended.stdout + ended.stderr
      report = JSON.parse(readFileSync(json, 'utf8')) as Report
    } catch (error) {
      throw new Error(`there is no report: ${said}`, { cause: error })
    } finally {
      rmSync(directory, { recursive: true })
    }
  }, runMs + 10_000)

  test('every check has an outcome with every subject', () => {
    expect(report.subjects.length).toBeGreaterThan(0)
    const ids = checks.map(({ id }) => id)
    for (const { label, outcomes } of report.subjects) {
      expect({ label, ids: outcomes.map(({ check }) => check) }).toEqual({ label, ids })
    }
  })

  for (const { id, requirement } of checks) {
    test(`${id} ${requirement}`, () => {
      const failures = report.subjects.flatMap(({ label, outcomes }) =>
        outcomes.filter((outcome) => outcome.check === id).flatMap(failureOf(label)),
      )
      expect(failures).toEqual([])
    })
  }
})

/** What is not run, or known to fail, has to say why. */
function failureOf(label: string): (outcome: OutcomeRecord) => string[] {
  return ({ status, reason, trace }) => {
    if (status === 'passed' || (status !== 'failed' && reason !== '')) return []
    const last = trace.slice(-20).map(({ ms, side, what }) => `${ms} ${side} ${what}`)
    return [[`${label}: ${status}: ${reason}`, ...last].join('\n  ')]
  }
}
