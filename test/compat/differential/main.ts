/**
 * Differential runs as a process: `node main.js --driver uring --seeds 2000 [--first N]`, or `--seed N` for one seed with
 * its script and both traces. The driver is chosen once in a process, so each has one of its own. Exits with 0 when all
 * agree, 1 when not, 2 when it was called wrongly.
 */
import * as nodeNet from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { play, printScript, runSeeds, scriptOf } from './index'
import type { Finding, NetModule } from './index'
import type { SideTrace } from './record'

const usage =
  'usage: main.js --driver uring|epoll|node | --module file [--seeds N] [--first N] [--seed N] [--limit N] [--json]'

interface Options {
  name: string
  net: NetModule
  module: string
  first: number
  count: number
  limit: number
  seed: number | undefined
  isJson: boolean
}

function read(): Options {
  const { values } = parseArgs({
    options: {
      driver: { type: 'string' },
      module: { type: 'string' },
      seeds: { type: 'string', default: '2000' },
      first: { type: 'string', default: '0' },
      seed: { type: 'string' },
      limit: { type: 'string', default: '5' },
      json: { type: 'boolean', default: false },
    },
  })
  const number = (text: string): number => {
    if (!/^\d+$/.test(text)) throw new Error(`not a number: ${text}`)
    return Number(text)
  }
  return {
    ...load(values.driver, values.module),
    first: number(values.first),
    count: number(values.seeds),
    limit: number(values.limit),
    seed: values.seed === undefined ? undefined : number(values.seed),
    isJson: values.json,
  }
}

function load(driver = '', file = ''): Pick<Options, 'name' | 'net' | 'module'> {
  // A module that is given is taken as it is: known-bad ones are given so.
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- chosen at run time
  if (file !== '') return { name: file, net: require(file) as NetModule, module: file }
  if (driver === 'node') return { name: 'node:net', net: nodeNet, module: 'node:net' }
  if (driver !== 'uring' && driver !== 'epoll') throw new Error(`no such driver: ${driver}`)
  process.env['URING_NET_DRIVER'] = driver
  const module = join(__dirname, '..', '..', '..', 'src', 'index.js')
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- after the driver was named
  return { name: driver, net: require(module) as NetModule, module }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

async function one({ net, module }: Options, seed: number): Promise<number> {
  const script = scriptOf(seed)
  say(printScript(script, { seed, ends: 'both', module }))
  for (const [name, subject] of [
    ['node:net', nodeNet],
    [module, net],
  ] as const) {
    const trace = await play(script, { client: subject, server: subject })
    say(`${name}: ${trace.other.join(', ')}`)
    for (const side of ['a', 'b'] as const) say(described(side, trace[side]))
  }
  const { found } = await runSeeds({ first: seed, count: 1, net, module })
  found.forEach(report)
  return found.length === 0 ? 0 : 1
}

function described(side: string, { phases, states, sent, received }: SideTrace): string {
  const lines = phases.map((events, i) => `    ${events.join(', ')} [${states[i] ?? ''}]`)
  return [`  ${side}: sent ${sent.length}, received ${received.length}`, ...lines].join('\n')
}

function report({ seed, ends, isSteady, disagreements, script, code }: Finding): void {
  const where = ends === 'both' ? 'both ends' : `the ${ends} end`
  say(`seed ${seed}, with it at ${where}: ${isSteady ? 'disagrees' : 'disagreed once'}`)
  for (const { field, expected, observed } of disagreements) {
    say(`  ${field}\n    node:net: ${expected.join('\n          or: ')}\n    observed: ${observed}`)
  }
  if (code === '') for (const step of script.steps) say(`  ${JSON.stringify(step)}`)
  else say(`\n${code}`)
}

async function main(): Promise<number> {
  let options: Options
  try {
    options = read()
  } catch (error) {
    say(`${(error as Error).message}\n${usage}`)
    return 2
  }
  if (options.seed !== undefined) return one(options, options.seed)
  const { name, net, module, first, count, limit, isJson } = options
  let shown = 0
  const onProgress = (played: number, found: readonly Finding[]): void => {
    if (played % 100 !== 0 || !process.stderr.isTTY) return
    shown = played
    process.stderr.write(`\r${name}: ${played} of ${count} seeds, ${found.length} found`)
  }
  const { played, found, ms } = await runSeeds({ first, count, limit, net, module, onProgress })
  if (shown > 0) say('')
  found.forEach(report)
  const steady = found.filter(({ isSteady }) => isSteady).length
  const summary = `${played} seeds from ${first} in ${(ms / 1000).toFixed(1)} s`
  say(`${name}: ${summary}, ${steady} disagree, ${found.length - steady} disagreed once`)
  if (isJson) process.stdout.write(`${JSON.stringify({ name, played, ms, found })}\n`)
  return steady === 0 ? 0 : 1
}

main().then(
  (code) => process.exit(code),
  (error) => {
    say(String((error as Error).stack))
    process.exit(1)
  },
)
