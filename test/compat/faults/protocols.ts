/**
 * Faults where protocols meet streams that are not a kernel's. Most are a plain Duplex in front of the oracle's socket that
 * does one thing wrong, as wrappers do; TLS and HTTP/2 stand on it through Node's JSStreamSocket.
 */
import type { Socket } from 'node:net'
import type { DuplexOptions } from 'node:stream'
import type { Fault } from '../fault'
import type { Capabilities, Subject } from '../subject'
import { FrontDuplex, duplexPairs } from '../subjects/plain-duplex'

type Callback = (error?: Error | null) => void
type Front = new (socket: Socket, options: DuplexOptions) => FrontDuplex

function inFrontOf(oracle: Subject, Wrapper: Front, claims: Capabilities = {}): Subject {
  const { makePair } = oracle
  return {
    name: oracle.name,
    capabilities: { halfOpen: true, ...claims },
    makePair: duplexPairs(makePair, (socket, options) => new Wrapper(socket, options)),
  }
}

/** Bytes that have passed before a fault shows: beginnings, handshakes and small messages are right. */
const quietBytes = 20_000

/** Answers 'would block' by keeping the chunk, and sends what it kept after what the caller sends instead. */
class LateFront extends FrontDuplex {
  #kept: Buffer | null = null
  #passed = 0
  #isBlocked = false
  #isDone = false

  override _write(chunk: Buffer, encoding: string, callback: Callback): void {
    this.#passed += chunk.length
    const kept = this.#kept
    this.#kept = null
    if (kept !== null) {
      this.#isDone = true
      super._write(Buffer.concat([chunk, kept]), encoding, callback)
    } else if (this.#isBlocked && !this.#isDone && this.#passed > quietBytes) {
      this.#kept = Buffer.from(chunk)
      setImmediate(() => this.#release())
      callback()
    } else {
      super._write(chunk, encoding, callback)
      this.#isBlocked = this.socket.writableLength > 0
    }
  }

  /** Nothing else came: the order is as it was. */
  #release(): void {
    if (this.#kept !== null) this.socket.write(this.#kept)
    this.#kept = null
  }

  override _final(callback: Callback): void {
    this.#release()
    super._final(callback)
  }
}

/** Sends what had to wait a second time. */
class TwiceFront extends FrontDuplex {
  #passed = 0
  #isDone = false

  override _write(chunk: Buffer, encoding: string, callback: Callback): void {
    this.#passed += chunk.length
    super._write(chunk, encoding, callback)
    if (this.#isDone || this.#passed <= quietBytes || this.socket.writableLength === 0) return
    this.#isDone = true
    this.socket.write(chunk)
  }
}

/** Goes on reading whatever its reader says. */
class GreedyFront extends FrontDuplex {
  protected override receive(chunk: Buffer): void {
    this.push(chunk)
  }
}

/** Calls back when it has queued, sends a little later, and forgets the queue when it is destroyed. */
class EarlyFront extends FrontDuplex {
  #queue: Buffer[] = []
  #flush: NodeJS.Timeout | null = null
  #onFlushed: Callback | null = null

  override _write(chunk: Buffer, _encoding: string, callback: Callback): void {
    this.#queue.push(Buffer.from(chunk))
    this.#flush ??= setTimeout(() => {
      this.#flush = null
      for (const queued of this.#queue.splice(0)) this.socket.write(queued)
      this.#onFlushed?.()
    }, 10)
    callback()
  }

  override _final(callback: Callback): void {
    if (this.#flush === null) super._final(callback)
    else this.#onFlushed = () => super._final(callback)
  }

  override _destroy(error: Error | null, callback: Callback): void {
    if (this.#flush !== null) clearTimeout(this.#flush)
    super._destroy(error, callback)
  }
}

/** The oracle's own sockets, `a` of each changed. */
function patched(oracle: Subject, patch: (a: Socket) => void): Subject {
  return {
    ...oracle,
    async makePair(options) {
      const pair = await oracle.makePair(options)
      patch(pair.a)
      return pair
    },
  }
}

export const protocolsFaults: readonly Fault[] = [
  {
    name: 'refused-frame-sent-after-the-next',
    imitates:
      'poll_write in monoio-compat and its like: pending, but the bytes are kept, and sent although the caller chose others',
    caughtBy: {},
    spoil: (oracle) => inFrontOf(oracle, LateFront),
  },
  {
    name: 'chunk-sent-twice-under-pressure',
    imitates: 'a wrapper that hands a chunk to the kernel and is asked again after would-block',
    caughtBy: {},
    spoil: (oracle) => inFrontOf(oracle, TwiceFront),
  },
  {
    name: 'pause-ignored',
    imitates: 'a multishot receive into an unbounded queue (compio)',
    caughtBy: {},
    spoil: (oracle) => inFrontOf(oracle, GreedyFront),
  },
  {
    name: 'queue-forgotten-on-destroy',
    imitates: 'submissions that wait for the end of the turn: HTTP/2 destroys its socket and the GOAWAY is gone',
    caughtBy: {},
    spoil: (oracle) => inFrontOf(oracle, EarlyFront, { kernel: true }),
  },
  {
    name: 'read-ahead-lost-at-upgrade',
    imitates: 'into_inner() of a buffered reader: what it has read ahead is dropped with it',
    caughtBy: {},
    spoil: (oracle) => patched(oracle, (a) => Object.assign(a, { unshift: () => {} })),
  },
  {
    name: 'data-between-two-readers-lost',
    imitates: 'a receive that completes while the connection changes hands and finds nobody',
    caughtBy: {},
    spoil: (oracle) =>
      patched(oracle, (a) => {
        const { push } = a
        let wasRead = false
        a.on('newListener', (name) => void (wasRead ||= name === 'data'))
        a.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
          const isRead = a.listenerCount('data') + a.listenerCount('readable') > 0
          if (chunk !== null && wasRead && !isRead) return true
          return push.call(a, chunk, encoding)
        }
      }),
  },
]
