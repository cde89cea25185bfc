/**
 * What a figure means nothing without: the machine and the versions it was taken on. It never records names or paths
 * of the machine.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import * as os from 'node:os'

/** Node, libuv and OpenSSL are those of the servers. */
export interface Machine {
  cpuModel: string
  cores: number
  isVirtual: boolean
  memoryGiB: number
  system: string
  kernel: string
  clockSource: string
  congestionControl: string
  node: string
  libuv: string
  openssl: string
  /** The node that runs the benchmark itself, and the gRPC client. */
  loadNode: string
  gcc: string
  wrk: string
  h2load: string
  openFilesMax: number
  loadAverageAtStart: number
}

export interface Binaries {
  node: string
  load: string
}

export function describeMachine({ node, load }: Binaries): Machine {
  const versions = versionsOf(node)
  const cpuInfo = read('/proc/cpuinfo')
  return {
    cpuModel: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.cpus().length,
    isVirtual: /^flags.*\bhypervisor\b/m.test(cpuInfo),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(read('/etc/os-release'))?.[1] ?? 'unknown',
    kernel: os.release(),
    clockSource: read('/sys/devices/system/clocksource/clocksource0/current_clocksource').trim(),
    congestionControl: read('/proc/sys/net/ipv4/tcp_congestion_control').trim(),
    node: versions['node'] ?? 'unknown',
    libuv: versions['uv'] ?? 'unknown',
    openssl: versions['openssl'] ?? 'unknown',
    loadNode: process.versions.node,
    gcc: version('gcc', '--version'),
    wrk: version('wrk', '--version'),
    h2load: version('h2load', '--version'),
    openFilesMax: openFilesMax(load),
    loadAverageAtStart: os.loadavg()[0] ?? 0,
  }
}

/** Throws when it is no node. */
function versionsOf(node: string): Record<string, string | undefined> {
  try {
    const args = ['-p', 'JSON.stringify(process.versions)']
    return JSON.parse(
      execFileSync(node, args, { encoding: 'utf8', stdio: 'pipe' }),
    ) as object as Record<string, string>
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error(`--node ${node} does not run: ${stderr || message}`)
  }
}

/** The open files of a process that the load generator starts: it raises the limit as far as it may. */
function openFilesMax(load: string): number {
  const limit = execFileSync(load, ['exec', '--', 'sh', '-c', 'ulimit -n'], { encoding: 'utf8' })
  return Number(limit) || Infinity
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** The first line a program prints about itself; wrk does so with exit code 1. */
function version(program: string, option: string): string {
  try {
    return firstLine(execFileSync(program, [option], { encoding: 'utf8', stdio: 'pipe' }))
  } catch (error) {
    const { stdout } = error as { stdout?: string }
    return stdout ? firstLine(stdout) : 'not installed'
  }
}

function firstLine(text: string): string {
  return text.split('\n')[0]?.split(' Copyright')[0]?.trim() ?? ''
}
