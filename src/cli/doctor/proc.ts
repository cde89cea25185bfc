/** Reads what /proc says about limits, filters and capabilities. Pure: text in, values out; undefined where it says nothing. */

export type Limit = number | 'unlimited'

export interface Limits {
  soft: Limit
  hard: Limit
}

/** A line of /proc/self/limits (proc(5)): name, soft limit, hard limit. */
export function parseLimits(text: string, name: string): Limits | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `))
  const [soft, hard] = line?.slice(name.length).trim().split(/\s+/) ?? []
  if (soft === undefined || hard === undefined) return undefined
  return { soft: limit(soft), hard: limit(hard) }
}

function limit(text: string): Limit {
  return text === 'unlimited' ? text : Number(text)
}

/** `Seccomp:` of /proc/self/status: 0 off, 1 strict, 2 a filter. */
export function parseSeccomp(status: string): number | undefined {
  const found = /^Seccomp:\s*(\d+)$/m.exec(status)
  return found ? Number(found[1]) : undefined
}

const CAP_SYS_ADMIN = 21n

/** Whether the effective capabilities (capabilities(7)) hold CAP_SYS_ADMIN. */
export function parseSysAdmin(status: string): boolean | undefined {
  const found = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)
  return found ? ((BigInt(`0x${found[1]}`) >> CAP_SYS_ADMIN) & 1n) === 1n : undefined
}

/** A file that holds one number. */
export function parseNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d+\s*$/.test(text) ? Number(text) : undefined
}

/** Whether a kernel release ('6.1.0-13-amd64') is older than a version; false when it cannot be read. */
export function isOlder(release: string, major: number, minor: number): boolean {
  const found = /^(\d+)\.(\d+)/.exec(release)
  if (found === null) return false
  const theirs = Number(found[1])
  return theirs < major || (theirs === major && Number(found[2]) < minor)
}
