/**
 * Runs process.nextTick callbacks and microtasks that are due, between two completions of a batch (E2). Owns nothing.
 *
 * It is what Node itself runs between two timers of a list. A callback scope for each completion would do the same at
 * 300 ns a piece (docs/design.md). Deprecated in the documentation only (DEP0134), but loud under --pending-deprecation:
 * that warning is not the program's to see, so the first call is made with warnings off.
 */
const tickCallback = (process as unknown as { _tickCallback?: () => void })._tickCallback

let isQuiet = false

function runQuietly(): void {
  const { noDeprecation } = process
  process.noDeprecation = true
  try {
    tickCallback!()
  } finally {
    isQuiet = true
    process.noDeprecation = noDeprecation as boolean
  }
}

/** Undefined when this Node has no way to do it; each completion then needs a batch of its own. */
export const runTicks: (() => void) | undefined =
  tickCallback &&
  ((): void => {
    if (isQuiet) tickCallback()
    else runQuietly()
  })
