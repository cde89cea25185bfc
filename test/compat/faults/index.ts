/** All faults. */
import type { Fault } from '../fault'
import { closingFaults } from './closing'
import { eventsFaults } from './events'
import { harnessFaults } from './harness'
import { protocolsFaults } from './protocols'
import { receivingFaults } from './receiving'
import { socketsFaults } from './sockets'
import { writingFaults } from './writing'

export const faults: readonly Fault[] = [
  harnessFaults,
  writingFaults,
  closingFaults,
  receivingFaults,
  eventsFaults,
  socketsFaults,
  protocolsFaults,
].flat()
