/**
 * What a figure means nothing without: the machine and the versions it was taken on. It never records names or paths
 * of the machine.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import * as os from 'node:os'

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
  gcc: string
  wrk: string
  openFilesMax: number
  loadAverageAtStart: number
}

export function describeMachine(): Machine {
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
    node: process.versions.node,
    libuv: process.versions['uv'] ?? 'unknown',
    openssl: process.versions['openssl'] ?? 'unknown',
    gcc: version('gcc', '--version'),
    wrk: version('wrk', '--version'),
    openFilesMax: openFilesMax(),
    loadAverageAtStart: os.loadavg()[0] ?? 0,
  }
}

/** The hard limit of open files; the soft one is raised to it by Node and by the load generator themselves. */
function openFilesMax(): number {
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(read('/proc/self/limits'))?.[1]
  return limit === undefined || limit === 'unlimited' ? Infinity : Number(limit)
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
