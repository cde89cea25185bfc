/**
 * What an operation of the ownership API comes to: the result and, in every case, the buffer that was lent. It owns
 * nothing; it is the hand-over back to the caller.
 */
import type { SystemError } from './errors'

/** How a send ended. `buffer` is what was lent (a Lease, or the bytes that were copied); it is the caller's again. */
export type Completion<Buffer> =
  | {
      readonly ok: true
      /** Bytes the kernel has taken: all of them. */
      readonly result: number
      readonly buffer: Buffer
    }
  | {
      readonly ok: false
      /** Why. `code` is ECANCELED when the caller cancelled. */
      readonly error: SystemError
      /** Bytes the kernel had taken, from the first on; with 0 nothing of it was or will be sent. */
      readonly result: number
      readonly buffer: Buffer
    }

/** The buffer of a completion that succeeded; throws the error of one that failed. */
export function orThrow<Buffer>(completion: Completion<Buffer>): Buffer {
  if (!completion.ok) throw completion.error
  return completion.buffer
}
