/** All checks, in the order in which they run: the harness first. */
import type { Check } from '../check'
import { closingChecks } from './closing'
import { eventsChecks } from './events'
import { harnessChecks } from './harness'
import { protocolsChecks } from './protocols'
import { receivingChecks } from './receiving'
import { socketsChecks } from './sockets'
import { writingChecks } from './writing'

export const checks: readonly Check[] = [
  harnessChecks,
  writingChecks,
  closingChecks,
  receivingChecks,
  eventsChecks,
  socketsChecks,
  protocolsChecks,
].flat()
