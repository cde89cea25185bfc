/**
 * The command line of `npm run test:node-core`. It looks at no file and starts nothing.
 */
import { parseArgs } from 'node:util'
import type { Via } from './environment'
import type { Driver } from './records'
import { DRIVERS } from './records'
import type { Area } from './selection'
import { AREAS, parseAreas } from './selection'

export interface Options {
  suite: string | undefined
  node: string
  /** `none` is plain Node. */
  drivers: (Driver | 'none')[]
  areas: Area[] | undefined
  filter: RegExp | undefined
  jobs: number
  timeoutMs: number
  retries: number
  out: string | undefined
  preload: string | undefined
  via: Via
  isRecorded: boolean
  isDocumented: boolean
  isListed: boolean
  hasNamespaces: boolean
}

export class UsageError extends Error {}

export const USAGE = `npm run test:node-core -- --suite DIR [options]
  --suite DIR       a checkout of Node.js, or a folder that holds its test/; see test/node-core/README.md
  --node WHICH      the Node under test: a version (24) or a path (the one that runs this)
  --driver D        ${DRIVERS.join(', ')}, both, or none: plain Node (both)
  --area a,b        of ${AREAS.join(', ')};
                    core: the first seven, around: the others, all (all)
  --filter REGEX    only tests whose parallel/test-x.js it matches; without --area it may be any test of the suite
  --jobs N          tests at the same time (1)
  --timeout S       for each test (60)
  --retries N       attempts more, each on its own, for a test that fails and should not (2)
  --record          keep the outcome: with --driver none as the baseline of that version of Node, otherwise as a
                    result, from which docs/compatibility.md is written. All areas only
  --document        only write docs/compatibility.md anew
  --out FILE        JSON with the outcome of every test, and the last lines of those that failed
  --list            print the names of the tests and stop
  --preload FILE    in place of the package's register hook
  --via HOW         require or import: how the preload is loaded (require)
  --no-namespaces   stay in the machine's own network
Exit code: 0, 1 after regressions and entries of expected.json that excuse nothing, 2 when there is no comparison.`

export function parseOptions(args: readonly string[]): Options | 'help' {
  const { values } = parse(args)
  if (values.help) return 'help'
  const isDocumented = values.document
  if (values.suite === undefined && !isDocumented) throw new UsageError('--suite is missing')
  const isRecorded = values.record
  const areas = values.area === undefined ? undefined : parseAreas(values.area)
  const isPartial = values.filter !== undefined || (areas && areas.length < AREAS.length)
  if (isRecorded && isPartial) throw new UsageError('--record takes no --filter and no --area')
  if (isRecorded && values.preload !== undefined) {
    throw new UsageError(
      '--record takes no --preload: a record is of plain Node or of this package',
    )
  }
  if (values.via !== 'require' && values.via !== 'import') {
    throw new UsageError('--via: require or import')
  }
  return {
    suite: values.suite,
    node: values.node,
    drivers: drivers(values.driver),
    areas,
    filter: values.filter === undefined ? undefined : regularExpression(values.filter),
    jobs: atLeast(1, 'jobs', values.jobs),
    timeoutMs: atLeast(1, 'timeout', values.timeout) * 1000,
    retries: atLeast(0, 'retries', values.retries),
    out: values.out,
    preload: values.preload,
    via: values.via,
    isRecorded,
    isDocumented,
    isListed: values.list,
    hasNamespaces: !values['no-namespaces'],
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        suite: { type: 'string' },
        node: { type: 'string', default: process.execPath },
        driver: { type: 'string', default: 'both' },
        area: { type: 'string' },
        filter: { type: 'string' },
        jobs: { type: 'string', default: '1' },
        timeout: { type: 'string', default: '60' },
        retries: { type: 'string', default: '2' },
        out: { type: 'string' },
        preload: { type: 'string' },
        via: { type: 'string', default: 'require' },
        record: { type: 'boolean', default: false },
        document: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        'no-namespaces': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function drivers(name: string): Options['drivers'] {
  if (name === 'both') return [...DRIVERS]
  const found = ([...DRIVERS, 'none'] as const).find((driver) => driver === name)
  if (found === undefined) throw new UsageError(`--driver: ${DRIVERS.join(', ')}, both or none`)
  return [found]
}

function atLeast(min: number, name: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= min) return value
  throw new UsageError(`--${name}: a whole number of at least ${min}`)
}

function regularExpression(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new UsageError(`--filter: ${(error as Error).message}`)
  }
}
