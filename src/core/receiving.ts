/**
 * What a connection has received and nobody has taken, as leases. Owns them, and the bound on what one connection may hold:
 * with `leasesMax` leases out, the kernel is asked for no more until one of them comes back. So a peer that is never answered
 * costs only itself.
 */
import type { Block, BlockSource } from './block'
import { watch } from './cancellation'
import type { Cancellable } from './cancellation'
import { Channel } from './channel'
import type { ChannelHandler } from './channel'
import type { Driver } from './driver'
import { Errno, systemError } from './errors'
import type { OnTransferEnd } from './file-sending'
import { Lease } from './lease'
import { Piping } from './piping'

/** Leases of one connection that may exist at one time, taken or not. */
export const leasesMax = 16

/** Of these, those that may wait to be taken before the kernel is asked to stop. */
const readAheadMax = 4

/** Somebody who waits for bytes; one of the two is called, once. */
export interface Receiver {
  /** Null at the end of the stream. */
  resolve(lease: Lease | null): void
  reject(error: unknown): void
  /** Keeps a connection that somebody waits on from being collected. */
  readonly connection: object
}

type End = { state: 'none' } | { state: 'ended' } | { state: 'failed'; error: Error; errno: number }

const none: End = { state: 'none' }

/** What the channel calls. It does not know its Connection, so that one nobody holds can be collected and closed (C3). */
export class Receiving implements ChannelHandler, BlockSource {
  readonly channel: Channel
  #receiver: Receiver | null = null
  #ready: Lease[] = []
  /** Leases that exist. */
  #leases = 0
  /** The connection that somebody waits on for bytes in memory of their own: it is not collected meanwhile. */
  #receivingFor: object | null = null
  #end = none

  constructor(driver: Driver, id: number) {
    this.channel = new Channel(driver, id, this)
  }

  /** Whether somebody waits for bytes. */
  get isWaitedFor(): boolean {
    return this.#receiver !== null || this.#receivingFor !== null
  }

  /** Whether bytes were received that nobody has taken. */
  get hasUnread(): boolean {
    return this.#ready.length > 0
  }

  /** Tells the receiver of the next lease, within the call when there is one. One at a time. */
  wait(receiver: Receiver): void {
    this.#receiver = receiver
    this.#pull()
  }

  /** The next lease, or null at the end, for somebody who holds `connection`. One at a time. */
  next(options: Cancellable, connection: object): Promise<Lease | null> {
    const lease = this.#ready.shift()
    if (lease !== undefined) return Promise.resolve(lease)
    return new Promise((resolve, reject) => {
      if (options.signal === undefined && options.timeout === undefined) {
        this.wait({ resolve, reject, connection })
      } else {
        this.wait(this.#cancellable(options, resolve, reject, connection))
      }
    })
  }

  /**
   * Receives into a lease, at least `minimum` bytes unless the stream ends before. The lease with their number as its length,
   * or null at the end, for somebody who holds `connection`. One at a time.
   */
  into(
    lease: Lease,
    minimum: number,
    options: Cancellable,
    connection: object,
  ): Promise<Lease | null> {
    const { channel } = this
    const length = lease.capacity
    const block = lease.lend(channel.driver.native)
    // What it holds is written over.
    block.start = 0
    // What is here already comes first.
    this.#giveBackReady()
    channel.readStop()
    this.#receivingFor = connection
    return new Promise((resolve, reject) => {
      let reason: Error | undefined
      const unwatch = watch(options, 'read', (cancelledBy) => {
        reason = cancelledBy
        channel.cancelReceiveInto()
      })
      channel.receiveInto(block, length, minimum, (status, bytes) => {
        unwatch()
        this.#receivingFor = null
        lease.giveBack(status === 0 ? bytes : 0)
        if (status === 0) resolve(bytes > 0 ? lease : null)
        else if (status === Errno.ECANCELED) reject(reason ?? this.#error)
        else reject(systemError(status, 'read'))
      })
    })
  }

  /**
   * Sends what arrives on to another channel, what has come first, for somebody who holds `connection`. One at a time.
   */
  pipe(
    to: Channel,
    length: number,
    onProgress: (sent: number) => void,
    connection: object,
    onEnd: OnTransferEnd,
  ): Piping {
    const { channel } = this
    this.surrender()
    this.#end = none
    channel.readStop()
    this.#receivingFor = connection
    return Piping.start(channel, to, length, onProgress, (...end) => {
      this.#receivingFor = null
      onEnd(...end)
    })
  }

  get #error(): Error {
    return this.#end.state === 'failed' ? this.#end.error : systemError(Errno.ECANCELED, 'read')
  }

  #cancellable(
    options: Cancellable,
    resolve: (lease: Lease | null) => void,
    reject: (error: unknown) => void,
    connection: object,
  ): Receiver {
    const receiver = {
      connection,
      resolve: (lease: Lease | null) => {
        unwatch()
        resolve(lease)
      },
      reject: (error: unknown) => {
        unwatch()
        reject(error)
      },
    }
    const unwatch = watch(options, 'read', (reason) => {
      if (this.#receiver !== receiver) return
      this.#receiver = null
      this.channel.readStop()
      reject(reason)
    })
    return receiver
  }

  /** Serves the receiver from what is there, or asks for more. */
  #pull(): void {
    const receiver = this.#receiver
    if (receiver === null) return
    const lease = this.#ready.shift()
    if (lease !== undefined) {
      this.#receiver = null
      receiver.resolve(lease)
    } else if (this.#end.state === 'ended') {
      this.#receiver = null
      receiver.resolve(null)
    } else if (this.#end.state === 'failed') {
      this.#receiver = null
      receiver.reject(this.#end.error)
    } else if (this.#leases < leasesMax) {
      this.channel.readStart()
    }
  }

  onBlock(block: Block, length: number): void {
    this.#leases++
    const lease = new Lease(this, block, length)
    const receiver = this.#receiver
    if (receiver !== null && this.#ready.length === 0) {
      this.#receiver = null
      if (this.#leases >= leasesMax) this.channel.readStop()
      receiver.resolve(lease)
      return
    }
    this.#ready.push(lease)
    if (this.#leases >= leasesMax || this.#ready.length >= readAheadMax) this.channel.readStop()
    this.#pull()
  }

  onEnd(): void {
    this.#end = { state: 'ended' }
    this.#pull()
  }

  onReceiveError(errno: number): void {
    this.#end = { state: 'failed', error: systemError(errno, 'read'), errno }
    this.#pull()
  }

  /** @internal */
  reclaim(block: Block): void {
    this.#leases--
    this.channel.driver.blocks.releaseReceived(block)
    this.#pull()
  }

  /** No more leases: those that wait are released, the receiver learns why. */
  fail(error: Error): void {
    this.#end = { state: 'failed', error, errno: 0 }
    const ready = this.#ready
    this.#ready = []
    for (const lease of ready) lease.release()
    this.#pull()
  }

  /** Puts what was received and not taken back into the channel, for whoever takes that over (R1). */
  surrender(): void {
    const end = this.#end
    this.#giveBackReady()
    if (end.state !== 'none') this.channel.unshiftEnd(end.state === 'ended' ? 0 : end.errno)
  }

  #giveBackReady(): void {
    const ready = this.#ready
    this.#ready = []
    for (const lease of ready.reverse()) {
      this.#leases--
      this.channel.keep(lease.surrender(), lease.length)
    }
  }
}
