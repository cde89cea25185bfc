/**
 * Runs one trial: a fresh server process on its core, a warm-up, a measured window by the load generator on another
 * core, and the figures of that window. It never repeats, compares or averages.
 */
import { join } from 'node:path'
import { measure } from './loads'
import type { LoadOptions } from './loads'
import type { Case, Metric, Target } from './matrix'
import { METRIC_NAMES, isFloor } from './matrix'
import { Program } from './processes'
import type { Ready } from './server'
import type { Window } from './window'

export interface TrialOptions extends LoadOptions {
  /** The node that runs the server. */
  node: string
  /** The folder with key and certificate; cases without TLS need none. */
  certificate?: string | undefined
  serverCpu: number
}

/** Null is what the case has not. */
export type Figures = Record<Metric, number | null>

/** The figures of one measured window. */
export interface Trial extends Figures {
  driver: Ready['driver']
  seconds: number
  ops: number
  userUsPerOp: number | null
  systemUsPerOp: number | null
  p99Us: number | null
  /** Share of the window in which the process ran: 1 is a full core. */
  serverBusy: number
  loadBusy: number
}

const START_DEADLINE_MS = 45_000

export async function runTrial(one: Case, target: Target, options: TrialOptions): Promise<Trial> {
  const { server, ready } = await startServer(one, target, options)
  try {
    const window = await Promise.race([
      measure(one, { port: ready.port, pid: server.pid }, options),
      server.mustOutlive(),
    ])
    return toTrial(one, window, ready)
  } catch (error) {
    const { message } = error as Error
    const { complaints } = server
    if (complaints === '' || message.includes(complaints)) throw error
    throw new Error(`${message}\nserver: ${complaints}`)
  } finally {
    await server.stop()
  }
}

/** Starts a server, and refuses one that runs on another driver than the one that was asked for. */
export async function startServer(one: Case, target: Target, options: TrialOptions) {
  const env = { ...process.env }
  delete env['URING_NET_DRIVER']
  const driver = target === 'register' || target === 'core' ? 'uring' : target
  if (driver !== 'node' && !isFloor(target)) env['URING_NET_DRIVER'] = driver
  const core = ['exec', '--cpu', String(options.serverCpu), '--']
  const command = serverCommand(one, target, options)
  const server = new Program([options.programs.load, ...core, ...command], env)
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

function serverCommand(one: Case, target: Target, options: TrialOptions): string[] {
  if (target === 'floor-epoll' || target === 'floor-uring') return [options.programs[target]]
  const register = join(options.folder, '..', 'src', 'register.js')
  const isCarried = one.kind === 'datagrams' && (target === 'uring' || target === 'epoll')
  const preload = target === 'register' || isCarried ? ['--require', register] : []
  const script = join(options.folder, 'server.js')
  return [options.node, ...preload, script, one.id, target, options.certificate ?? '']
}

/** Only what the case tells: CPU per operation, say, means nothing where connections are idle. */
export function toTrial(one: Case, window: Window, ready: Ready): Trial {
  const { ops, seconds, serverUserUs, serverSystemUs, rssKb, rssBeforeKb } = window
  const perOp = (us: number) => (ops > 0 ? us / ops : null)
  const all: Figures = {
    opsPerSecond: window.opsPerSecond ?? ops / seconds,
    cpuUsPerOp: perOp(serverUserUs + serverSystemUs),
    p50Us: window.p50Us ?? null,
    rssMb: rssKb === undefined ? null : (rssKb * 1024) / 1e6,
    kbPerConnection:
      rssKb === undefined || rssBeforeKb === undefined
        ? null
        : ((rssKb - rssBeforeKb) * 1.024) / one.connections,
    elapsedMs: window.elapsedMs ?? null,
    share: window.share ?? null,
  }
  const told = METRIC_NAMES.map((name) => [name, one.metrics.includes(name) ? all[name] : null])
  const figures = Object.fromEntries(told) as Figures
  const hasCpu = figures.cpuUsPerOp !== null
  return {
    driver: ready.driver,
    seconds,
    ops,
    ...figures,
    userUsPerOp: hasCpu ? perOp(serverUserUs) : null,
    systemUsPerOp: hasCpu ? perOp(serverSystemUs) : null,
    p99Us: figures.p50Us === null ? null : (window.p99Us ?? null),
    serverBusy: (serverUserUs + serverSystemUs) / 1e6 / seconds,
    loadBusy: window.loadBusyUs / 1e6 / seconds,
  }
}
