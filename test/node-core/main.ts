/**
 * Node's own tests from command line to files: what is run on what, in which order, and what is kept. How a test is
 * run, judged and reported is decided elsewhere.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Endings, Work } from './attempts'
import { outcomes, runTests, whys } from './attempts'
import { applicable, compare, passes } from './comparison'
import { toDocument } from './document'
import type { Preload } from './environment'
import { enter, isInside } from './namespaces'
import type { Options } from './options'
import { USAGE, UsageError, parseOptions } from './options'
import type { Baseline, Circumstances, Driver, Expectation } from './records'
import {
  RecordError,
  baselineFile,
  differences,
  readBaseline,
  readExpectations,
  readResults,
  resultFile,
  writeRecord,
} from './records'
import { baselineReport, comparisonReport } from './report'
import { AREAS, SelectionError, fingerprint, select, testFiles } from './selection'
import type { Binary, Suite } from './subject'
import {
  HELPERS,
  SubjectError,
  checkDriver,
  commonFile,
  findBinary,
  findSuite,
  missingHelpers,
} from './subject'

/** This file is dist/test/node-core/main.js. */
const ROOT = join(__dirname, '..', '..', '..')
const FOLDER = join(ROOT, 'test', 'node-core')
const DOCUMENT = join(ROOT, 'docs', 'compatibility.md')
const REGISTER = join(ROOT, 'dist', 'src', 'register.js')
const INDEX = join(ROOT, 'dist', 'src', 'index.js')

interface Plan {
  options: Options
  suite: Suite
  binary: Binary
  names: string[]
  circumstances: Circumstances
}

/** What --out holds of one run. */
interface Outcomes {
  driver: Driver | 'none'
  circumstances: Circumstances
  tests: Endings
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') {
    console.log(USAGE)
    return 0
  }
  if (options.isDocumented) {
    document()
    return 0
  }
  const suite = findSuite(options.suite ?? '')
  const names = select(testFiles(suite.testRoot), options)
  if (options.isListed) {
    console.log(names.join('\n'))
    return 0
  }
  if (names.length === 0) throw new SelectionError('no test file is selected')
  const binary = findBinary(options.node)
  if (options.hasNamespaces && !isInside()) {
    const args = [__filename, ...process.argv.slice(2)]
    const code = await enter(commonFile(suite), args, !binary.hasCallSites)
    if (code !== undefined) return code
    say('namespaces are not permitted here: running in the network of this machine')
  }
  return runDrivers({ options, suite, binary, names, circumstances: circumstances(suite, binary) })
}

function circumstances(suite: Suite, binary: Binary): Circumstances {
  const missing = missingHelpers(binary)
  const helpers = HELPERS.filter((name) => !missing.includes(name))
  return {
    node: binary.version,
    suite: suite.version,
    fingerprint: fingerprint(suite.testRoot),
    // What follows is a name that a machine gives it.
    kernel: release().replace(/[^\d.].*/, ''),
    namespaces: isInside(),
    helpers: helpers.join(' '),
    root: process.getuid?.() === 0,
    date: new Date().toISOString().slice(0, 'YYYY-MM-DD'.length),
  }
}

async function runDrivers(plan: Plan): Promise<number> {
  const { options, binary } = plan
  const missing = missingHelpers(binary)
  if (missing.length > 0) {
    say(`not there: ${missing.join(', ')}; the tests that need it skip (see the README)`)
  }
  if (!binary.hasCallSites && !isInside()) {
    say('this Node lacks util.getCallSites(), the suite may take it for granted (see the README)')
  }
  const runs: Outcomes[] = []
  // Whatever would refuse one of the runs does so before the first, which takes minutes.
  for (const driver of options.drivers) if (driver !== 'none') checkRun(plan, driver)
  let code = 0
  for (const driver of options.drivers) {
    const isGood = driver === 'none' ? await runPlain(plan, runs) : await hold(plan, driver, runs)
    if (!isGood) code = 1
  }
  if (options.out !== undefined) {
    mkdirSync(dirname(resolve(options.out)), { recursive: true })
    writeFileSync(options.out, `${JSON.stringify({ runs }, null, 1)}\n`)
  }
  return code
}

async function runPlain(plan: Plan, runs: Outcomes[]): Promise<boolean> {
  const ended = await runTests(workOf(plan), { shouldPass: () => true })
  const tests = outcomes(ended)
  runs.push({ driver: 'none', circumstances: plan.circumstances, tests: ended })
  console.log(`Node ${plan.binary.version}, plain`)
  console.log(baselineReport(tests, whys(ended)))
  if (plan.options.isRecorded) {
    const baseline: Baseline = { circumstances: plan.circumstances, tests }
    writeRecord(baselineFile(FOLDER, plan.binary.version), baseline)
  }
  return true
}

/** Refuses a run on a driver whose figures would mean nothing. */
function checkRun({ options, binary, circumstances }: Plan, driver: Driver): void {
  const baseline = readBaseline(FOLDER, binary.version)
  readExpectations(FOLDER)
  const notes = differences(circumstances, baseline.circumstances)
  if (options.isRecorded && notes.length > 0) {
    const title = 'a result is recorded under the circumstances of its baseline only'
    throw new RecordError([title, ...notes].join('\n'))
  }
  for (const note of notes) say(`note: ${note}`)
  if (options.preload === undefined) checkDriver(binary.file, preloadOf(options), INDEX, driver)
  else say(`note: nothing shows that ${options.preload} puts node:net and node:dgram on ${driver}`)
}

function preloadOf({ preload, via }: Options): Preload {
  return { file: resolve(preload ?? REGISTER), via }
}

/** Runs on one driver and holds it against plain Node. */
async function hold(plan: Plan, driver: Driver, runs: Outcomes[]): Promise<boolean> {
  const { options, binary, circumstances } = plan
  const baseline = readBaseline(FOLDER, binary.version)
  const preload = preloadOf(options)
  const expectations = readExpectations(FOLDER)
  const entries = applicable(expectations, { node: binary.version, driver })
  const shouldPass = (name: string) =>
    passes(baseline.tests[name]) && !entries.some(({ test }) => test === name)
  const ended = await runTests(workOf(plan), { driver, preload, shouldPass })
  runs.push({ driver, circumstances, tests: ended })
  const areas = options.areas ?? AREAS
  const isComplete = options.filter === undefined && areas.length === AREAS.length
  const tests = outcomes(ended)
  const comparison = compare(
    { node: binary.version, driver, tests, isComplete },
    baseline,
    expectations,
  )
  console.log(`Node ${binary.version} on ${driver}`)
  console.log(comparisonReport(comparison, whys(ended), reasons(entries)))
  if (options.isRecorded) {
    const names = [...comparison.regressions, ...comparison.expected].sort()
    const all = whys(ended)
    writeRecord(resultFile(FOLDER, binary.version, driver), {
      circumstances,
      driver,
      areas: comparison.areas,
      notPassing: Object.fromEntries(names.map((name) => [name, all[name] ?? ''])),
    })
    document()
  }
  return comparison.regressions.length === 0 && Object.keys(comparison.stale).length === 0
}

function workOf({ options, suite, binary, names }: Plan): Work {
  const { jobs, timeoutMs, retries } = options
  return { suite, binary, names, jobs, timeoutMs, retries, root: ROOT, onProgress: say }
}

function reasons(entries: readonly Expectation[]): Record<string, string> {
  return Object.fromEntries(entries.map(({ test, reason }) => [test, reason]))
}

function document(): void {
  writeFileSync(DOCUMENT, toDocument(readResults(FOLDER), readExpectations(FOLDER)))
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    const known = [UsageError, SelectionError, SubjectError, RecordError]
    if (!known.some((kind) => error instanceof kind)) throw error
    say(`${(error as Error).message}${error instanceof UsageError ? `\n\n${USAGE}` : ''}`)
    process.exitCode = 2
  },
)
