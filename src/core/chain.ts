/**
 * Links that run in order, of which the first that fails stops the rest, as linked submissions do (IOSQE_IO_LINK,
 * io_uring_enter(2)). All sends are one operation. Owns nothing before submit() and nothing after it.
 */
import { byteLengthOf } from './bytes'
import { requireValid } from './cancellation'
import type { Cancellable } from './cancellation'
import type { Channel } from './channel'
import type { Completion } from './completion'
import { Errno, UringError, outOfRange, systemError } from './errors'
import { Lease } from './lease'
import { Sending, partsOf, viewOf, waitingSendsMax } from './sending'
import type { Sendable } from './sending'

/** The connection that a chain runs on. */
export interface ChainHost {
  readonly channel: Channel
  /** Runs it while no other send is taken. Rejects when the connection takes none. */
  exclusively<Result>(run: () => Promise<Result>): Promise<Result>
  close(): Promise<void>
}

interface SendLink {
  readonly bytes: Sendable | readonly Sendable[]
  readonly parts: readonly Sendable[]
}

type EndLink = 'shutdown' | 'close'

/**
 * Sends, then a shutdown, then a close, each of them optional, that are submitted together: the next one runs when the one
 * before it has succeeded. `Links` are the completions in order, which submit() resolves to.
 */
export class Chain<Links extends readonly Completion<unknown>[] = []> {
  readonly #host: ChainHost
  readonly #sends: SendLink[] = []
  readonly #ends: EndLink[] = []
  #isSubmitted = false

  /** @internal From Connection.chain(). */
  constructor(host: ChainHost) {
    this.#host = host
  }

  /**
   * Adds a send of all the bytes, as Connection.send: a lease, a view of any kind, or several in an array. They are lent, or
   * copied, by submit() and not before. Throws ERR_INVALID_ARG_TYPE for anything else, and ERR_URING_CHAIN behind a shutdown
   * or close.
   */
  send<Bytes extends Sendable | readonly Sendable[]>(
    bytes: Bytes,
  ): Chain<[...Links, Completion<Bytes>]> {
    const parts = partsOf(bytes)
    this.#require(this.#ends.length === 0, 'send')
    this.#sends.push({ bytes, parts })
    return this as unknown as Chain<[...Links, Completion<Bytes>]>
  }

  /** Adds a FIN, as Connection.shutdown. Its completion has no buffer. Once, or throws ERR_URING_CHAIN. */
  shutdown(): Chain<[...Links, Completion<undefined>]> {
    this.#require(this.#ends.length === 0, 'shutdown')
    return this.#end('shutdown')
  }

  /** Adds a close, as Connection.close; it is the last link. Once, or throws ERR_URING_CHAIN. */
  close(): Chain<[...Links, Completion<undefined>]> {
    this.#require(!this.#ends.includes('close'), 'close')
    return this.#end('close')
  }

  #end(link: EndLink): Chain<[...Links, Completion<undefined>]> {
    this.#ends.push(link)
    return this as unknown as Chain<[...Links, Completion<undefined>]>
  }

  /**
   * Runs the links behind everything that was sent before. Resolves to the completion of each link, in order: the first that
   * fails has the error, and those behind it end with ECANCELED and a `result` of 0. Every buffer is the caller's again then. A
   * chain that stops leaves the connection open. The signal and the timeout are for the sends as a whole. Rejects for misuse,
   * with nothing sent: ERR_URING_CHAIN when it was submitted before, ERR_OUT_OF_RANGE without a link, ERR_URING_SEND_PENDING
   * when another chain or a sendFile() is under way, and as Connection.send does. Until it has ended, other sends are refused.
   */
  async submit(options: Cancellable = {}): Promise<Links> {
    this.#require(true, 'submit')
    requireValid(options)
    if (this.#sends.length + this.#ends.length === 0) {
      throw outOfRange('a chain has at least one link')
    }
    return this.#host.exclusively(async () => {
      const completions: Completion<unknown>[] = await this.#send(options)
      for (const link of this.#ends) {
        const mayRun = completions.every(({ ok }) => ok) && !this.#host.channel.isClosing
        completions.push(ended(mayRun ? await this.#run(link) : Errno.ECANCELED, link))
      }
      return completions as unknown as Links
    })
  }

  async #send(options: Cancellable): Promise<Completion<unknown>[]> {
    this.#isSubmitted = true
    const parts = this.#sends.flatMap((link) => link.parts)
    if (parts.length === 0) return []
    const { channel } = this.#host
    try {
      const lengths = this.#sends.map((link) =>
        link.parts.reduce((sum, part) => sum + sizeOf(part), 0),
      )
      const whole = await new Promise<Completion<undefined>>((resolve) => {
        const sending = new Sending(undefined, parts, resolve)
        if (channel.waitingSends + parts.length > waitingSendsMax)
          return sending.refuse(Errno.ENOBUFS)
        const status = sending.start(channel)
        if (status < 0) sending.onSent(status, 0)
        else sending.watch(options, channel)
      })
      return this.#share(whole, lengths)
    } catch (error) {
      // A lease that cannot be lent: nothing was sent.
      this.#isSubmitted = false
      throw error
    }
  }

  /** How each of the sends has ended, of which `whole` tells as of one. */
  #share(whole: Completion<undefined>, lengths: readonly number[]): Completion<unknown>[] {
    let left = whole.result
    let isStopped = false
    return this.#sends.map(({ bytes: buffer }, i) => {
      const length = lengths[i]!
      const result = Math.min(left, length)
      left -= result
      if (whole.ok || (!isStopped && length > 0 && result === length)) {
        return { ok: true, result, buffer }
      }
      const error = isStopped ? systemError(Errno.ECANCELED, 'write') : whole.error
      isStopped = true
      return { ok: false, error, result, buffer }
    })
  }

  async #run(link: EndLink): Promise<number> {
    if (link === 'shutdown') {
      return new Promise((resolve) => {
        const status = this.#host.channel.shutdown({ onShutdown: resolve })
        if (status < 0) resolve(status)
      })
    }
    await this.#host.close()
    return 0
  }

  #require(isInOrder: boolean, what: string): void {
    if (this.#isSubmitted) {
      throw new UringError('ERR_URING_CHAIN', `${what}() of a chain that was submitted`)
    }
    if (!isInOrder) {
      throw new UringError('ERR_URING_CHAIN', `${what}() cannot follow what is in the chain`)
    }
  }
}

function sizeOf(part: Sendable): number {
  return Lease.isLease(part) ? part.length : byteLengthOf(viewOf(part))
}

function ended(status: number, syscall: EndLink): Completion<undefined> {
  return status === 0
    ? { ok: true, result: 0, buffer: undefined }
    : { ok: false, error: systemError(status, syscall), result: 0, buffer: undefined }
}
