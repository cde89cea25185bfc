/**
 * What `uring-net conformance` does: finds the subjects, runs them in processes, tells what comes out, writes the files.
 * Owns the report and the exit code.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import type { ConformanceArguments } from '../../src/cli/conformance-arguments'
import type { Check } from './check'
import { checks as allChecks } from './checks/index'
import { listSubjects, runJobs } from './processes'
import type { Job } from './processes'
import { toHtml } from './report/html'
import { Progress } from './report/progress'
import { toCheckRecord } from './report/record'
import type { Report, SubjectRecord } from './report/record'
import { coloured, countsOf, formatReport, plain } from './report/text'
import { clocksOf } from './run'
import { playOnDrivers } from './seeds'
import type { Source } from './source'

/** Checks wait more than they work, and two drivers are compared most often. */
const parallel = 2

export async function runCommand(options: ConformanceArguments): Promise<number> {
  const { grep, json, html, list, seeds } = options
  const checks = allChecks.filter(
    ({ id, area, requirement }) => grep?.test(`${id} ${area} ${requirement}`) ?? true,
  )
  if (checks.length === 0) {
    console.error(`uring-net: conformance: no check matches ${String(grep)}`)
    return 2
  }
  if (list) {
    console.log(checks.map(formatCheck).join('\n'))
    return 0
  }
  const out = json === '-' ? process.stderr : process.stdout
  const hasColour = out.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
  const paint = hasColour ? coloured : plain
  const report = newReport(checks)
  const jobs = await findJobs(options, checks, report)
  await runAll(jobs, report, new Progress(out, paint))
  out.write(`${formatReport(report, paint)}\n`)
  const text = `${JSON.stringify(report, null, 2)}\n`
  if (json === '-') await written(text)
  else if (json !== undefined) writeFileSync(json, text)
  if (html !== undefined) writeFileSync(html, toHtml(report))
  const outcomes = report.subjects.flatMap((subject) => subject.outcomes)
  const code = outcomes.length > 0 && countsOf(outcomes).failed === 0 ? 0 : 1
  if (seeds === 0) return code
  const absent = report.absent.map(({ driver }) => driver)
  const played = (options.drivers ?? []).filter(
    (driver) => driver !== 'node' && !absent.includes(driver),
  )
  return Math.max(code, await playOnDrivers(played, seeds))
}

/** A pipe takes a part at a time, and the process ends afterwards. */
function written(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()))
}

function formatCheck({ id, area, strength, requirement }: Check): string {
  return `${id.padEnd(6)} ${area.padEnd(10)} ${strength.padEnd(11)}  ${requirement}`
}

function newReport(checks: readonly Check[]): Report {
  return {
    version: packageVersion(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    kernel: release(),
    date: new Date().toISOString(),
    checks: checks.map(toCheckRecord),
    subjects: [],
    absent: [],
  }
}

/** In a checkout and in dist alike the package's root is where the package.json is. */
function packageVersion(): string {
  const found = ['../..', '../../..']
    .map((up) => join(__dirname, up, 'package.json'))
    .find((path) => existsSync(path))
  if (found === undefined) return 'unknown'
  return (JSON.parse(readFileSync(found, 'utf8')) as { version: string }).version
}

/** A job for each subject, in the report's order, and its place in the report. */
async function findJobs(
  { subject: path, drivers, isAnyDriver, patience }: ConformanceArguments,
  checks: readonly Check[],
  report: Report,
): Promise<Map<Job, SubjectRecord>> {
  const found = await Promise.all(
    (drivers ?? [undefined]).map(async (driver) => {
      const source: Source =
        path !== undefined ? { kind: 'file', path } : { kind: 'built-in', driver: driver ?? 'node' }
      try {
        return { driver, source, subjects: await listSubjects(source, driver) }
      } catch (error) {
        // Only what was not asked for by its name may be missing.
        if (!isAnyDriver || path !== undefined) throw error
        report.absent.push({ driver: driver ?? '', reason: (error as Error).message })
        return { driver, source, subjects: [] }
      }
    }),
  )
  const jobs = new Map<Job, SubjectRecord>()
  for (const { driver, source, subjects } of found) {
    for (const { name, capabilities } of subjects) {
      const job = {
        source,
        subject: name,
        driver,
        checks: checks.map(({ id }) => id),
        clocks: clocksOf(patience),
      }
      const label = driver === undefined || name.includes(driver) ? name : `${name} on ${driver}`
      const record = { label, name, driver: driver ?? '', capabilities, outcomes: [], ms: 0 }
      jobs.set(job, record)
      report.subjects.push(record)
    }
  }
  return jobs
}

async function runAll(
  jobs: ReadonlyMap<Job, SubjectRecord>,
  report: Report,
  progress: Progress,
): Promise<void> {
  const order = new Map(report.checks.map(({ id }, at) => [id, at]))
  const starts = new Map<Job, number>()
  await runJobs([...jobs.keys()], parallel, {
    onStart(job, check) {
      if (!starts.has(job)) starts.set(job, performance.now())
      progress.started(job, jobs.get(job)!.label, check)
    },
    onOutcome(job, outcome) {
      const record = jobs.get(job)!
      record.outcomes = [
        ...record.outcomes.filter(({ check }) => check !== outcome.check),
        outcome,
      ].sort((left, right) => order.get(left.check)! - order.get(right.check)!)
      progress.finished(job, outcome)
    },
    onDone(job) {
      const record = jobs.get(job)!
      record.ms = Math.round(performance.now() - (starts.get(job) ?? performance.now()))
      progress.ended(job, record)
    },
  })
}
