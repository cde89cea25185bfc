/**
 * One send of the ownership API: lends its leases for as long as it runs, and resolves a promise with the completion. Owns
 * nothing that lasts longer than the send.
 */
import { isUint8Array } from 'node:util/types'
import type { Block } from './block'
import { watch } from './cancellation'
import type { Cancellable } from './cancellation'
import type { Channel, SendRequest } from './channel'
import type { Completion } from './completion'
import { plainView } from './bytes'
import { Errno, invalidArgument, outOfRange, systemError } from './errors'
import type { SystemError } from './errors'
import { Lease } from './lease'

/** Sends that may wait on one connection; more are refused with ENOBUFS, nothing of them taken. */
export const waitingSendsMax = 1024

/** What can be sent. */
export type Sendable = Lease | ArrayBufferView

/** A send whose completion resolves a promise. */
export class Sending<Bytes> implements SendRequest {
  readonly #bytes: Bytes
  readonly #parts: readonly Sendable[]
  readonly #resolve: (completion: Completion<Bytes>) => void
  /** Leases among the parts that are lent. */
  #lent = 0
  #unwatch: (() => void) | undefined
  /** The deadline that was over. A signal's reason is no system error: its completion says ECANCELED. */
  #deadline: SystemError | undefined

  constructor(
    bytes: Bytes,
    parts: readonly Sendable[],
    resolve: (completion: Completion<Bytes>) => void,
  ) {
    this.#bytes = bytes
    this.#parts = parts
    this.#resolve = resolve
  }

  /** As Channel.send. Throws for a lease that cannot be lent; then none is. */
  start(channel: Channel): number {
    const [only] = this.#parts
    if (this.#parts.length === 1 && only !== undefined) {
      return Lease.isLease(only)
        ? channel.sendBlock(this.#lend(only, channel), only.length, this)
        : channel.send(viewOf(only), this)
    }
    try {
      const leases = this.#parts.map((part) => Lease.isLease(part) && this.#lend(part, channel))
      const parts = this.#parts.map((part, i) => {
        const block = leases[i]
        if (block) return { block, length: (part as Lease).length, isCopy: false }
        return { ...channel.copy(viewOf(part)), isCopy: true }
      })
      return channel.sendAll(parts, this)
    } catch (error) {
      this.#giveBack()
      throw error
    }
  }

  #lend(lease: Lease, { driver }: Channel): Block {
    const block = lease.lend(driver.native)
    this.#lent++
    return block
  }

  #giveBack(): void {
    for (let i = 0; this.#lent > 0; i++) {
      const part = this.#parts[i]
      if (!Lease.isLease(part)) continue
      this.#lent--
      part.giveBack()
    }
  }

  watch(options: Cancellable, channel: Channel): void {
    if (options.signal === undefined && options.timeout === undefined) return
    this.#unwatch = watch(options, 'write', (reason) => {
      if ((reason as SystemError).errno === Errno.ETIMEDOUT) this.#deadline = reason as SystemError
      channel.cancelSend(this)
    })
  }

  refuse(status: number): void {
    const error = systemError(status, 'write')
    this.#resolve({ ok: false, error, result: 0, buffer: this.#bytes })
  }

  onSent(status: number, taken: number): void {
    this.#unwatch?.()
    this.#giveBack()
    const buffer = this.#bytes
    if (status === 0) return this.#resolve({ ok: true, result: taken, buffer })
    const isDeadline = status === Errno.ECANCELED && this.#deadline !== undefined
    const error = isDeadline ? this.#deadline! : systemError(status, 'write')
    this.#resolve({ ok: false, error, result: taken, buffer })
  }
}

/** What is to be sent, one after the other; throws for anything else. */
export function partsOf(bytes: unknown): readonly Sendable[] {
  if (!Array.isArray(bytes)) {
    if (!Lease.isLease(bytes)) viewOf(bytes)
    return [bytes as Sendable]
  }
  const parts = [...(bytes as unknown[])]
  if (parts.length === 0) throw outOfRange('send() takes at least one buffer')
  for (const part of parts) if (!Lease.isLease(part)) viewOf(part)
  return parts as Sendable[]
}

/** Any view as bytes; throws for what is none. */
export function viewOf(bytes: unknown): Uint8Array {
  if (!ArrayBuffer.isView(bytes)) {
    throw invalidArgument('bytes', 'a Lease, a TypedArray or a DataView', bytes)
  }
  return isUint8Array(bytes) ? bytes : plainView(bytes)
}
