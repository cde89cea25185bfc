/** Writing, W1 to W5: what is accepted, in which order it leaves, whose memory it is, and what callbacks mean. */
import type { Check } from '../check'
import { ownershipChecks } from './buffer-ownership'
import { callbackChecks } from './writing-callbacks'
import { errorChecks } from './writing-errors'
import { orderChecks } from './writing-order'

export const writingChecks: readonly Check[] = [
  ...orderChecks,
  ...ownershipChecks,
  ...callbackChecks,
  ...errorChecks,
]
