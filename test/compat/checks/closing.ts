/** Closing, W6 and C1 to C5: what still arrives, what is cancelled, who is told, and in which order. */
import type { Check } from '../check'
import { destroyChecks } from './closing-destroy'
import { closingEventChecks } from './closing-events'
import { flushChecks } from './closing-flush'

export const closingChecks: readonly Check[] = [
  ...flushChecks,
  ...destroyChecks,
  ...closingEventChecks,
]
