/**
 * The suite under somebody's test runner: a test for each check. Knows of the runner that `test(name, run)` declares a test,
 * and that `test.skip`, where there is one, declares one that is not run.
 */
import { AssertionError } from 'node:assert'
import type { Check, Clocks } from './check'
import { checks as allChecks } from './checks/index'
import { formatFailure } from './report/text'
import { toRecord } from './report/record'
import { missingOf, runCheck } from './run'
import type { Subject } from './subject'

export interface TestFunction {
  (name: string, run: () => Promise<void>): unknown
  skip?: (name: string, run: () => Promise<void>) => unknown
}

export interface ConformanceOptions {
  /** Of jest, vitest, node:test, mocha (`it`) or another; tests have to run one at a time. */
  test: TestFunction
  subject: Subject
  /** Default: all. */
  checks?: readonly Check[]
  clocks?: Clocks
}

/**
 * Declares a test for each check.
 *
 * @example
 * import { test } from 'node:test'
 * import { conformance } from 'uring-net/conformance'
 * conformance({ test, subject: { name: 'mine', capabilities: { halfOpen: true }, makePair } })
 */
export function conformance({
  test,
  subject,
  checks = allChecks,
  clocks,
}: ConformanceOptions): void {
  for (const check of checks) {
    const missing = missingOf(check, subject)
    const isOpposite = missing.length > 0 && check.opposite !== undefined
    const requirement = isOpposite ? check.opposite!.requirement : check.requirement
    const name = `${check.id} [${check.strength}] ${requirement}`
    if (missing.length > 0 && !isOpposite) {
      const declare = test.skip?.bind(test) ?? test
      declare(`${name} (not applicable without ${missing.join(', ')})`, async () => {})
      continue
    }
    const known = subject.racyFailures?.[check.id] ?? subject.knownFailures?.[check.id]
    test(known === undefined ? name : `${name} (known failure: ${known})`, async () => {
      const outcome = await runCheck(check, subject, clocks)
      if (outcome.status !== 'failed') return
      const { expected, observed: actual } = outcome
      throw new AssertionError({
        message: formatFailure(toRecord(outcome), check).join('\n'),
        expected,
        actual,
      })
    })
  }
}
