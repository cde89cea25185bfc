/**
 * Reads what h2load prints. It owns nothing but that format, and refuses output of a run in which requests failed.
 */

export interface H2loadResult {
  requests: number
  requestsPerSecond: number
}

/** Parses the output of `h2load -D`. Throws when a line is missing, and on failed or non-2xx requests. */
export function parseH2load(output: string): H2loadResult {
  const rate = field(output, /^finished in [^,]+, ([\d.]+) req\/s/m, 'finished in')[0]
  const [done, failed, errored, timedOut] = field(
    output,
    /^requests: .*?(\d+) done, .*?(\d+) failed, (\d+) errored, (\d+) timeout/m,
    'requests',
  )
  const others = field(
    output,
    /^status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/m,
    'status codes',
  )
  if ([failed, errored, timedOut, ...others].some((count) => count !== 0)) {
    const lines = output.split('\n').filter((line) => /^(requests|status codes):/.test(line))
    throw new Error(`h2load: ${lines.join('; ')}`)
  }
  return { requests: done ?? 0, requestsPerSecond: rate ?? 0 }
}

function field(output: string, pattern: RegExp, name: string): number[] {
  const found = pattern.exec(output)
  if (!found) throw new Error(`h2load: no '${name}' in its output:\n${output}`)
  return found.slice(1).map(Number)
}
