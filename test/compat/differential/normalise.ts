/**
 * A trace as fields that are compared one by one, and the normalisation: what two right implementations may do
 * differently, each rule with its reason. What scripts leave out for the same reason is in script.ts (withoutRaces). Plays nothing, and knows nothing of what it is compared with but its fields.
 */
import { createHash } from 'node:crypto'
import { describeDifference } from '../wire'
import { scribbled, unshifted } from './content'
import type { Trace } from './play'
import type { SideTrace } from './record'

export type Fields = Readonly<Record<string, string>>

export interface Rule {
  name: string
  reason: string
}

export const rules: readonly Rule[] = [
  {
    name: 'chunks',
    reason:
      'TCP has no chunks: bytes are compared as a whole, by length and hash; events without data',
  },
  {
    name: 'drains',
    reason:
      'how often a write waits depends on how much the kernel takes at once: that one comes is compared',
  },
  {
    name: 'return values',
    reason: 'with bytes waiting write() answers by how many: compared only when none were',
  },
  {
    name: 'snapshot',
    reason:
      'of a buffer that is changed while it waits the change is sent; how much waits is the kernel’s: it makes room sooner ' +
      'for a peer that receives by io_uring, and more of what was written is right, too',
  },
  {
    name: 'cut',
    reason:
      'how much of waiting bytes gets out before a destroy or reset depends on the kernel: the peer has a prefix of ' +
      'what was sent, at least what callbacks confirmed if it saw the end',
  },
  {
    name: 'lost by a reset',
    reason:
      'where node:net itself told an end before bytes that its callbacks confirmed (a reset throws away what lies in the ' +
      'kernel, and libuv takes a short read with POLLHUP for an end) anything that arrived is right',
  },
  {
    name: 'unread',
    reason:
      'how much a reader that is paused or destroyed had taken from the kernel depends on the size of reads: ' +
      'bytesRead is compared when everything arrived',
  },
  {
    name: 'unsettled',
    reason:
      'while bytes wait that nobody reads, or that the kernel has no room for, how many a paused reader has taken in ' +
      'advance decides when a write is told and an end is seen: where traces differ, such phases are joined with those ' +
      'around them, callbacks and arrivals are compared each in their order, and states after the last of them',
  },
  {
    name: 'failed writes',
    reason:
      'bytesWritten of a socket on which a write failed: node:net counts a write that the kernel refused at once, ' +
      'and not one that waited',
  },
]

const sides = ['a', 'b'] as const

export function fieldsOf(trace: Trace): Fields {
  const fields: Record<string, string> = { other: trace.other.join(', ') }
  for (const side of sides) {
    const end = trace[side]
    const peer = trace[side === 'a' ? 'b' : 'a']
    const [received, isWhole] = receivedBy(end, peer)
    end.phases.forEach((lines, i) => (fields[`${side} events ${i}`] = lines.join(', ')))
    end.states.forEach((state, i) => (fields[`${side} state ${i}`] = state))
    fields[`${side} received`] = received
    fields[`${side} bytesRead`] = isWhole ? String(end.bytesRead) : 'not compared (unread)'
    const hasFailed = end.phases.some((lines) => lines.some((line) => failedWrite.test(line)))
    fields[`${side} bytesWritten`] =
      hasFailed || end.wasCut ? 'not compared (failed writes)' : String(end.bytesWritten)
  }
  return fields
}

/** Phases in which bytes waited at either end, as one range with the phase that follows; undefined without any. */
export function unsettledIn(traces: readonly Trace[]): [first: number, last: number] | undefined {
  const all = traces.flatMap(({ a, b }) => [a.unsettled, b.unsettled])
  const first = all.map((phases) => phases.indexOf(true)).filter((index) => index >= 0)
  if (first.length === 0) return undefined
  const last = Math.max(...all.map((phases) => phases.lastIndexOf(true)))
  return [Math.min(...first), last + 1]
}

/** The fields with those phases joined: rules 'unsettled' and 'cut'. */
export function joined(trace: Trace, [first, range]: [number, number], isCut: boolean): Fields {
  const fields: Record<string, string> = { ...fieldsOf(trace) }
  for (const side of sides) {
    const { phases } = trace[side]
    // What was told of a write stays different for good: a finished socket is another one than a destroyed one.
    const last = isCut ? phases.length : range
    // The last phase holds what is noted afterwards.
    const until = Math.min(last, phases.length - 2)
    const lines = phases.slice(first, until + 1).flat()
    for (let i = first; i <= until; i++) {
      delete fields[`${side} events ${i}`]
      if (i < last) delete fields[`${side} state ${i}`]
    }
    const told = lines.filter((line) => isTold.test(line))
    // Each is told; whether before the cut or by it is the kernel's.
    const cut = told.map((line) => line.replace(callbackResult, '$1 is told'))
    const results = isCut ? cut.filter((line) => line !== 'finish').sort() : told
    fields[`${side} callbacks ${first} to ${last}`] = results.join(', ')
    const others = lines.filter((line) => !isTold.test(line) && !line.includes(' returns '))
    fields[`${side} events ${first} to ${last}`] = others.join(', ')
  }
  return fields
}

const isTold = /^((write|end) \d+ (?!returns|throws)|finish|error|close)/
const callbackResult = /^((?:write|end) \d+) .*/
const failedWrite = /^(write|end) \d+ (?!ok|returns)/

/** What arrived, compared with what the peer sent; and whether it was all of it. */
function receivedBy(end: SideTrace, peer: SideTrace): [string, boolean] {
  const { sent } = peer
  const foreign = end.received.filter((byte) => byte === unshifted).length
  const received =
    foreign === 0 ? end.received : Buffer.from(end.received.filter((byte) => byte !== unshifted))
  const extra = foreign === end.unshifted ? '' : `, ${foreign} of ${end.unshifted} unshifted bytes`
  if (received.equals(sent)) {
    const hash = createHash('sha1').update(received).digest('hex').slice(0, 12)
    return [`all: ${received.length} bytes, ${hash}${extra}`, true]
  }
  if (received.equals(sent.subarray(0, received.length))) {
    if (end.hasEnded && received.length < peer.confirmed) {
      return [
        `an end before ${peer.confirmed - received.length} bytes that a callback confirmed`,
        false,
      ]
    }
    if (peer.wasCut || !end.hasEnded) return ['a prefix of what was sent', false]
    return [`the first ${received.length} of ${sent.length} bytes${extra}`, false]
  }
  if (received.length <= sent.length && isScribbled(received, sent)) {
    return ['what was written, but with what became of its buffer', received.length === sent.length]
  }
  return [describeDifference(received, sent), false]
}

function isScribbled(received: Buffer, sent: Buffer): boolean {
  return received.every((byte, at) => byte === sent[at] || byte === scribbled)
}
