/**
 * Cancellation by AbortSignal and by deadline. A cancel is a request (C1): what is cancelled ends when its last completion
 * says so. Owns one listener on the signal and one timer for as long as the operation runs, never longer.
 */
import { Errno, invalidArgument, outOfRange, systemError } from './errors'
import { clearTimeout, setTimeout } from './timers'

/** Options of every operation that can be cancelled. */
export interface Cancellable {
  /** Aborting asks the operation to end; its promise tells how it ended. */
  signal?: AbortSignal | undefined
  /** Milliseconds until the operation is asked to end, with ETIMEDOUT. 1 to 2147483647. */
  timeout?: number | undefined
}

const timeoutMax = 2147483647

/** Throws the reason of a signal that is aborted, and ERR_OUT_OF_RANGE for a timeout that is none. */
export function requireValid({ signal, timeout }: Cancellable): void {
  if (
    timeout !== undefined &&
    !(Number.isInteger(timeout) && timeout >= 1 && timeout <= timeoutMax)
  ) {
    throw outOfRange(`timeout is 1 to ${timeoutMax} milliseconds. Received ${timeout}`)
  }
  if (
    signal !== undefined &&
    !(typeof signal === 'object' && signal !== null && 'addEventListener' in signal)
  ) {
    throw invalidArgument('signal', 'an AbortSignal', signal)
  }
  signal?.throwIfAborted()
}

/**
 * Calls `onCancel`, once, when the signal aborts (with its reason) or the time is over (with the ETIMEDOUT of `syscall`); the
 * function it returns ends that.
 */
export function watch(
  { signal, timeout }: Cancellable,
  syscall: string,
  onCancel: (reason: Error) => void,
): () => void {
  if (signal === undefined && timeout === undefined) return nothing
  const cancel = (reason: Error): void => {
    unwatch()
    onCancel(reason)
  }
  const onAbort = (): void => cancel(signal!.reason as Error)
  const onTimeout = (): void => cancel(systemError(Errno.ETIMEDOUT, syscall))
  const timer = timeout === undefined ? undefined : setTimeout(onTimeout, timeout)
  const unwatch = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  signal?.addEventListener('abort', onAbort)
  return unwatch
}

function nothing(): void {}
