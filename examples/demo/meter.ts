/**
 * Turns the driver's counters and the listeners' connections into samples twice a second, and keeps the last minute
 * of them. Reads only; what is done with a sample is the caller's.
 */
import type { Listener } from './servers'
import { driver } from '../../src/index'

export const SAMPLE_MS = 500
/** One minute. */
const SAMPLES_MAX = 120

export interface Sample {
  /** Seconds the process has been up. */
  uptime: number
  /** Bytes per second since the sample before. */
  inRate: number
  outRate: number
  /** Completions per second since the sample before. */
  completionRate: number
  /** Since the sample before; null when nothing completed. */
  perBatch: number | null
  entersPerCompletion: number | null
  inFlight: number
  endpoints: number
  open: number
  accepted: number
  bytesIn: number
  bytesOut: number
  completions: number
  submissions: number
  batches: number
  enters: number
  poolExhausted: number
  overflows: number
  residentBytes: number
  /** Of one core, 0 to 100 and more. */
  cpuPercent: number
  listeners: { open: number; accepted: number }[]
}

export interface Meter {
  history: Sample[]
  stop(): void
}

/** Starts sampling; `onSample` hears every new one. */
export function startMeter(listeners: Listener[], onSample: (sample: Sample) => void): Meter {
  const history: Sample[] = []
  const traffic = trafficOf(listeners)
  let last = { ...count(traffic), at: performance.now(), cpu: process.cpuUsage() }
  const timer = setInterval(() => {
    const now = { ...count(traffic), at: performance.now(), cpu: process.cpuUsage() }
    const seconds = (now.at - last.at) / 1000
    const completed = now.completions - last.completions
    const batches = now.batches - last.batches
    const cpuUs = now.cpu.user + now.cpu.system - last.cpu.user - last.cpu.system
    const sample: Sample = {
      uptime: process.uptime(),
      inRate: (now.bytesIn - last.bytesIn) / seconds,
      outRate: (now.bytesOut - last.bytesOut) / seconds,
      completionRate: completed / seconds,
      perBatch: batches > 0 ? completed / batches : null,
      entersPerCompletion: completed > 0 ? (now.enters - last.enters) / completed : null,
      inFlight: now.inFlight,
      endpoints: now.endpoints,
      open: listeners.reduce((sum, listener) => sum + listener.sockets.size, 0),
      accepted: listeners.reduce((sum, listener) => sum + listener.accepted, 0),
      bytesIn: now.bytesIn,
      bytesOut: now.bytesOut,
      completions: now.completions,
      submissions: now.submissions,
      batches: now.batches,
      enters: now.enters,
      poolExhausted: now.poolExhausted,
      overflows: now.overflows,
      residentBytes: process.memoryUsage.rss(),
      cpuPercent: cpuUs / 10_000 / seconds,
      listeners: listeners.map(({ sockets, accepted }) => ({ open: sockets.size, accepted })),
    }
    last = now
    history.push(sample)
    if (history.length > SAMPLES_MAX) history.shift()
    onSample(sample)
  }, SAMPLE_MS)
  return { history, stop: () => clearInterval(timer) }
}

type Traffic = () => { bytesIn: number; bytesOut: number }

function count(traffic: Traffic) {
  // Without a driver of ours everything but the bytes stays zero. The driver counts those that it carries itself only.
  return { ...nothing, ...driver.stats(), ...traffic() }
}

const nothing = {
  endpoints: 0,
  inFlight: 0,
  submissions: 0,
  completions: 0,
  batches: 0,
  enters: 0,
  poolExhausted: 0,
  overflows: 0,
}

/** Bytes by the sockets' own counters: ended connections plus the open ones. */
function trafficOf(listeners: Listener[]): Traffic {
  const seen = new Map<object, [number, number]>()
  let ended = [0, 0] as [number, number]
  return () => {
    const open = new Set<object>()
    for (const { sockets } of listeners) {
      for (const socket of sockets) {
        open.add(socket)
        seen.set(socket, [socket.bytesRead, socket.bytesWritten])
      }
    }
    let [bytesIn, bytesOut] = ended
    for (const [socket, [read, written]] of seen) {
      bytesIn += read
      bytesOut += written
      if (open.has(socket)) continue
      ended = [ended[0] + read, ended[1] + written]
      seen.delete(socket)
    }
    return { bytesIn, bytesOut }
  }
}
