/** Faults of closing. */
import type { Fault } from '../fault'
import { destroyFaults } from './closing-destroy'
import { closingEventFaults } from './closing-events'
import { flushFaults } from './closing-flush'

export const closingFaults: readonly Fault[] = [
  ...flushFaults,
  ...destroyFaults,
  ...closingEventFaults,
]
