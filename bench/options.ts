/**
 * The command line of the benchmark. It never starts anything.
 */
import { parseArgs } from 'node:util'
import type { Case, Target } from './matrix'
import { CASES, TARGETS, canOpenLoop, selectCases, selectTargets } from './matrix'

export interface Options {
  cases: Case[]
  targets: Target[]
  /** The binary that runs the servers. */
  node: string
  trials: number
  seconds: number
  warmupSeconds: number
  serverCpu: number
  loadCpu: number
  /** Messages per second, sent whatever the server does; null for a closed loop. */
  openLoopRate: number | null
  /** All cases, all targets, at least 5 trials of 3 s: only such a run may become "latest". */
  isFull: boolean
}

export const USAGE = `npm run bench -- [options]
  --cases a,b        ids or their beginnings; all of ${CASES.map((one) => one.id).join(', ')}
  --targets a,b      all of ${TARGETS.join(', ')}
  --node WHICH       the Node that runs the servers: a version (24) or a path (the one that runs this)
  --trials N         rounds in which the targets alternate (5)
  --seconds S        measured window of a trial (3)
  --warmup S         load before the window (1)
  --quick            2 trials of 1 s with a warm-up of 0.3 s
  --open-loop RATE   echo cases only: RATE messages per second at fixed times, latency from when each was due
  --server-cpu N     core of the server (1)
  --load-cpu N       core of the load generator (0)
  --page             runs nothing: writes the tables of docs/benchmark.md from the recorded whole runs
  --help
Results: bench/results/latest.{md,json,svg}; with --node: node-VERSION.*; of a run with fewer cases, targets, trials
or seconds, and of an open loop: partial.*`

/** Parses the arguments, or returns what is asked for in the place of a run. Throws on anything unknown. */
export function parseOptions(args: string[]): Options | 'help' | 'page' {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args,
    options: {
      cases: text,
      targets: text,
      node: text,
      trials: text,
      seconds: text,
      warmup: text,
      'open-loop': text,
      'server-cpu': text,
      'load-cpu': text,
      quick: { type: 'boolean' },
      page: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return 'help'
  if (values.page) return 'page'
  const quick = values.quick ?? false
  const openLoop = values['open-loop']
  const openLoopRate = openLoop === undefined ? null : number('open-loop', openLoop, 0, 1)
  const cases = chooseCases(values.cases, openLoopRate !== null)
  const targets = values.targets ? selectTargets(values.targets.split(',')) : [...TARGETS]
  const trials = number('trials', values.trials, quick ? 2 : 5, 1)
  const seconds = number('seconds', values.seconds, quick ? 1 : 3, 0.1)
  const serverCpu = number('server-cpu', values['server-cpu'], 1, 0)
  const loadCpu = number('load-cpu', values['load-cpu'], 0, 0)
  return {
    cases,
    targets,
    node: values.node ?? process.execPath,
    trials,
    seconds,
    warmupSeconds: number('warmup', values.warmup, quick ? 0.3 : 1, 0),
    serverCpu,
    loadCpu,
    openLoopRate,
    isFull:
      cases.length === CASES.length &&
      targets.length === TARGETS.length &&
      trials >= 5 &&
      seconds >= 3,
  }
}

/**
 * In an open loop only what can be sent at fixed times; who names another case is told. The goals are those of a
 * saturated server and do not stand here.
 */
function chooseCases(names: string | undefined, isOpenLoop: boolean): Case[] {
  const chosen = names ? selectCases(names.split(',')) : [...CASES]
  if (!isOpenLoop) return chosen
  const other = names === undefined ? undefined : chosen.find((one) => !canOpenLoop(one))
  if (other) throw new Error(`--open-loop cannot load ${other.id}: only echo and ws-echo cases`)
  return chosen.filter(canOpenLoop).map((one) => ({ ...one, goals: [] }))
}

function number(name: string, value: string | undefined, fallback: number, min: number): number {
  if (value === undefined) return fallback
  const parsed = Number(value)
  const needsWhole = name !== 'seconds' && name !== 'warmup'
  if (value.trim() === '' || !(parsed >= min) || (needsWhole && !Number.isInteger(parsed))) {
    throw new Error(`--${name} needs a ${needsWhole ? 'whole ' : ''}number of at least ${min}`)
  }
  return parsed
}
