/**
 * The benchmark from command line to files: preflight, rounds of alternating trials, report. It owns the order of
 * trials; what a trial is and what a figure means is decided elsewhere.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import * as os from 'node:os'
import { join, relative } from 'node:path'
import { drawChart } from './chart'
import type { Machine } from './machine'
import { describeMachine } from './machine'
import type { Case, Target } from './matrix'
import { buildPrograms } from './native-programs'
import type { Options } from './options'
import { USAGE, parseOptions } from './options'
import { endAll } from './processes'
import { Progress } from './progress'
import type { Run } from './report'
import { caseTable, overview, remarks, toMarkdown } from './report'
import type { CaseResult, Outcome } from './statistics'
import { evaluate } from './statistics'
import type { TrialOptions } from './trial'
import { runTrial, startServer } from './trial'

const ROOT = join(__dirname, '..', '..')

/** Above it, something else was running when the benchmark began. */
const QUIET_LOAD_AVERAGE = 0.5

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2))
  if (!options) {
    console.log(USAGE)
    return
  }
  const { load } = buildPrograms(join(ROOT, 'bench'), __dirname)
  const machine = describeMachine()
  await preflight(options, machine, { ...options, load })

  const progress = new Progress(options.cases.length * options.trials * options.targets.length)
  const results: CaseResult[] = []
  for (const one of options.cases) {
    const result = await runCase(one, options, load, progress)
    results.push(result)
    progress.clear()
    console.log(`\n${one.title}\n${caseTable(result)}`)
  }

  const { trials, seconds, warmupSeconds, serverCpu, loadCpu } = options
  const run: Run = {
    date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    machine,
    options: { trials, seconds, warmupSeconds, serverCpu, loadCpu },
    results,
  }
  console.log(`\nRatios to node:net (medians)\n${overview(results)}`)
  for (const line of remarks(results)) console.log(`! ${line}`)
  writeResults(run, options.isFull ? 'latest' : 'partial')
  if (results.some((result) => result.targets.some((target) => target.failures.length > 0))) {
    process.exitCode = 1
  }
}

/** Fails before anything is measured, if a target cannot run or the machine cannot carry the cases. */
async function preflight(
  options: Options,
  machine: Machine,
  trialOptions: TrialOptions,
): Promise<void> {
  const { cases, targets, serverCpu, loadCpu } = options
  if (Math.max(serverCpu, loadCpu) >= os.cpus().length) {
    throw new Error(`core ${Math.max(serverCpu, loadCpu)} does not exist; see --server-cpu`)
  }
  if (serverCpu === loadCpu) throw new Error('server and load need a core each')
  if (cases.some((one) => one.kind === 'http') && machine.wrk === 'not installed') {
    throw new Error('the http cases need wrk (Debian package wrk)')
  }
  const connections = Math.max(...cases.map((one) => one.connections))
  if (connections + 64 > machine.openFilesMax) {
    throw new Error(
      `${connections} connections need more than the ${machine.openFilesMax} open files that the hard limit ` +
        'allows (ulimit -Hn); raise it, or choose --cases',
    )
  }
  if (machine.loadAverageAtStart > QUIET_LOAD_AVERAGE) {
    console.error(`! load average is ${machine.loadAverageAtStart.toFixed(2)}: not a quiet machine`)
  }
  const [first] = cases
  if (!first) throw new Error('nothing to run')
  for (const target of targets) {
    const { server, ready } = await startServer(first, target, trialOptions)
    await server.stop()
    const { name, reason, features } = ready.driver
    const details = [reason, features.join(' ')].filter((text) => text !== '').join('; ')
    console.error(`${target}: driver '${name}' runs${details ? ` (${details})` : ''}`)
  }
}

/** Rounds of A B C A B C: what disturbs the machine for a while disturbs all targets alike. */
async function runCase(
  one: Case,
  options: Options,
  load: string,
  progress: Progress,
): Promise<CaseResult> {
  const outcomes = new Map<Target, Outcome[]>(options.targets.map((target) => [target, []]))
  for (let round = 1; round <= options.trials; round++) {
    for (const [target, own] of outcomes) {
      const label = `${one.id} · ${target} · trial ${round} of ${options.trials}`
      progress.begin(label)
      const outcome = await attempt(one, target, { ...options, load })
      own.push(outcome)
      progress.end(label, describe(outcome))
    }
  }
  return evaluate(one, outcomes)
}

async function attempt(one: Case, target: Target, options: TrialOptions): Promise<Outcome> {
  try {
    return { trial: await runTrial(one, target, options) }
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) }
  }
}

function describe(outcome: Outcome): string {
  if ('failure' in outcome) return `FAILED: ${outcome.failure}`
  const { opsPerSecond, cpuUsPerOp } = outcome.trial
  return `${Math.round(opsPerSecond)} ops/s, ${cpuUsPerOp.toFixed(2)} µs CPU per op`
}

function writeResults(run: Run, name: 'latest' | 'partial'): void {
  const folder = join(ROOT, 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  const base = join(folder, name)
  writeFileSync(`${base}.md`, toMarkdown(run))
  writeFileSync(`${base}.json`, `${JSON.stringify(run, null, 2)}\n`)
  writeFileSync(`${base}.svg`, drawChart(run))
  console.log(`\nWritten: ${relative(process.cwd(), base)}.md, .json, .svg`)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    endAll()
    process.exit(130)
  })
}

main().catch((error: unknown) => {
  endAll()
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
})
