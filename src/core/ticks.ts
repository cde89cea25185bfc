/**
 * Runs process.nextTick callbacks and microtasks that are due, between two completions of a batch (E2). Owns nothing.
 *
 * It is what Node itself runs between two timers of a list. A callback scope for each completion would do the same at
 * 300 ns a piece (docs/design.md). Deprecated in the documentation only (DEP0134), but loud under --pending-deprecation:
 * that one warning is not the program's to see.
 */
const tickCallback = (process as unknown as { _tickCallback?: () => void })._tickCallback

/** Under --pending-deprecation it is a wrapper that warns when first called. */
let isQuiet = tickCallback?.name !== 'deprecated'

/** The wrapper marks itself as having warned only when it may warn, so its warning is taken from it. */
function runQuietly(): void {
  isQuiet = true
  const own = Object.getOwnPropertyDescriptor(process, 'emitWarning')!
  const restore = (): void => {
    if (process.emitWarning === swallow) Object.defineProperty(process, 'emitWarning', own)
  }
  // The wrapper calls it before any tick runs; what the program warns of in those comes through.
  const swallow = ((...args: Parameters<typeof process.emitWarning>): void => {
    restore()
    if ((args as unknown[])[2] !== 'DEP0134') process.emitWarning(...args)
  }) as typeof process.emitWarning
  process.emitWarning = swallow
  try {
    tickCallback!()
  } finally {
    restore()
  }
}

/** Undefined when this Node has no way to do it; each completion then needs a batch of its own. */
export const runTicks: (() => void) | undefined =
  tickCallback &&
  ((): void => {
    if (isQuiet) tickCallback()
    else runQuietly()
  })
