/** What each kernel feature is for and since which Linux it exists. A table; the probe says what is present. */
import type { Probe } from '../../core/binding'

export type FeatureName = keyof Probe['features']

export interface Feature {
  /** The first Linux release that has it. */
  since: string
  /** needed: no io_uring driver without; wanted: used where present; unused: probed for later. */
  role: 'needed' | 'wanted' | 'unused'
  purpose: string
  /** Not of io_uring: known where that is refused, too. */
  isSystemCall?: true
}

export const features: Record<FeatureName, Feature> = {
  multishotAccept: {
    since: '5.19',
    role: 'needed',
    purpose: 'one submission accepts every connection',
  },
  multishotReceive: {
    since: '6.0',
    role: 'needed',
    purpose: 'one submission receives until the reader stops',
  },
  bufferRing: {
    since: '5.19',
    role: 'needed',
    purpose: 'receive memory is taken when bytes arrive',
  },
  coopTaskrun: {
    since: '5.19',
    role: 'wanted',
    purpose: 'a completion does not interrupt the program',
  },
  singleIssuer: { since: '6.0', role: 'wanted', purpose: 'no locks for a ring of one thread' },
  deferTaskrun: { since: '6.1', role: 'unused', purpose: 'completions wait to be asked for' },
  syncCancel: { since: '6.0', role: 'unused', purpose: 'a cancel that waits for its target' },
  sendZeroCopy: { since: '6.0', role: 'unused', purpose: 'large sends without a copy' },
  splice: {
    since: '2.6.17',
    role: 'wanted',
    purpose: 'proxies move bytes without a copy',
    isSystemCall: true,
  },
}
