/**
 * Makes a failing script short: removes steps by delta debugging, then makes what is left simpler, as long as it still
 * fails. Owns nothing; what failing means is the caller's.
 */
import type { Action, Script, Step } from './script'

export type Fails = (script: Script) => Promise<boolean>

export async function shrink(script: Script, fails: Fails): Promise<Script> {
  let best = await removeSteps(script, fails)
  for (const simpler of simplifications) {
    for (const candidate of simpler(best)) {
      if (await fails(candidate)) best = candidate
    }
  }
  // What was made simpler may have made more steps superfluous.
  return removeSteps(best, fails)
}

/** ddmin: halves first, then ever smaller parts, until no single step can go. */
async function removeSteps(script: Script, fails: Fails): Promise<Script> {
  let { steps } = script
  let size = Math.ceil(steps.length / 2)
  while (size > 0 && steps.length > 0) {
    let hasShrunk = false
    for (let from = 0; from < steps.length;) {
      const left = [...steps.slice(0, from), ...steps.slice(from + size)]
      if (await fails({ ...script, steps: left })) {
        steps = left
        hasShrunk = true
      } else {
        from += size
      }
    }
    if (size === 1 && !hasShrunk) break
    size = size === 1 ? 1 : Math.ceil(size / 2)
  }
  return { ...script, steps }
}

/** Each offers scripts that are simpler in one thing; a later one starts from what an earlier one has reached. */
const simplifications: readonly ((script: Script) => Iterable<Script>)[] = [
  (script) => [{ ...script, transport: 'tcp' }],
  (script) => [{ ...script, a: { ...script.a, reads: 'flowing' } }],
  (script) => [{ ...script, b: { ...script.b, reads: 'flowing' } }],
  (script) => [{ ...script, a: { ...script.a, allowHalfOpen: true } }],
  (script) => [{ ...script, b: { ...script.b, allowHalfOpen: true } }],
  ...Array.from({ length: 20 }, (_, index) => (script: Script) => eachSimpler(script, index)),
]

function* eachSimpler(script: Script, index: number): Generator<Script> {
  const step = script.steps[index]
  if (step === undefined) return
  for (const simpler of simplerSteps(step)) {
    yield { ...script, steps: script.steps.with(index, simpler) }
  }
}

/** From the least to the most simple: the last that fails is taken. */
function simplerSteps(step: Step): Step[] {
  const { action } = step
  const simpler: Step[] = []
  if (step.when !== 'connecting' && step.when !== 'now') {
    if (step.when !== 'quiet') simpler.push({ ...step, when: 'now' })
    simpler.push({ ...step, when: 'quiet' })
  }
  if ((action.do === 'write' || action.do === 'end') && action.size !== undefined) {
    const { size } = action
    const sizes = [Math.ceil(size / 2), Math.ceil(size / 16), 10].filter((less) => less < size)
    for (const less of sizes) simpler.push({ ...step, action: { ...action, size: less } as Action })
  }
  return simpler
}
