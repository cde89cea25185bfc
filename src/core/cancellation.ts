/**
 * Cancellation by AbortSignal. A cancel is a request (C1): what is cancelled ends when its last completion says so.
 * Owns one listener on the signal for as long as the operation runs, never longer.
 */

/** Options of every operation that can be cancelled. */
export interface Cancellable {
  /** Aborting asks the operation to end; its promise tells how it ended. */
  signal?: AbortSignal | undefined
}

/** Calls `onAbort` when the signal aborts; the function it returns ends that. Throws the reason of an aborted signal. */
export function watch(signal: AbortSignal | undefined, onAbort: () => void): () => void {
  if (signal === undefined) return () => {}
  signal.throwIfAborted()
  signal.addEventListener('abort', onAbort, { once: true })
  return () => signal.removeEventListener('abort', onAbort)
}
