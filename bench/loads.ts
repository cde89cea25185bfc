/**
 * How the server of a case is loaded: by our load generator, wrk, h2load, or a gRPC client. Each takes the server's port
 * and process id, and answers with the figures of one measured window. It never starts a server.
 */
import { join } from 'node:path'
import type { GrpcLoad } from './grpc-load'
import { parseH2load } from './h2load'
import type { Case } from './matrix'
import type { NativePrograms } from './native-programs'
import { Program } from './processes'
import type { Cpu, Window } from './window'
import { parseWrk } from './wrk'

export interface LoadOptions {
  /** Where the compiled gRPC client is. */
  folder: string
  programs: NativePrograms
  loadCpu: number
  warmupSeconds: number
  seconds: number
  openLoopRate?: number | null
}

export interface Server {
  port: number
  pid: number
}

const GRACE_MS = 25_000
/** The same for h2load, which may never end. */
const H2LOAD_GRACE_MS = 4_000

export function measure(one: Case, server: Server, options: LoadOptions): Promise<Window> {
  const stretched = { ...options, seconds: options.seconds * one.stretch }
  switch (one.kind) {
    case 'http':
    case 'send-file':
      return measureProgram(one, server, stretched, wrk, readWrk)
    case 'h2':
      return measureProgram(one, server, stretched, h2load, readH2load)
    case 'grpc':
      return measureGrpc(one, server, stretched)
    default:
      return measureOwn(one, server, stretched)
  }
}

async function measureOwn(one: Case, server: Server, options: LoadOptions): Promise<Window> {
  const { port, pid } = server
  const rate = options.openLoopRate ?? null
  const program = new Program([
    ...[options.programs.load, one.kind, '--cpu', String(options.loadCpu), '--port', String(port)],
    ...['--connections', String(one.connections), '--pid', String(pid)],
    ...(one.bytes > 0 ? ['--bytes', String(one.bytes)] : []),
    ...(rate !== null ? ['--rate', String(rate)] : []),
    ...['--warmup', String(options.warmupSeconds), '--seconds', String(options.seconds)],
  ])
  return JSON.parse(await program.finish(deadlineMs(options))) as Window
}

/** The gRPC client measures its own window; a client in JavaScript has to warm up, too. */
async function measureGrpc(one: Case, server: Server, options: LoadOptions): Promise<Window> {
  const { parallel, bytes } = one
  const { warmupSeconds, seconds, programs } = options
  const { load } = programs
  const job: GrpcLoad = { ...server, parallel, bytes, warmupSeconds, seconds, load }
  const program = new Program([
    ...[load, 'exec', '--cpu', String(options.loadCpu), '--', process.execPath],
    ...[join(options.folder, 'grpc-load.js'), JSON.stringify(job)],
  ])
  return JSON.parse(await program.finish(deadlineMs(options))) as Window
}

/** Other programs have no window of their own within a run, so the warm-up is a run before the measured one. */
async function measureProgram(
  one: Case,
  server: Server,
  options: LoadOptions,
  command: (one: Case, port: number, seconds: number) => string[],
  read: (output: string) => Omit<Window, keyof Cpu>,
): Promise<Window> {
  const core = ['--cpu', String(options.loadCpu)]
  const { load } = options.programs
  if (options.warmupSeconds > 0) {
    const words = command(one, server.port, options.warmupSeconds)
    await new Program([load, 'exec', ...core, '--', ...words]).finish(deadlineMs(options))
  }
  const output = await finished(one, options, (seconds) => {
    const words = command(one, server.port, seconds)
    return new Program([...[load, 'measure', ...core, '--pid', String(server.pid), '--', ...words]])
  })
  const cpu = JSON.parse(output.slice(output.lastIndexOf('{'))) as Cpu
  return { ...cpu, ...read(output) }
}

/**
 * What the program prints. h2load never ends when its time is over before all its connections are up, as on a busy machine: then
 * it is run again, for longer.
 */
async function finished(
  one: Case,
  options: LoadOptions,
  start: (seconds: number) => Program,
): Promise<string> {
  for (let factor = 1; one.kind === 'h2' && factor < 9; factor *= 3) {
    const seconds = options.seconds * factor
    const output = start(seconds).finish(seconds * 1000 + H2LOAD_GRACE_MS)
    const text = await output.catch(() => undefined)
    if (text !== undefined) return text
  }
  return start(options.seconds).finish(deadlineMs(options))
}

function wrk(one: Case, port: number, seconds: number): string[] {
  const amount = ['-t', '1', '-c', String(one.connections), '-d', `${wholeSeconds(seconds)}s`]
  // Its own is 2 s, which a machine that stands still exceeds.
  return ['wrk', '--latency', '--timeout', '20s', ...amount, urlOf(one, port)]
}

function readWrk(output: string) {
  const { requests, requestsPerSecond, p50Us, p99Us } = parseWrk(output)
  return { ops: requests, opsPerSecond: requestsPerSecond, p50Us, p99Us }
}

function h2load(one: Case, port: number, seconds: number): string[] {
  const amount = ['-c', String(one.connections), '-m', String(one.parallel)]
  return ['h2load', ...amount, '-D', String(wholeSeconds(seconds)), urlOf(one, port)]
}

function readH2load(output: string) {
  const { requests, requestsPerSecond } = parseH2load(output)
  return { ops: requests, opsPerSecond: requestsPerSecond }
}

function urlOf(one: Case, port: number): string {
  return `${one.tls ? 'https' : 'http'}://127.0.0.1:${port}/`
}

function wholeSeconds(seconds: number): number {
  return Math.max(1, Math.round(seconds))
}

function deadlineMs(options: LoadOptions): number {
  return (options.warmupSeconds + options.seconds) * 1000 + GRACE_MS
}
