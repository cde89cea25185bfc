/**
 * What a Writable holds and has been sent already: it goes on counting it, and is told when it gets to it. Owns nothing:
 * the channel has the bytes, the Writable its callbacks.
 */
import type { Channel, SendEntry, SendRequest } from '../core/channel'

export class CorkBypass implements SendRequest {
  /** Entries of the Writable that were sent and that it has not written yet. */
  #entries = 0
  #bytes = 0
  /** Sends that have not ended. */
  #inFlight = 0
  #failure = 0
  #request: SendRequest | undefined

  /** Bytes that were sent and that the Writable has not written yet. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether there is nothing that the Writable has yet to write. */
  get isWritten(): boolean {
    return this.#entries === 0
  }

  /** Sends what the Writable holds, all that was not sent before. */
  send(channel: Channel, held: readonly SendEntry[]): void {
    const before = channel.bytesAccepted
    this.#send(channel, held.slice(this.#entries))
    this.#bytes += channel.bytesAccepted - before
    this.#entries = held.length
  }

  /** The Writable writes `count` entries. False, and nothing has changed: not all of them were sent. */
  consume(count: number): boolean {
    if (count > this.#entries) return false
    this.#entries -= count
    if (this.#entries === 0) this.#bytes = 0
    return true
  }

  /** The Writable writes some of it, and perhaps more. The request is told, within the call perhaps. */
  write(channel: Channel, entries: readonly SendEntry[], request: SendRequest): void {
    const sent = Math.min(entries.length, this.#entries)
    this.consume(sent)
    if (sent < entries.length) this.#send(channel, entries.slice(sent))
    this.#request = request
    if (this.#inFlight === 0) this.#tell(0)
  }

  #send(channel: Channel, entries: readonly SendEntry[]): void {
    if (entries.length === 0 || this.#failure !== 0) return
    const status = channel.sendEntries(entries, this)
    if (status === 0) this.#inFlight++
    else this.#failure = status
  }

  onSent(status: number, taken: number): void {
    this.#inFlight--
    if (status < 0) this.#failure = status
    if (this.#inFlight === 0) this.#tell(taken)
  }

  #tell(taken: number): void {
    const request = this.#request
    this.#request = undefined
    request?.onSent(this.#failure, taken)
  }
}
