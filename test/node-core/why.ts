/**
 * One line that says why a test did not pass: how it ended and the line of its output that tells most. It never shows
 * where on this machine anything lies.
 */

export interface Ending {
  status: 'pass' | 'skip' | 'fail'
  /** How a failed test ended: one of these. */
  timedOut?: boolean
  signal?: string
  code?: number
  /** What a test that skipped itself said. */
  reason?: string
  /** Of what a failed test wrote: the line that tells most, and the last lines. */
  line?: string
  tail?: string
}

const TEXT_MAX = 110

/** In this order: an earlier one says more when the output has several. */
const TELLING = [
  /^(Uncaught )?\w*Error\b.*:/,
  /^Mismatched .* calls/,
  /: bad option/,
  /^FATAL|Assertion .* failed/,
  /^error: /,
  /Error\b.*: /,
]

/** The line of an output that tells most of a failure; empty when none stands out. */
export function tellingLine(output: string): string {
  const lines = output.split('\n').map((line) => line.trim())
  return TELLING.flatMap((pattern) => lines.find((line) => pattern.test(line)) ?? [])[0] ?? ''
}

/** `folders` maps what stands for a place on this machine to what is written in its stead. */
export function why(ending: Ending, folders: Record<string, string> = {}): string {
  if (ending.status === 'skip') return `skipped: ${ending.reason ?? ''}`.trimEnd()
  const end = ending.timedOut ? 'timeout' : (ending.signal ?? `exit ${ending.code ?? '?'}`)
  return `${end}  ${withoutPlaces(ending.line ?? '', folders).slice(0, TEXT_MAX)}`.trimEnd()
}

function withoutPlaces(text: string, folders: Record<string, string>): string {
  // The longest first: one folder may lie in another.
  const places = Object.keys(folders).sort((a, b) => b.length - a.length)
  return places.reduce((rest, place) => rest.replaceAll(place, folders[place] ?? ''), text)
}
