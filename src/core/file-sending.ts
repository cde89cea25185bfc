/**
 * A file sent over a channel. Two blocks take turns: while one is being sent, the other is read into. Nothing is read ahead of
 * what the peer takes (back-pressure). Owns both blocks and the endpoint of the file until it ends.
 */
import { Op } from './binding'
import type { Block } from './block'
import type { Channel } from './channel'
import type { Driver } from './driver'
import { Errno } from './errors'

/** Of a read and of a send. */
const partBytes = 262144

export interface FileRange {
  readonly fd: number
  readonly offset: number
  readonly length: number
}

/** Learns, once, how it has ended: all bytes sent (0), or -errno of a system call, with how many were. */
export type OnTransferEnd = (status: number, sent: number, syscall: 'read' | 'write') => void

interface Part {
  readonly block: Block
  readonly bytes: number
}

export class FileSending {
  readonly #channel: Channel
  readonly #driver: Driver
  readonly #onEnd: OnTransferEnd
  readonly #onProgress: (sent: number) => void
  readonly #file: number
  /** Where the next read begins, and the bytes that are still to be read. */
  #position: number
  #unread: number
  #sent = 0
  /** Read, and to be sent when the send in flight has ended. */
  #next: Part | undefined
  #isReading = false
  /** The send in flight. */
  #request: { onSent(status: number, taken: number): void } | undefined
  #status = 0

  private constructor(
    channel: Channel,
    file: number,
    range: FileRange,
    onProgress: (sent: number) => void,
    onEnd: OnTransferEnd,
  ) {
    this.#channel = channel
    this.#driver = channel.driver
    this.#file = file
    this.#position = range.offset
    this.#unread = range.length
    this.#onProgress = onProgress
    this.#onEnd = onEnd
  }

  /** Starts to send. The descriptor stays the caller's. Answers -errno when it is no regular file: nothing follows. */
  static start(
    channel: Channel,
    range: FileRange,
    onProgress: (sent: number) => void,
    onEnd: OnTransferEnd,
  ): FileSending | number {
    const file = channel.driver.native.openFile(range.fd)
    if (file < 0) return file
    const sending = new FileSending(channel, file, range, onProgress, onEnd)
    channel.driver.retain()
    channel.driver.defer(() => sending.#advance())
    return sending
  }

  /** Asks that it end. */
  cancel(status: number): void {
    if (this.#status !== 0) return
    this.#status = status
    if (this.#request !== undefined) this.#channel.cancelSend(this.#request)
  }

  #advance(): void {
    if (this.#status === 0 && this.#request === undefined && this.#next !== undefined) this.#send()
    if (this.#status === 0 && !this.#isReading && this.#next === undefined && this.#unread > 0)
      this.#read()
    if (this.#isReading || this.#request !== undefined) return
    if (this.#status === 0 && (this.#next !== undefined || this.#unread > 0)) return
    this.#end()
  }

  #read(): void {
    const length = Math.min(partBytes, this.#unread)
    const block = this.#driver.blocks.acquire(length)
    const complete = (result: number): void => {
      this.#isReading = false
      if (result > 0) {
        this.#position += result
        this.#unread -= result
        this.#next = { block, bytes: result }
      } else {
        this.#driver.blocks.release(block)
        // The file has become shorter than it was said to be.
        if (this.#status === 0) this.#status = result < 0 ? result : Errno.EIO
      }
      this.#advance()
    }
    this.#isReading = true
    const token = this.#driver.begin({ complete })
    const low = this.#position | 0
    const high = Math.floor(this.#position / 2 ** 32)
    this.#driver.queue(Op.readFile, token, this.#file, block.index, 0, length, low, high)
  }

  #send(): void {
    const { block, bytes } = this.#next!
    this.#next = undefined
    const request = {
      onSent: (status: number, taken: number): void => {
        this.#request = undefined
        this.#driver.blocks.release(block)
        this.#sent += taken
        if (this.#status === 0) this.#status = status
        if (taken > 0) this.#onProgress(this.#sent)
        this.#advance()
      },
    }
    const status = this.#channel.sendBlock(block, bytes, request)
    if (status < 0) {
      this.#driver.blocks.release(block)
      this.#status = status
    } else {
      this.#request = request
    }
  }

  #end(): void {
    if (this.#next !== undefined) this.#driver.blocks.release(this.#next.block)
    this.#next = undefined
    this.#driver.discard(this.#file)
    this.#driver.release()
    this.#onEnd(this.#status, this.#sent, 'write')
  }
}
