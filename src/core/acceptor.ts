/**
 * One listening socket at callback level. Owns the accept operation; hands every accepted endpoint to its handler, who
 * owns it from then on. It never decides whether a connection is wanted.
 */
import { Op } from './binding'
import type { SocketName } from './binding'
import type { Driver } from './driver'
import { Errno, invariant } from './errors'
import { clearTimeout, setTimeout } from './timers'

/** Takes what arrives on an acceptor. */
export interface AcceptorHandler {
  /** A connection; `id` names its endpoint, which the handler now owns: make a Channel of it or close it. */
  onAccept(id: number): void
  /** accept failed; the acceptor tries again after a moment. Of several failures in a row only the first is told. */
  onAcceptError(errno: number): void
}

/** Milliseconds after which accepting is tried again after it has failed: at first, and at most. */
const retryFirst = 10
const retryMax = 1000

type Accepting =
  | { state: 'none' }
  | { state: 'armed'; token: number }
  /** It was asked to end. */
  | { state: 'stopping' }
  | { state: 'retrying'; timer: NodeJS.Timeout }

type Phase =
  { state: 'bound' | 'listening' | 'closed' } | { state: 'closing'; onClosed: () => void }

export class Acceptor {
  readonly id: number
  readonly driver: Driver
  readonly #handler: AcceptorHandler
  #accepting: Accepting = { state: 'none' }
  #phase: Phase = { state: 'bound' }
  #isPaused = false
  /** Milliseconds to wait after the next failure; 0: none has happened since the last connection. */
  #retryAfter = 0
  #isRef = true
  #isAlive = false

  /** Takes over endpoint `id`, a bound socket. */
  constructor(driver: Driver, id: number, handler: AcceptorHandler) {
    this.driver = driver
    this.id = id
    this.#handler = handler
  }

  /** bind(2), see NativeDriver.bind. 0 or -errno. */
  bind(address: string, port: number, flags: number): number {
    return this.driver.native.bind(this.id, address, port, flags)
  }

  /** Starts listening and accepting. 0 or -errno. */
  listen(backlog: number): number {
    const status = this.driver.native.listen(this.id, backlog)
    if (status === 0) {
      this.#phase = { state: 'listening' }
      this.#accept()
      this.#updateAlive()
    }
    return status
  }

  #accept(): void {
    if (this.#accepting.state !== 'none' || this.#phase.state !== 'listening') return
    if (this.#isPaused) return
    const completer = {
      complete: (result: number, more: boolean): void => this.#accepted(result, more),
    }
    const token = this.driver.start(completer, Op.accept, this.id)
    this.#accepting = { state: 'armed', token }
  }

  /** Stops accepting; what the kernel had accepted by then still arrives. Connects wait in the backlog. */
  pause(): void {
    this.#isPaused = true
    this.#stop()
  }

  #stop(): void {
    if (this.#accepting.state === 'retrying') {
      clearTimeout(this.#accepting.timer)
      this.#accepting = { state: 'none' }
    } else if (this.#accepting.state === 'armed') {
      this.driver.queue(Op.cancel, this.#accepting.token, 0)
      this.#accepting = { state: 'stopping' }
    }
  }

  /** Whether an accept is in flight; after pause() until what the kernel had accepted by then has arrived. */
  get isAccepting(): boolean {
    return this.#accepting.state === 'armed' || this.#accepting.state === 'stopping'
  }

  /** Accepts again after pause(). */
  resume(): void {
    this.#isPaused = false
    this.#accept()
  }

  /** Connects are refused from now on. Connections that were accepted before are closed. onClosed comes last, once. */
  close(onClosed: () => void): void {
    invariant(!this.#isClosing, 'an acceptor is closed once')
    this.#phase = { state: 'closing', onClosed }
    if (this.#accepting.state === 'retrying') this.#stop()
    this.driver.start({ complete: () => this.#closed() }, Op.close, this.id)
    // At once, so that a connect later in this tick is refused, as after close(2).
    this.driver.submit()
    this.#updateAlive()
  }

  get #isClosing(): boolean {
    return this.#phase.state === 'closing' || this.#phase.state === 'closed'
  }

  setRef(on: boolean): void {
    this.#isRef = on
    this.#updateAlive()
  }

  /** getsockname(2). 0 or -errno. */
  name(out: Partial<SocketName>): number {
    return this.#isClosing ? Errno.EBADF : this.driver.native.name(this.id, 0, out)
  }

  #updateAlive(): void {
    const { state } = this.#phase
    const isAlive = state === 'closing' || (state === 'listening' && this.#isRef)
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.driver.retain()
    else this.driver.release()
  }

  #accepted(result: number, more: boolean): void {
    if (!more) this.#accepting = { state: 'none' }
    if (this.#isClosing) {
      if (result >= 0) this.driver.discard(result)
    } else if (result >= 0) {
      this.#retryAfter = 0
      // Before the handler runs: it may throw, and accepting must go on.
      this.#accept()
      this.#handler.onAccept(result)
    } else if (result === Errno.ECANCELED || more) {
      this.#accept()
    } else {
      this.#failed(result)
    }
  }

  /** What stands in the way may do so for long (EMFILE): it is told once, and tried again ever more seldom. */
  #failed(errno: number): void {
    const isFirst = this.#retryAfter === 0
    this.#retryAfter = isFirst ? retryFirst : Math.min(this.#retryAfter * 2, retryMax)
    const retry = (): void => {
      this.#accepting = { state: 'none' }
      this.#accept()
    }
    const timer = setTimeout(retry, this.#retryAfter)
    timer.unref()
    this.#accepting = { state: 'retrying', timer }
    if (isFirst) this.#handler.onAcceptError(errno)
  }

  #closed(): void {
    invariant(this.#phase.state === 'closing', 'an acceptor is closed once')
    const { onClosed } = this.#phase
    this.#phase = { state: 'closed' }
    this.#updateAlive()
    onClosed()
  }
}
