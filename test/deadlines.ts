/**
 * How long the tests wait for what never comes, in ms. A deadline tells what hangs from what is slow, and decides nothing else: a
 * machine at load, under a sanitizer, or one that stood still for some seconds is slow. All are below Jest's own (see
 * jest.config.js), which has the last word.
 */

/** Of one wait for an event or a message. */
export const waitDeadlineMs = 45_000

/** Of a program that a test has started: it is ended by force then. */
export const programDeadlineMs = 60_000

/** Rejects when `promise` has not settled in time, naming what was waited for. */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  ms = waitDeadlineMs,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
