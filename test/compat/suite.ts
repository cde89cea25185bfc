/** Runs checks on one subject, one after the other, and hands out each outcome as it is known. Never prints. */
import type { Check, Clocks } from './check'
import { checks as allChecks } from './checks/index'
import { runCheck } from './run'
import type { Outcome } from './run'
import type { Subject } from './subject'

export interface SuiteOptions {
  /** Default: all. */
  checks?: readonly Check[]
  clocks?: Clocks
  onStart?: (check: Check) => void
}

export async function* runSuite(
  subject: Subject,
  { checks = allChecks, clocks, onStart }: SuiteOptions = {},
): AsyncGenerator<Outcome, void, void> {
  for (const check of checks) {
    onStart?.(check)
    yield await runCheck(check, subject, clocks)
  }
}
