/** Compares a subject's trace with those that the oracle has shown for the same script. Plays nothing. */
import { fieldsOf, joined, unsettledIn } from './normalise'
import type { Fields } from './normalise'
import type { Trace } from './play'

export interface Disagreement {
  field: string
  /** Each value that the oracle has shown. */
  expected: readonly string[]
  observed: string
}

/** Empty when every field has a value that the oracle has shown, too. */
export function compare(oracle: readonly Trace[], observed: Trace): Disagreement[] {
  const strict = compareFields(oracle.map(fieldsOf), fieldsOf(observed))
  const unsettled = unsettledIn([...oracle, observed])
  if (strict.length === 0 || unsettled === undefined) return strict
  const isCut = [...oracle, observed].some(({ a, b }) => a.wasCut || b.wasCut)
  const loosened = (trace: Trace): Fields => joined(trace, unsettled, isCut)
  return compareFields(oracle.map(loosened), loosened(observed))
}

function compareFields(oracle: readonly Fields[], observed: Fields): Disagreement[] {
  const names = new Set([
    ...oracle.flatMap((fields) => Object.keys(fields)),
    ...Object.keys(observed),
  ])
  const disagreements: Disagreement[] = []
  for (const field of names) {
    const expected = [...new Set(oracle.map((fields) => fields[field] ?? 'nothing'))]
    const value = observed[field] ?? 'nothing'
    if (expected.includes(value) || expected.some((one) => mayDiffer(one, value))) continue
    disagreements.push({ field, expected, observed: value })
  }
  return disagreements
}

/** Rules that need both sides: see `rules` in normalise.ts. */
function mayDiffer(expected: string, observed: string): boolean {
  const isNotCompared = [expected, observed].some((value) => value.startsWith('not compared'))
  if (isNotCompared) return true
  // 'snapshot': more of what was written than with node:net is allowed, less is not.
  if (expected.startsWith('what was written, but')) {
    return observed.startsWith('all: ') || observed === 'a prefix of what was sent'
  }
  // node:net itself may lose bytes that lie in the kernel when a reset follows them.
  if (expected.startsWith('an end before ')) return true
  // 'cut': more may get out, or less.
  if (expected === 'a prefix of what was sent') return observed.startsWith('all: ')
  return expected.startsWith('all: ') && observed === 'a prefix of what was sent'
}
