/** Made-up trials and runs for the tests of the benchmark's pure parts. It never measures anything. */
import type { Machine } from '../../bench/machine'
import type { Target } from '../../bench/matrix'
import { CASES } from '../../bench/matrix'
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
  gcc: 'gcc 12.2.0',
  wrk: 'wrk 4.1.0',
  openFilesMax: 20_000,
  loadAverageAtStart: 0,
}

/** Every case with three rounds; the drivers use 0.6 and 0.85 of node:net's CPU per operation. */
export function makeRun(): Run {
  const share: Record<Target, number> = { node: 1, uring: 0.6, epoll: 0.85, register: 0.6 }
  const rounds = (factor: number): Outcome[] =>
    [0.95, 1, 1.1].map((mood) => ({
      trial: makeTrial({
        opsPerSecond: 100_000 / factor / mood,
        cpuUsPerOp: 10 * factor * mood,
        p50Us: 600 * factor * mood,
      }),
    }))
  return {
    date: '2026-01-01 00:00 UTC',
    machine: MACHINE,
    options: { trials: 3, seconds: 3, warmupSeconds: 1, serverCpu: 1, loadCpu: 0 },
    results: CASES.map((one) =>
      evaluate(
        one,
        new Map(Object.entries(share).map(([name, factor]) => [name as Target, rounds(factor)])),
      ),
    ),
  }
}
