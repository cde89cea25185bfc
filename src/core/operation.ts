/**
 * The life of one kind of operation on one endpoint. Owns the state and its legal transitions; knows nothing of bytes,
 * results or who waits. One Operation object serves all operations of its kind in turn, since at most one is in flight.
 *
 *   idle --submit--> inFlight --last completion--> idle
 *                    inFlight --completion with more--> inFlight
 *                    inFlight --cancel--> cancelling --completion with more--> cancelling
 *                                         cancelling --last completion--> idle
 *
 * A cancel is a request. Only the last completion ends an operation (C1), and until then its memory belongs to the
 * kernel (C2).
 */
import { invariant } from './errors'

export type OperationState =
  /** Nothing is in flight. */
  | 'idle'
  /** Submitted; completions will come. */
  | 'inFlight'
  /** Still in flight, asked to end. */
  | 'cancelling'

export class Operation {
  #state: OperationState = 'idle'

  get state(): OperationState {
    return this.#state
  }

  get isIdle(): boolean {
    return this.#state === 'idle'
  }

  submit(): void {
    invariant(this.#state === 'idle', `submit in state ${this.#state}`)
    this.#state = 'inFlight'
  }

  /** Whether the caller now has to send the cancel; false when there is nothing to cancel or it was asked before. */
  cancel(): boolean {
    if (this.#state !== 'inFlight') return false
    this.#state = 'cancelling'
    return true
  }

  /** Takes a completion. False: nothing was in flight, so the completion is a stray one and must change nothing. */
  complete(more: boolean): boolean {
    if (this.#state === 'idle') return false
    if (!more) this.#state = 'idle'
    return true
  }
}
