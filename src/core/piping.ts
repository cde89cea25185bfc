/**
 * Bytes of one channel sent on to another, by way of a pipe in the kernel: splice(2) moves them from socket to socket, and nobody
 * copies them. Where there can be no pipe they are received into blocks, and sent from there. Owns, for as long as it runs, the
 * receiving side of the one channel and the sending side of the other, and a pipe while something is in it. Nothing is received
 * before what was received is sent, so the source is read as fast as the destination takes (back-pressure).
 */
import { Op } from './binding'
import type { Channel, SendRequest } from './channel'
import type { Driver } from './driver'
import { Errno, invariant } from './errors'
import type { OnTransferEnd } from './file-sending'
import type { Borrower, Held } from './receive-side'

/** Of one splice. */
const partBytes = 262144

/** Of a block that bytes are received into where there is no pipe. */
const blockBytes = 65536

/** So many in a row before others have their turn. */
const partsAtOnce = 4

export class Piping implements Borrower {
  readonly #from: Channel
  readonly #to: Channel
  readonly #driver: Driver
  readonly #onProgress: (sent: number) => void
  readonly #onEnd: OnTransferEnd
  /** Bytes that are still to be taken from the source. */
  #left: number
  /** What was received into blocks, and is sent first; undefined before the source was lent. */
  #held: Held[] | undefined
  /** The pipe that bytes are in, and how many. */
  #pipe = 0
  #inPipe = 0
  #sent = 0
  /** Of the poll in flight; 0 when there is none. */
  #token = 0
  /** The send in flight, of what was received before, or what waits for those before it. */
  #request: SendRequest | undefined
  #status = 0
  #syscall: 'read' | 'write' = 'write'
  /** How the source's stream has ended: 0 or -errno; 1 when it has not. */
  #end = 1
  #isOver = false

  private constructor(
    from: Channel,
    to: Channel,
    length: number,
    onProgress: (sent: number) => void,
    onEnd: OnTransferEnd,
  ) {
    this.#from = from
    this.#to = to
    this.#driver = from.driver
    this.#left = length
    this.#onProgress = onProgress
    this.#onEnd = onEnd
  }

  /** Starts to send. */
  static start(
    from: Channel,
    to: Channel,
    length: number,
    onProgress: (sent: number) => void,
    onEnd: OnTransferEnd,
  ): Piping {
    const piping = new Piping(from, to, length, onProgress, onEnd)
    from.driver.retain()
    from.driver.pipes.enter()
    const sentBefore = piping.#sending(() => {})
    const status = to.lendSend(piping, sentBefore)
    if (status < 0) {
      piping.#request = undefined
      piping.#status = status
    }
    from.lendReceive(piping)
    return piping
  }

  /** Asks that it end. */
  cancel(status: number): void {
    if (this.#isOver || this.#status !== 0) return
    this.#status = status
    if (this.#token !== 0) this.#driver.queue(Op.cancel, this.#token, 0)
    if (this.#request !== undefined) this.#to.cancelSend(this.#request)
    this.#driver.defer(() => this.#advance())
  }

  get hasUnread(): boolean {
    const hasBlock = (held: Held): boolean => typeof held === 'object'
    return this.#inPipe > 0 || (this.#held?.some(hasBlock) ?? false)
  }

  onClosing(): void {
    this.cancel(Errno.ECANCELED)
  }

  onLent(): void {
    this.#held = this.#from.takeHeld()
    this.#advance()
  }

  /** A request for a send; `onTaken` learns how many bytes of it were taken. */
  #sending(onTaken: (taken: number) => void): SendRequest {
    const request = {
      mayBeCut: true,
      onSent: (status: number, taken: number): void => {
        this.#request = undefined
        onTaken(taken)
        this.#sent += taken
        if (this.#status === 0) this.#status = status
        try {
          if (taken > 0) this.#onProgress(this.#sent)
        } finally {
          this.#advance()
        }
      },
    }
    this.#request = request
    return request
  }

  #advance(): void {
    const isWaiting = this.#token !== 0 || this.#request !== undefined || this.#held === undefined
    if (isWaiting || this.#isOver) return
    const sent = this.#sent
    const isDone = this.#status !== 0 || this.#move()
    const status = this.#status
    try {
      if (this.#sent > sent) this.#onProgress(this.#sent)
    } finally {
      // Whatever was asked for meanwhile.
      if (isDone) this.#finish(status)
    }
  }

  /** Moves what can be moved now. True: nothing more is to be moved. */
  #move(): boolean {
    for (let part = 0; part < partsAtOnce; part++) {
      if (this.#inPipe === 0) {
        if (this.#left === 0) return true
        if (this.#held!.length === 0) {
          const taken = this.#take()
          if (taken === Errno.EAGAIN) return this.#poll(this.#from, 0)
          if (taken <= 0) return this.#sourceEnded(taken)
        }
        const held = this.#held![0]
        if (typeof held === 'number') {
          this.#held!.shift()
          return this.#sourceEnded(held)
        }
        if (held !== undefined) return this.#sendHeld(held)
      }
      const sent = this.#driver.native.drainPipe(this.#pipe, this.#to.id, this.#inPipe)
      if (sent === Errno.EAGAIN) return this.#poll(this.#to, 1)
      if (sent < 0) {
        this.#status = sent
        return true
      }
      this.#sent += sent
      this.#leftPipe(sent)
    }
    this.#driver.defer(() => this.#advance())
    return false
  }

  /** Takes bytes from the source, into a pipe or else a block. How many; 0 at the end of the stream; -errno. */
  #take(): number {
    const { native, blocks, pipes } = this.#driver
    const pipe = pipes.acquire()
    if (pipe >= 0) {
      const taken = native.fillPipe(pipe, this.#from.id, Math.min(this.#left, partBytes))
      if (taken > 0) {
        this.#pipe = pipe
        this.#inPipe = taken
        this.#left -= taken
        return taken
      }
      pipes.release(pipe)
      if (taken !== Errno.ENOSYS) return taken
    }
    const block = blocks.acquire(blockBytes)
    const wanted = Math.min(this.#left, blockBytes)
    const length = native.receiveNow(this.#from.id, block.index, wanted)
    if (length > 0) this.#held!.push({ block, length })
    else blocks.release(block)
    return length
  }

  /** So many bytes have left the pipe. */
  #leftPipe(length: number): void {
    this.#inPipe -= length
    if (this.#inPipe === 0) this.#driver.pipes.release(this.#pipe)
  }

  #sourceEnded(end: number): true {
    this.#end = end
    this.#status = end
    this.#syscall = 'read'
    return true
  }

  /** Sends what was received into a block, as far as it is to be sent. */
  #sendHeld(held: Exclude<Held, number>): boolean {
    const length = Math.min(held.length, this.#left)
    const request = this.#sending((taken) => {
      this.#left -= taken
      held.length -= taken
      if (held.length > 0) {
        held.block.bytes.copyWithin(0, taken, taken + held.length)
      } else {
        this.#held!.shift()
        this.#driver.blocks.releaseReceived(held.block)
      }
    })
    const status = this.#to.sendBlock(held.block, length, request)
    if (status === 0) return false
    this.#request = undefined
    this.#status = status
    return true
  }

  #poll(channel: Channel, writable: number): false {
    const complete = (result: number): void => {
      this.#token = 0
      if (this.#status === 0) this.#status = result
      this.#advance()
    }
    this.#token = this.#driver.start({ complete }, Op.poll, channel.id, writable)
    return false
  }

  #finish(status: number): void {
    this.#isOver = true
    this.#giveBack()
    this.#driver.pipes.leave()
    this.#from.endReceiveLoan(this.#end)
    this.#to.endSendLoan()
    this.#driver.release()
    this.#onEnd(status, this.#sent, this.#syscall)
  }

  /** What the destination has not taken is the next reader's (R1). */
  #giveBack(): void {
    const { blocks, native } = this.#driver
    const unsent: Exclude<Held, number>[] = []
    while (this.#inPipe > 0) {
      const block = blocks.spare()
      const length = native.readPipe(this.#pipe, block.index, Math.min(this.#inPipe, block.size))
      invariant(length > 0, 'a pipe gives back what it has taken')
      unsent.push({ block, length })
      this.#leftPipe(length)
    }
    for (const held of this.#held!.splice(0)) {
      if (typeof held === 'object') unsent.push(held)
      else this.#end = held
    }
    for (const { block, length } of unsent.reverse()) {
      if (this.#from.isClosing) blocks.releaseReceived(block)
      else this.#from.keep(block, length)
    }
  }
}
