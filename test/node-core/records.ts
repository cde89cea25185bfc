/**
 * What is kept of a run, and where: baselines (plain Node), results (a driver), and the list of tests that cannot pass.
 * It owns the formats and checks what it reads; it never judges a test.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Area } from './selection'

export const DRIVERS = ['uring', 'epoll'] as const
export type Driver = (typeof DRIVERS)[number]

/** `flaky` passed, but not at the first attempt. */
export type Outcome = 'pass' | 'flaky' | 'skip' | 'fail'

/** What a figure depends on besides the tests. */
export interface Circumstances {
  /** Version of the binary under test, without the v. */
  node: string
  /** Version the suite says it belongs to, or `unknown`. */
  suite: string
  /** Of the tests themselves; see selection.ts. */
  fingerprint: string
  kernel: string
  /** A network and mount namespace of its own. */
  namespaces: boolean
  /** Programs that some tests skip without: those that are there. */
  helpers: string
  root: boolean
  date: string
}

export interface Baseline {
  circumstances: Circumstances
  tests: Record<string, Outcome>
}

/** Figures of one area. */
export interface Count {
  /** Tests that pass on plain Node. */
  baseline: number
  /** Those of them that pass now. */
  passes: number
  /** Those that do not, as expected.json says. */
  expected: number
}

export interface Result {
  circumstances: Circumstances
  driver: Driver
  areas: Partial<Record<Area, Count>>
  /** Tests that pass on plain Node and did not here, with one line each. */
  notPassing: Record<string, string>
}

/** A test that cannot pass. Without `node` on every version, without `driver` on both. */
export interface Expectation {
  test: string
  reason: string
  /** A version or its beginning: 24, 24.12, 24.12.0. */
  node?: string
  driver?: Driver
}

export class RecordError extends Error {}

/** Where everything lies below test/node-core. */
export function baselineFile(folder: string, node: string): string {
  return join(folder, 'baselines', `node-${node}.json`)
}

export function resultFile(folder: string, node: string, driver: Driver): string {
  return join(folder, 'results', `node-${node}-${driver}.json`)
}

export function expectationsFile(folder: string): string {
  return join(folder, 'expected.json')
}

/** The baseline for a version of Node; a missing one, and one of another version, are refused. */
export function readBaseline(folder: string, node: string): Baseline {
  const file = baselineFile(folder, node)
  if (!existsSync(file)) {
    throw new RecordError(
      `no baseline for Node ${node}: record one with --driver none --record, on the same suite`,
    )
  }
  return checkBaseline(JSON.parse(readFileSync(file, 'utf8')) as Baseline, node)
}

export function checkBaseline(baseline: Baseline, node: string): Baseline {
  const recorded = baseline.circumstances.node
  if (recorded === node) return baseline
  throw new RecordError(`the baseline is of Node ${recorded}, the binary is Node ${node}`)
}

/** What makes a run and its baseline unlike, in words; empty when they can be compared without reserve. */
export function differences(now: Circumstances, then: Circumstances): string[] {
  const compared = ['suite', 'fingerprint', 'namespaces', 'helpers', 'root'] as const
  return compared
    .filter((key) => now[key] !== then[key])
    .map((key) => `${key} is ${now[key]}, in the baseline ${then[key]}`)
}

export function readExpectations(folder: string): Expectation[] {
  return checkExpectations(JSON.parse(readFileSync(expectationsFile(folder), 'utf8')))
}

/** An entry without a reason, or with a driver or a key nobody knows, would excuse more than it says. */
export function checkExpectations(value: unknown): Expectation[] {
  if (!Array.isArray(value)) throw new RecordError('expected.json holds a list')
  const known = ['test', 'reason', 'node', 'driver']
  return value.map((entry: Partial<Record<string, unknown>>) => {
    const where = `expected.json: ${JSON.stringify(entry.test ?? entry)}`
    const isText = (key: string) => typeof entry[key] === 'string' && entry[key] !== ''
    if (!isText('test') || !isText('reason')) throw new RecordError(`${where}: test, reason`)
    const stray = Object.keys(entry).find((key) => !known.includes(key) || !isText(key))
    if (stray !== undefined) throw new RecordError(`${where}: what is '${stray}'?`)
    if (entry.driver !== undefined && !DRIVERS.some((driver) => driver === entry.driver)) {
      throw new RecordError(`${where}: driver is one of ${DRIVERS.join(', ')}`)
    }
    return entry as unknown as Expectation
  })
}

/** All results there are, by version and driver. */
export function readResults(folder: string): Result[] {
  const results = join(folder, 'results')
  if (!existsSync(results)) return []
  return readdirSync(results)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(join(results, file), 'utf8')) as Result)
}

/** Two spaces and a line feed at the end: what Prettier makes of objects. */
export function writeRecord(file: string, value: unknown): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)
}
