/** Faults of writing. */
import type { Fault } from '../fault'
import { callbackFaults } from './writing-callbacks'
import { orderFaults } from './writing-order'

export const writingFaults: readonly Fault[] = [...orderFaults, ...callbackFaults]
