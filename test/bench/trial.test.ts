/**
 * Trials of the benchmark for real, at tiny durations: whether every kind of case runs on node:net and on uring, and
 * tells the figures that it says it tells. Never how fast.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import * as os from 'node:os'
import { join } from 'node:path'
import { makeCertificate } from '../../bench/certificate'
import type { Case, Kind, Target } from '../../bench/matrix'
import { CASES, METRIC_NAMES, selectCases, targetsOf } from '../../bench/matrix'
import type { NativePrograms } from '../../bench/native-programs'
import { buildPrograms } from '../../bench/native-programs'
import { Program, endAll } from '../../bench/processes'
import type { TrialOptions } from '../../bench/trial'
import { runTrial, startServer, toTrial } from '../../bench/trial'
import { waitDeadlineMs } from '../deadlines'

const ROOT = join(__dirname, '..', '..')
const FOLDER = join(ROOT, 'dist', 'bench')

const has = (program: string) => !spawnSync(program, ['--version']).error

const loadedByWrk: readonly Kind[] = ['http', 'send-file']

/** Why the case cannot run here, if so. wrk and h2load come with `npm run bench`, not with `npm test`. */
function obstacleOf(one: Case, target: Target): string | undefined {
  if (os.cpus().length < 2) return 'needs two cores'
  if (!has(process.env['CC'] ?? 'gcc')) return 'needs gcc'
  if (loadedByWrk.includes(one.kind) && !has('wrk')) return 'needs wrk'
  if (one.kind === 'h2' && !has('h2load')) return 'needs h2load'
  if (one.tls && !has('openssl')) return 'needs openssl'
  if (target !== 'node' && !uringRuns()) return 'needs io_uring'
  return undefined
}

let isUring: boolean | undefined

function uringRuns(): boolean {
  const script = `console.log(require(${JSON.stringify(join(ROOT, 'dist/src/index.js'))}).driver.name)`
  const env = { ...process.env, URING_NET_DRIVER: 'uring' }
  isUring ??= spawnSync(process.execPath, ['-e', script], { env }).stdout.toString() === 'uring\n'
  return isUring
}

/** A case of each kind, and those with TLS, small enough for a test. */
const FEW: Partial<Record<Kind, Partial<Case>>> = {
  'ws-broadcast': { connections: 20 },
  upload: { connections: 5, bytes: 200_000 },
  idle: { connections: 50 },
  destroy: { connections: 50 },
  'slow-readers': { connections: 3 },
  fairness: { connections: 5, stretch: 1 },
  proxy: { connections: 4 },
}
const small = CASES.filter(
  (one, index) =>
    CASES.findIndex(({ kind, tls }) => kind === one.kind && tls === one.tls) === index,
).map((one): Case => ({ ...one, ...FEW[one.kind] }))

let programs: NativePrograms
let certificate: string | undefined

function optionsOf(changes: Partial<TrialOptions> = {}): TrialOptions {
  const cores = { serverCpu: 1, loadCpu: 0 }
  const window = { warmupSeconds: 0.05, seconds: 0.15 }
  return {
    folder: FOLDER,
    programs,
    node: process.execPath,
    certificate,
    ...cores,
    ...window,
    ...changes,
  }
}

function firstOf(name: string): Case {
  const [one] = selectCases([name])
  if (!one) throw new Error('the case is gone')
  return one
}

beforeAll(() => {
  if (!has(process.env['CC'] ?? 'gcc')) return
  programs = buildPrograms(join(ROOT, 'bench'), FOLDER)
  if (has('openssl')) certificate = makeCertificate()
})

afterAll(() => {
  endAll()
  // In a process of Jest the event 'exit' does not come.
  if (certificate) rmSync(certificate, { recursive: true })
})

describe.each(['node', 'uring', 'core'] as const)('trial on %s', (target) => {
  for (const one of small) {
    if (targetsOf(one, [target]).length === 0) continue
    const obstacle = obstacleOf(one, target)
    const run = obstacle ? test.skip : test
    run(
      `${one.id} tells what it says it tells${obstacle ? ` (skipped: ${obstacle})` : ''}`,
      async () => {
        // A warm-up by wrk or h2load takes a second at least.
        const isOwn = !loadedByWrk.includes(one.kind) && one.kind !== 'h2'
        const trial = await runTrial(one, target, optionsOf(isOwn ? {} : { warmupSeconds: 0 }))
        expect(trial.driver.name).toBe(target === 'core' ? 'uring' : target)
        for (const metric of METRIC_NAMES) {
          const isTold = one.metrics.includes(metric)
          expect([metric, isTold ? typeof trial[metric] : trial[metric]]).toEqual([
            metric,
            isTold ? 'number' : null,
          ])
        }
        expect(trial.serverBusy).toBeGreaterThanOrEqual(0)
      },
      60_000,
    )
  }
})

const canRun = obstacleOf(firstOf('echo-64B-64'), 'node') === undefined

;(canRun ? describe : describe.skip)('trial', () => {
  test.each(['floor-epoll', 'floor-uring'] as const)('%s echoes', async (target) => {
    if (target === 'floor-uring' && !uringRuns()) return
    const trial = await runTrial(firstOf('echo-64B-64'), target, optionsOf())
    expect(trial.driver.name).toBe(target)
    expect(trial.ops).toBeGreaterThan(0)
  })

  test('in an open loop as many messages are sent as were asked for, not as many as can be', async () => {
    const options = optionsOf({ openLoopRate: 500, warmupSeconds: 0, seconds: 0.4 })
    const { ops } = await runTrial(firstOf('echo-64B-64'), 'node', options)
    expect(ops).toBeGreaterThan(0)
    expect(ops).toBeLessThanOrEqual(300)
  })

  test('servers run on the node that was given', async () => {
    const options = optionsOf({ node: '/no/such/node' })
    await expect(runTrial(firstOf('echo-64B-1'), 'node', options)).rejects.toThrow(
      'cannot start /no/such/node',
    )
  })

  test('without a certificate a server with TLS does not start', async () => {
    await expect(
      startServer(firstOf('https-hello'), 'node', optionsOf({ certificate: undefined })),
    ).rejects.toThrow('key.pem')
  })

  test('a server that is not what the load generator expects fails the trial', async () => {
    const { server, ready } = await startServer(firstOf('echo-64B-1'), 'node', optionsOf())
    const load = (mode: string) =>
      new Program([programs.load, mode, '--port', String(ready.port), '--pid', String(server.pid)])
    await expect(load('ws-echo').finish(waitDeadlineMs)).rejects.toThrow(
      'did not accept a WebSocket',
    )
    await expect(load('no-such-mode').finish(waitDeadlineMs)).rejects.toThrow('usage: load')
    await server.stop()
  })

  test('the certificate goes with the process that made it', () => {
    if (!has('openssl')) return
    const script = `console.log(require(${JSON.stringify(join(FOLDER, 'certificate.js'))}).makeCertificate())`
    const folder = spawnSync(process.execPath, ['-e', script]).stdout.toString().trim()
    expect(folder).toMatch(/^\//)
    expect(existsSync(folder)).toBe(false)
  })
})

describe('figures of a window', () => {
  const ready = { port: 1, driver: { name: 'node', reason: '', features: [] } }
  const window = {
    ops: 0,
    seconds: 2,
    serverUserUs: 500_000,
    serverSystemUs: 500_000,
    loadBusyUs: 0,
  }

  test('memory is in MB, and per connection in KB without what there was before', () => {
    const one = { ...firstOf('idle'), connections: 1000 }
    const trial = toTrial(one, { ...window, rssKb: 200_000, rssBeforeKb: 100_000 }, ready)
    expect(trial).toMatchObject({ rssMb: 204.8, kbPerConnection: 102.4, cpuUsPerOp: null })
    expect(trial.serverBusy).toBe(0.5)
  })

  test('CPU per operation is told only where operations are counted', () => {
    const counted = { ...window, ops: 1000, p50Us: 5, p99Us: 9, share: 0.8 }
    expect(toTrial(firstOf('fairness'), counted, ready)).toMatchObject({
      cpuUsPerOp: null,
      userUsPerOp: null,
      opsPerSecond: null,
      share: 0.8,
      p50Us: 5,
      p99Us: 9,
    })
    expect(toTrial(firstOf('h2c'), counted, ready)).toMatchObject({
      cpuUsPerOp: 1000,
      userUsPerOp: 500,
      opsPerSecond: 500,
      p50Us: null,
      p99Us: null,
      share: null,
    })
  })
})
