/** The rules by name, as reports show them; docs/design.md has them in full. */
import type { Rule } from '../check'

export const ruleNames: Readonly<Record<Rule, string>> = {
  H: 'the harness itself',
  W1: 'accept or refuse',
  W2: 'the bytes of the moment of acceptance',
  W3: 'once, in order, without further calls, before FIN',
  W4: 'the callback: taken by the kernel, exactly once, never within write()',
  W5: 'nothing after a failed send',
  W6: 'destroy() and process.exit() deliver what was written',
  C1: 'the completion is the end of an operation',
  C2: 'what the kernel may touch lives until then',
  C3: 'dropping cancels, and says so',
  C4: 'the order of closing, and numbers that are used again',
  C5: 'a full queue loses nothing',
  R1: 'nothing received is lost',
  R2: 'bounded: who does not read stops the kernel',
  R3: 'a chunk is its receiver’s',
  E1: 'events, errors, addresses and counters are Node’s',
  E2: 'ticks between callbacks, context, throwing listeners',
  E3: 'ref, unref, exit, workers, children',
}
