/**
 * The benchmark from command line to files: preflight, rounds of alternating trials, report. It owns the order of
 * trials; what a trial is and what a figure means is decided elsewhere.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import * as os from 'node:os'
import { join, relative } from 'node:path'
import { makeCertificate } from './certificate'
import { drawChart } from './chart'
import type { Machine } from './machine'
import { describeMachine } from './machine'
import type { Case, Target } from './matrix'
import { METRICS, roundsOf, targetsOf } from './matrix'
import { buildPrograms } from './native-programs'
import type { Options } from './options'
import { USAGE, parseOptions } from './options'
import { writePage } from './page'
import { endAll } from './processes'
import { Progress } from './progress'
import type { Run } from './report'
import { caseTable, overviews, remarks, toMarkdown } from './report'
import type { CaseResult, Outcome } from './statistics'
import { evaluate } from './statistics'
import type { TrialOptions } from './trial'
import { runTrial, startServer } from './trial'

const ROOT = join(__dirname, '..', '..')

/** Above it, something else was running when the benchmark began. */
const QUIET_LOAD_AVERAGE = 0.5

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') return console.log(USAGE)
  if (options === 'page') return writePage(ROOT)
  const programs = buildPrograms(join(ROOT, 'bench'), __dirname)
  const machine = describeMachine({ node: options.node, load: programs.load })
  checkMachine(options, machine)
  const certificate = options.cases.some((one) => one.tls) ? makeCertificate() : undefined
  const trialOptions: TrialOptions = { ...options, folder: __dirname, programs, certificate }
  await checkTargets(options, trialOptions)

  const rounds = options.cases.map((one) => planRounds(one, options))
  if (rounds.flat().length === 0) throw new Error('nothing to run: a floor only echoes')
  const progress = new Progress(rounds.flat().length)
  const results: CaseResult[] = []
  for (const [index, one] of options.cases.entries()) {
    const result = await runCase(one, rounds[index] ?? [], trialOptions, progress)
    results.push(result)
    progress.clear()
    console.log(`\n${one.title}\n${caseTable(result)}`)
  }

  const { trials, seconds, warmupSeconds, serverCpu, loadCpu, openLoopRate } = options
  const run: Run = {
    date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    machine,
    options: { trials, seconds, warmupSeconds, serverCpu, loadCpu, openLoopRate },
    results,
  }
  for (const { title, table } of overviews(run)) console.log(`\n${title} (medians)\n${table}`)
  for (const line of remarks(results)) console.log(`! ${line}`)
  writeResults(run, nameOf(options, machine))
  if (results.some((result) => result.targets.some((target) => target.failures.length > 0))) {
    process.exitCode = 1
  }
}

function nameOf(options: Options, machine: Machine): string {
  if (!options.isFull) return 'partial'
  return options.node === process.execPath ? 'latest' : `node-${machine.node}`
}

/** Fails before anything is measured, if the machine cannot carry the cases. */
function checkMachine({ cases, serverCpu, loadCpu }: Options, machine: Machine): void {
  if (Math.max(serverCpu, loadCpu) >= os.cpus().length) {
    throw new Error(`core ${Math.max(serverCpu, loadCpu)} does not exist; see --server-cpu`)
  }
  if (serverCpu === loadCpu) throw new Error('server and load need a core each')
  if (
    cases.some((one) => one.kind === 'http' || one.kind === 'send-file') &&
    machine.wrk === 'not installed'
  ) {
    throw new Error('the http cases need wrk (Debian package wrk)')
  }
  if (cases.some((one) => one.kind === 'h2') && machine.h2load === 'not installed') {
    throw new Error('the h2 cases need h2load (Debian package nghttp2-client)')
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
}

/** Fails before anything is measured, if a target cannot run. */
async function checkTargets(options: Options, trialOptions: TrialOptions): Promise<void> {
  for (const target of options.targets) {
    const one = options.cases.find((candidate) => targetsOf(candidate, [target]).length > 0)
    if (!one) continue
    const { server, ready } = await startServer(one, target, trialOptions)
    await server.stop()
    const { name, reason, features } = ready.driver
    const details = [reason, features.join(' ')].filter((text) => text !== '').join('; ')
    console.error(`${target}: driver '${name}' runs${details ? ` (${details})` : ''}`)
  }
}

/** The trials of a case: rounds of A B C A B C, so that what disturbs the machine for a while disturbs all alike. */
function planRounds(one: Case, { targets, trials }: Options): { target: Target; name: string }[] {
  const rounds = roundsOf(one, trials)
  return Array.from({ length: rounds }, (_, index) =>
    targetsOf(one, targets).map((target) => ({
      target,
      name: `${one.id} · ${target} · trial ${index + 1} of ${rounds}`,
    })),
  ).flat()
}

async function runCase(
  one: Case,
  trials: readonly { target: Target; name: string }[],
  options: TrialOptions,
  progress: Progress,
): Promise<CaseResult> {
  const outcomes = new Map<Target, Outcome[]>()
  for (const { target, name } of trials) {
    progress.begin(name)
    const outcome = await attempt(one, target, options)
    outcomes.set(target, [...(outcomes.get(target) ?? []), outcome])
    progress.end(name, describe(one, outcome))
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

function describe(one: Case, outcome: Outcome): string {
  if ('failure' in outcome) return `FAILED: ${outcome.failure}`
  const { trial } = outcome
  return one.metrics
    .map((metric) => `${METRICS[metric].column} ${trial[metric]?.toFixed(2) ?? '–'}`)
    .join(', ')
}

function writeResults(run: Run, name: string): void {
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
