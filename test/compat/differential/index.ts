/**
 * Differential runs: random scripts are played against node:net and against a library's net module, and the traces have to
 * agree. Owns the order of plays: what counts as a disagreement, and that it is made short. Prints nothing.
 */
import * as nodeNet from 'node:net'
import { compare } from './compare'
import type { Disagreement } from './compare'
import type { Modules, NetModule } from './connect'
import { play } from './play'
import type { Trace } from './play'
import { printScript } from './print'
import { scriptOf } from './script'
import type { Script } from './script'
import { shrink } from './shrink'

export { compare } from './compare'
export type { Disagreement } from './compare'
export type { NetModule } from './connect'
export { rules } from './normalise'
export { play } from './play'
export { printScript } from './print'
export { scriptOf } from './script'
export type { Script } from './script'

/** Whose sockets are at the two ends. */
export type Ends = 'both' | 'client' | 'server'

export interface Finding {
  seed: number
  ends: Ends
  /** It came in each of some plays more; otherwise in the first only, and is told but does not fail a run. */
  isSteady: boolean
  disagreements: readonly Disagreement[]
  script: Script
  /** The short script as a program, for `node repro.mjs [module]`. Empty for what is not steady. */
  code: string
}

export interface RunOptions {
  first?: number
  count: number
  net: NetModule
  /** As printed scripts name it; a module that can be required. */
  module?: string
  /** Default: both ends of the library, and one of two scripts also with node:net at one end. */
  ends?: readonly Ends[]
  /** Stops after so many that are steady; default 5. */
  limit?: number
  onProgress?: (played: number, found: readonly Finding[]) => void
}

/** For making one script short; what waits in vain takes long. Of one play no more than a second counts. */
const shrinkMs = 20_000

export interface RunResult {
  played: number
  found: readonly Finding[]
  ms: number
}

/** The oracle is asked again so often before it is believed that it never shows a value. */
const oraclePlays = 6
/** And the subject, before a disagreement is believed. */
const subjectPlays = 4

export async function runSeeds(options: RunOptions): Promise<RunResult> {
  const { first = 0, count, limit = 5, onProgress } = options
  const start = performance.now()
  const found: Finding[] = []
  let played = 0
  for (let seed = first; seed < first + count; seed++) {
    const script = scriptOf(seed)
    const oracle = await playOracle(script)
    for (const ends of options.ends ?? endsOf(seed)) {
      const finding = await check(seed, script, ends, oracle, options)
      if (finding !== undefined) found.push(finding)
    }
    played++
    onProgress?.(played, found)
    if (found.filter(({ isSteady }) => isSteady).length >= limit) break
  }
  return { played, found, ms: performance.now() - start }
}

function endsOf(seed: number): Ends[] {
  if (seed % 2 === 0) return ['both']
  return ['both', seed % 4 === 1 ? 'client' : 'server']
}

function modulesOf(net: NetModule, ends: Ends): Modules {
  return {
    client: ends === 'server' ? nodeNet : net,
    server: ends === 'client' ? nodeNet : net,
  }
}

function playOracle(script: Script): Promise<Trace> {
  return play(script, { client: nodeNet, server: nodeNet })
}

async function check(
  seed: number,
  script: Script,
  ends: Ends,
  oracle: Trace,
  { net, module = 'uring-net' }: RunOptions,
): Promise<Finding | undefined> {
  const modules = modulesOf(net, ends)
  const once = compare([oracle], await play(script, modules))
  if (once.length === 0) return undefined
  const steady = await disagreementsOf(script, modules)
  const finding = { seed, ends, isSteady: false, disagreements: once, script, code: '' }
  if (steady.length === 0) return finding
  let spentMs = 0
  const short = await shrink(script, async (candidate) => {
    if (spentMs > shrinkMs) return false
    const began = performance.now()
    const left = await disagreementsOf(candidate, modules, 1)
    spentMs += Math.min(performance.now() - began, 1000)
    return left.some(({ field }) => steady.some((other) => kindOf(other.field) === kindOf(field)))
  })
  const disagreements = await disagreementsOf(short, modules, 2)
  if (disagreements.length === 0) return { ...finding, disagreements: steady }
  const code = printScript(short, { seed, ends, module })
  return { ...finding, isSteady: true, disagreements, script: short, code }
}

/** A field without its phase, which changes as steps are removed. */
function kindOf(field: string): string {
  return field.replace(/^[ab] | \d.*$/g, '')
}

/** What the subject shows each time, and the oracle never. */
async function disagreementsOf(
  script: Script,
  modules: Modules,
  plays = subjectPlays,
): Promise<Disagreement[]> {
  const oracle = [await playOracle(script)]
  let last: Disagreement[] = []
  for (let i = 0; i < plays; i++) {
    const observed = await play(script, modules)
    last = compare(oracle, observed)
    // Asked again only when it matters: mostly the first answer agrees.
    while (last.length > 0 && oracle.length < oraclePlays) {
      oracle.push(await playOracle(script))
      last = compare(oracle, observed)
    }
    if (last.length === 0) return []
  }
  return last
}
