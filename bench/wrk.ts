/**
 * Reads what wrk prints. It owns nothing but that format, and refuses output of a run in which requests failed.
 */

export interface WrkResult {
  requests: number
  requestsPerSecond: number
  p50Us: number
  p99Us: number
}

const MICROSECONDS: Record<string, number> = { us: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3600e6 }

/** Parses the output of `wrk --latency`. Throws when a line is missing, and on failed or non-2xx requests. */
export function parseWrk(output: string): WrkResult {
  const failed = /^\s*(Socket errors:.*|Non-2xx or 3xx responses:.*)$/m.exec(output)
  if (failed) throw new Error(`wrk: ${failed[1]}`)
  return {
    requests: Number(field(output, /^\s*(\d+) requests in /m, 'requests')),
    requestsPerSecond: Number(field(output, /^Requests\/sec:\s*([\d.]+)/m, 'Requests/sec')),
    p50Us: microseconds(field(output, /^\s*50%\s+(\S+)/m, '50%')),
    p99Us: microseconds(field(output, /^\s*99%\s+(\S+)/m, '99%')),
  }
}

function field(output: string, pattern: RegExp, name: string): string {
  const value = pattern.exec(output)?.[1]
  if (value === undefined) throw new Error(`wrk: no '${name}' in its output:\n${output}`)
  return value
}

function microseconds(text: string): number {
  const [, number, unit] = /^([\d.]+)([a-z]+)$/.exec(text) ?? []
  const factor = MICROSECONDS[unit ?? '']
  if (factor === undefined) throw new Error(`wrk: '${text}' is no duration`)
  return Number(number) * factor
}
