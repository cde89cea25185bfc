/** What a serving thread does with what its worker function made, whichever API that is for. Types and turns of the loop. */
import type { Counters, ServedKind } from './messages'

export interface Served {
  readonly kind: ServedKind
  readonly accepted: number
  /** Settles when nothing listens and no connection is open. */
  readonly over: Promise<void>
  /** Listens on another descriptor of that bound socket. Rejects with the system error. */
  listen(fd: number, backlog: number): Promise<void>
  /** Accepts no more; what was accepted is kept. */
  stopListening(): Promise<void>
  /** Ends what waits for nothing, now and later; has the others end when they have answered. After stopListening(). */
  finish(): void
  /** Ends all connections at once. */
  destroy(): void
  counters(): Counters
}

/** After a whole poll phase, in which everything that has arrived is delivered. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve))
  })
}

/** Bounds how long a flood of connects can put off a stop. */
const turnsMax = 64

/**
 * Accepting goes on until a turn of the loop brings nothing: what waits in the backlog of a socket whose last descriptor is
 * closed is reset. What connects between that turn and the close still is.
 */
export async function acceptWaiting(served: Served): Promise<void> {
  for (let turns = 0; turns < turnsMax; turns++) {
    const before = served.accepted
    await nextTurn()
    if (served.accepted === before) return
  }
}
