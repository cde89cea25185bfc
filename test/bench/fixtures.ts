/** Made-up trials and runs for the tests of the benchmark's pure parts. It never measures anything. */
import type { Machine } from '../../bench/machine'
import type { Case, Metric, Target } from '../../bench/matrix'
import { CASES, METRICS, METRIC_NAMES, TARGETS, targetsOf } from '../../bench/matrix'
import type { Run } from '../../bench/report'
import type { Outcome } from '../../bench/statistics'
import { evaluate } from '../../bench/statistics'
import type { Trial } from '../../bench/trial'

export function makeTrial(changes: Partial<Trial> = {}): Trial {
  return {
    driver: { name: 'node', reason: '', features: [] },
    seconds: 3,
    ops: 300_000,
    opsPerSecond: 100_000,
    cpuUsPerOp: 10,
    userUsPerOp: 3,
    systemUsPerOp: 7,
    p50Us: 600,
    p99Us: 1200,
    rssMb: null,
    kbPerConnection: null,
    elapsedMs: null,
    share: null,
    serverBusy: 1,
    loadBusy: 0.6,
    ...changes,
  }
}

export const MACHINE: Machine = {
  cpuModel: 'Some CPU <1 & only>',
  cores: 2,
  isVirtual: true,
  memoryGiB: 8,
  system: 'Debian GNU/Linux 12 (bookworm)',
  kernel: '6.18.0',
  clockSource: 'tsc',
  congestionControl: 'cubic',
  node: '20.20.2',
  libuv: '1.46.0',
  openssl: '3.0.0',
  loadNode: '20.20.2',
  gcc: 'gcc 12.2.0',
  wrk: 'wrk 4.1.0',
  h2load: 'h2load nghttp2/1.52.0',
  openFilesMax: 20_000,
  loadAverageAtStart: 0,
}

/** What a figure of node:net is where the case has it. */
const FIGURES: Record<Metric, number> = {
  opsPerSecond: 100_000,
  cpuUsPerOp: 10,
  p50Us: 600,
  rssMb: 200,
  kbPerConnection: 10,
  elapsedMs: 50,
  share: 0.5,
}

/** Every case with three rounds; the drivers need 0.6 and 0.85 of what node:net needs, and do as much more. */
export function makeRun(): Run {
  const factors: Record<Target, number> = {
    node: 1,
    uring: 0.6,
    epoll: 0.85,
    register: 0.6,
    core: 0.5,
    'floor-epoll': 0.4,
    'floor-uring': 0.3,
  }
  const rounds = (one: Case, factor: number): Outcome[] =>
    [0.95, 1, 1.1].map((mood) => ({ trial: makeTrial(figuresOf(one, factor * mood)) }))
  return {
    date: '2026-01-01 00:00 UTC',
    machine: MACHINE,
    options: {
      trials: 3,
      seconds: 3,
      warmupSeconds: 1,
      serverCpu: 1,
      loadCpu: 0,
      openLoopRate: null,
    },
    results: CASES.map((one) =>
      evaluate(
        one,
        new Map(targetsOf(one, TARGETS).map((target) => [target, rounds(one, factors[target])])),
      ),
    ),
  }
}

function figuresOf(one: Case, factor: number): Partial<Trial> {
  const value = (metric: Metric) => {
    if (!one.metrics.includes(metric)) return null
    return METRICS[metric].better === 'less' ? FIGURES[metric] * factor : FIGURES[metric] / factor
  }
  return Object.fromEntries(METRIC_NAMES.map((metric) => [metric, value(metric)]))
}
