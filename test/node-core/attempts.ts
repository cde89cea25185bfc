/**
 * Runs the selected tests once each: in which order, with what loaded, and which of them get another attempt. It keeps
 * no record and holds nothing against a baseline.
 */
import { dirname } from 'node:path'
import type { Preload } from './environment'
import { environment, preloadArguments } from './environment'
import type { Driver, Outcome } from './records'
import type { Ended } from './running'
import { Runner } from './running'
import type { Binary, Suite } from './subject'
import { why } from './why'

const PROGRESS_EVERY = 100

export interface Work {
  suite: Suite
  binary: Binary
  names: readonly string[]
  jobs: number
  timeoutMs: number
  /** For a test that fails and is worth it. */
  retries: number
  /** Of this package, so that no line shows it. */
  root: string
  onProgress: (line: string) => void
}

/** How each test ended; those that did not pass have a line that says why. */
export type Endings = Record<string, Ended & { why?: string }>

/** What is run: without a driver and a preload it is plain Node. */
export interface Variant {
  driver?: Driver
  preload?: Preload
  /** Worth another attempt. */
  shouldPass: (name: string) => boolean
}

export async function runTests(work: Work, variant: Variant): Promise<Endings> {
  const { suite, binary, names } = work
  const runner = new Runner({
    testRoot: suite.testRoot,
    node: binary.file,
    nodeArguments: variant.preload ? preloadArguments(variant.preload) : [],
    env: environment(process.env, variant),
    timeoutMs: work.timeoutMs,
  })
  const stop = () => {
    runner.dispose()
    process.exit(130)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, stop)
  const title = `Node ${binary.version}, ${variant.driver ?? 'plain'}`
  const startedAt = performance.now()
  const seconds = () => `${Math.round((performance.now() - startedAt) / 1000)} s`
  work.onProgress(`${title}: ${names.length} tests`)
  const ended = new Map<string, Ended>()
  const onEnd = (name: string, one: Ended) => {
    ended.set(name, one)
    if (ended.size % PROGRESS_EVERY !== 0) return
    work.onProgress(`${title}: ${ended.size} of ${names.length}, ${seconds()}`)
  }
  try {
    const isParallel = (name: string) => name.startsWith('parallel/')
    await runner.runAll(names.filter(isParallel), work.jobs, onEnd)
    const sequential = names.filter((name) => !isParallel(name))
    await runner.runAll(sequential, 1, onEnd)
    for (const [name, first] of ended) {
      if (first.status !== 'fail' || !variant.shouldPass(name)) continue
      ended.set(name, await runAgain(runner, name, first, work.retries))
    }
  } finally {
    runner.dispose()
    for (const signal of signals) process.off(signal, stop)
  }
  work.onProgress(`${title}: done in ${seconds()}`)
  return inOrder(work, ended)
}

/** Each attempt on its own: what failed only for want of time or of a port passes now. */
async function runAgain(
  runner: Runner,
  name: string,
  first: Ended,
  retries: number,
): Promise<Ended> {
  for (let attempt = 0; attempt < retries; attempt++) {
    const { tail = '' } = first
    const again = await runner.run(name)
    if (again.status === 'pass') return { ...again, flaky: true, tail }
    if (again.status === 'skip') return again
  }
  return first
}

/** In the order of the suite, whatever ended first. */
function inOrder({ suite, binary, names, root }: Work, ended: Map<string, Ended>): Endings {
  const folders = {
    [suite.testRoot]: 'test',
    [root]: '.',
    [binary.file]: 'node',
    [dirname(binary.file)]: 'bin',
  }
  return Object.fromEntries(
    names.flatMap((name) => {
      const one = ended.get(name)
      if (!one) return []
      return [[name, one.status === 'pass' ? one : { ...one, why: why(one, folders) }]]
    }),
  )
}

export function outcomes(ended: Endings): Record<string, Outcome> {
  return mapValues(ended, ({ status, flaky }) => (status === 'pass' && flaky ? 'flaky' : status))
}

export function whys(ended: Endings): Record<string, string> {
  return mapValues(ended, (one) => one.why ?? '')
}

function mapValues<A, B>(record: Record<string, A>, change: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
}
