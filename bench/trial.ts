/**
 * Runs one trial: a fresh server process on its core, a warm-up, a measured window by the load generator on another
 * core, and the figures of that window. It never repeats, compares or averages.
 */
import { join } from 'node:path'
import type { Case, Target } from './matrix'
import { Program } from './processes'
import type { Ready } from './server'
import { parseWrk } from './wrk'

export interface TrialOptions {
  load: string
  serverCpu: number
  loadCpu: number
  warmupSeconds: number
  seconds: number
}

/** The figures of one measured window. */
export interface Trial {
  driver: Ready['driver']
  seconds: number
  ops: number
  opsPerSecond: number
  /** CPU time of the server process, all of its threads, per operation. */
  cpuUsPerOp: number
  userUsPerOp: number
  systemUsPerOp: number
  p50Us: number | null
  p99Us: number | null
  /** Share of the window in which the process ran: 1 is a full core. */
  serverBusy: number
  loadBusy: number
}

/** CPU figures over a window, as the load generator prints them. */
interface Cpu {
  seconds: number
  serverUserUs: number
  serverSystemUs: number
  loadBusyUs: number
}

interface Window extends Cpu {
  ops: number
  opsPerSecond?: number
  p50Us?: number
  p99Us?: number
}

const START_DEADLINE_MS = 15_000
const GRACE_MS = 20_000

export async function runTrial(one: Case, target: Target, options: TrialOptions): Promise<Trial> {
  const { server, ready } = await startServer(one, target, options)
  try {
    const measured = one.kind === 'http' ? measureHttp : measureRaw
    const window = await Promise.race([
      measured(one, ready.port, server.pid, options),
      server.mustOutlive(),
    ])
    return toTrial(window, ready)
  } finally {
    await server.stop()
  }
}

/** Starts a server, and refuses one that runs on another driver than the one that was asked for. */
export async function startServer(one: Case, target: Target, options: TrialOptions) {
  const env = { ...process.env }
  delete env['URING_NET_DRIVER']
  const driver = target === 'register' ? 'uring' : target
  if (driver !== 'node') env['URING_NET_DRIVER'] = driver
  const preload = target === 'register' ? ['--require', join(__dirname, '../src/register.js')] : []
  const script = join(__dirname, 'server.js')
  const server = new Program(
    [
      ...[options.load, 'exec', '--cpu', String(options.serverCpu), '--'],
      ...[process.execPath, ...preload, script, one.id, target],
    ],
    env,
  )
  try {
    const ready = JSON.parse(await server.firstLine(START_DEADLINE_MS)) as Ready
    if (ready.driver.name !== driver) {
      throw new Error(
        `driver '${driver}' was asked for, '${ready.driver.name}' runs: ${ready.driver.reason || 'no reason given'}`,
      )
    }
    return { server, ready }
  } catch (error) {
    await server.stop()
    throw error
  }
}

async function measureRaw(
  one: Case,
  port: number,
  pid: number,
  options: TrialOptions,
): Promise<Window> {
  const program = new Program([
    ...[options.load, one.kind, '--cpu', String(options.loadCpu), '--port', String(port)],
    ...['--connections', String(one.connections), '--pid', String(pid)],
    ...(one.kind === 'echo' || one.kind === 'churn' ? ['--bytes', String(one.bytes)] : []),
    ...['--warmup', String(options.warmupSeconds), '--seconds', String(options.seconds)],
  ])
  return JSON.parse(await program.finish(deadlineMs(options))) as Window
}

/** wrk has no window of its own within a run, so the warm-up is a run before the measured one. */
async function measureHttp(
  one: Case,
  port: number,
  pid: number,
  options: TrialOptions,
): Promise<Window> {
  const wrk = (seconds: number) => [
    ...['--', 'wrk', '--latency', '-t', '1', '-c', String(one.connections)],
    ...['-d', `${Math.max(1, Math.round(seconds))}s`, `http://127.0.0.1:${port}/`],
  ]
  const core = ['--cpu', String(options.loadCpu)]
  const warmUp = new Program([options.load, 'exec', ...core, ...wrk(options.warmupSeconds)])
  await warmUp.finish(deadlineMs(options))
  const measured = new Program([
    ...[options.load, 'measure', ...core, '--pid', String(pid)],
    ...wrk(options.seconds),
  ])
  const output = await measured.finish(deadlineMs(options))
  const cpu = JSON.parse(output.slice(output.lastIndexOf('{'))) as Cpu
  const { requests, requestsPerSecond, p50Us, p99Us } = parseWrk(output)
  return { ...cpu, ops: requests, opsPerSecond: requestsPerSecond, p50Us, p99Us }
}

function deadlineMs(options: TrialOptions): number {
  return (options.warmupSeconds + options.seconds) * 1000 + GRACE_MS
}

function toTrial(window: Window, ready: Ready): Trial {
  const { ops, seconds, serverUserUs, serverSystemUs } = window
  return {
    driver: ready.driver,
    seconds,
    ops,
    opsPerSecond: window.opsPerSecond ?? ops / seconds,
    cpuUsPerOp: (serverUserUs + serverSystemUs) / ops,
    userUsPerOp: serverUserUs / ops,
    systemUsPerOp: serverSystemUs / ops,
    p50Us: window.p50Us ?? null,
    p99Us: window.p99Us ?? null,
    serverBusy: (serverUserUs + serverSystemUs) / 1e6 / seconds,
    loadBusy: window.loadBusyUs / 1e6 / seconds,
  }
}
