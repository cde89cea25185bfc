/**
 * One listening socket at callback level. Owns the accept operation; hands every accepted endpoint to its handler, who
 * owns it from then on. It never decides whether a connection is wanted.
 */
import { FLAG_MORE, Op } from './binding'
import type { SocketName } from './binding'
import type { Driver, Endpoint } from './driver'
import { Errno, invariant } from './errors'
import { Operation } from './operation'

/** Takes what arrives on an acceptor. */
export interface AcceptorHandler {
  /** A connection; `id` names its endpoint, which the handler now owns: make a Channel of it or close it. */
  onAccept(id: number): void
  /** accept failed; the acceptor goes on accepting. */
  onAcceptError(errno: number): void
}

export class Acceptor implements Endpoint {
  readonly id: number
  readonly driver: Driver
  readonly #handler: AcceptorHandler
  readonly #accepting = new Operation()
  #isPaused = false
  #isClosing = false
  #onClosed: (() => void) | null = null
  #isRef = true
  #isAlive = false
  #isListening = false

  /** Takes over endpoint `id`, a bound socket. */
  constructor(driver: Driver, id: number, handler: AcceptorHandler) {
    this.driver = driver
    this.id = id
    this.#handler = handler
    driver.register(this)
  }

  /** bind(2), see NativeDriver.bind. 0 or -errno. */
  bind(address: string, port: number, flags: number): number {
    return this.driver.native.bind(this.id, address, port, flags)
  }

  /** Starts listening and accepting. 0 or -errno. */
  listen(backlog: number): number {
    const status = this.driver.native.listen(this.id, backlog)
    if (status === 0) {
      this.#isListening = true
      if (this.#accepting.isIdle) this.#accept()
      this.#updateAlive()
    }
    return status
  }

  #accept(): void {
    this.#accepting.submit()
    this.driver.queue(Op.accept, this.id, 0, 0)
  }

  /** Stops accepting; what the kernel had accepted by then still arrives. Connects wait in the backlog. */
  pause(): void {
    this.#isPaused = true
    if (!this.#isClosing && this.#accepting.cancel())
      this.driver.queue(Op.cancel, this.id, Op.accept, 0)
  }

  /** Accepts again after pause(). */
  resume(): void {
    this.#isPaused = false
    if (this.#accepting.isIdle && !this.#isClosing) this.#accept()
  }

  /** Connects are refused from now on. Connections that were accepted before are closed. onClosed comes last, once. */
  close(onClosed: () => void): void {
    invariant(!this.#isClosing, 'an acceptor is closed once')
    this.#isClosing = true
    this.#onClosed = onClosed
    this.driver.queue(Op.close, this.id, 0, 0)
    // At once, so that a connect later in this tick is refused, as after close(2).
    this.driver.submit()
    this.#updateAlive()
  }

  setRef(on: boolean): void {
    this.#isRef = on
    this.#updateAlive()
  }

  /** getsockname(2). 0 or -errno. */
  name(out: Partial<SocketName>): number {
    return this.driver.native.name(this.id, false, out)
  }

  #updateAlive(): void {
    const isAlive = this.#isClosing ? this.#onClosed !== null : this.#isRef && this.#isListening
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.driver.retain()
    else this.driver.release()
  }

  complete(opcode: number, result: number, flags: number): boolean {
    if (opcode === Op.close) return this.#closed()
    if (opcode !== Op.accept || !this.#accepting.complete((flags & FLAG_MORE) !== 0)) {
      this.driver.stray()
      if (opcode === Op.accept && result >= 0) this.driver.discard(result)
      return false
    }
    if (this.#isClosing) {
      if (result >= 0) this.driver.discard(result)
      return false
    }
    // Before the handler runs: it may throw, and accepting must go on.
    if (this.#accepting.isIdle && !this.#isPaused) this.#accept()
    if (result >= 0) this.#handler.onAccept(result)
    else if (result !== Errno.ECANCELED) this.#handler.onAcceptError(result)
    return true
  }

  #closed(): boolean {
    if (!this.#isClosing || this.#onClosed === null) {
      this.driver.stray()
      return false
    }
    const onClosed = this.#onClosed
    this.#onClosed = null
    this.driver.unregister(this)
    this.#updateAlive()
    onClosed()
    return true
  }
}
