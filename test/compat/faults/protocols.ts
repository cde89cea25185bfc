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
  #chances = 5

  override _write(chunk: Buffer, encoding: string, callback: Callback): void {
    this.#passed += chunk.length
    const kept = this.#kept
    this.#kept = null
    if (kept !== null) {
      this.#chances = 0
      super._write(Buffer.concat([chunk, kept]), encoding, callback)
    } else if (this.#isBlocked && this.#chances > 0 && this.#passed > quietBytes) {
      this.#chances--
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
  static #open = 0
  #passed = 0
  #isDone = false

  constructor(socket: Socket, options: DuplexOptions) {
    super(socket, options)
    TwiceFront.#open++
    this.once('close', () => TwiceFront.#open--)
    // Among many connections it would be chance which of them is caught.
    this.#isDone = TwiceFront.#open > 4
  }

  override _write(chunk: Buffer, encoding: string, callback: Callback): void {
    this.#passed += chunk.length
    super._write(chunk, encoding, (error) => {
      if (!error && hadToWait) this.socket.write(chunk)
      callback(error)
    })
    const hadToWait = !this.#isDone && this.#passed > quietBytes && this.socket.writableLength > 0
    this.#isDone ||= hadToWait
  }
}

/** Goes on reading whatever its reader says. */
class GreedyFront extends FrontDuplex {
  protected override receive(chunk: Buffer): void {
    this.push(chunk)
  }
}

/** Gathers a small write with what may follow it, calls back at once, and forgets it when the end comes first. */
class GatheringFront extends FrontDuplex {
  #gathered: Buffer | null = null

  override _write(chunk: Buffer, encoding: string, callback: Callback): void {
    this.#flush()
    if (chunk.length > 100) {
      super._write(chunk, encoding, callback)
      return
    }
    this.#gathered = Buffer.from(chunk)
    setTimeout(() => this.#flush(), 20)
    callback()
  }

  #flush(): void {
    if (this.#gathered !== null) this.socket.write(this.#gathered)
    this.#gathered = null
  }

  override _final(callback: Callback): void {
    this.#gathered = null
    super._final(callback)
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#gathered = null
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

const brokenFrames = /HTTP\/2 frames: no frame where one begins/
// What is found first depends on where a record was cut.
const reordered = /bytes (reordered|lost|repeated)|foreign bytes/
const repeated = /bytes repeated|foreign bytes/
const lost = /bytes lost/

export const protocolsFaults: readonly Fault[] = [
  {
    name: 'refused-frame-sent-after-the-next',
    imitates:
      'poll_write in monoio-compat and its like: pending, but the bytes are kept, and sent although the caller chose others',
    caughtBy: {
      'W1-50': brokenFrames,
      'W1-51': brokenFrames,
      'W3-50': brokenFrames,
      'W3-51': /TLS failed/,
      'W3-52': /TLS failed/,
      'W3-54': /no chunk length where one belongs/,
      'W3-55': reordered,
      'R1-54': reordered,
      'W1-1': reordered,
      'W1-2': reordered,
      'W1-3': reordered,
      'W2-6': reordered,
      'W3-1': reordered,
      'W3-3': reordered,
      'W3-6': reordered,
      'W3-9': reordered,
      'W3-10': reordered,
      'W3-12': reordered,
      'W4-8': reordered,
      'W4-9': reordered,
      'C4-1': reordered,
      'C4-6': reordered,
    },
    alsoCaughtBy: { 'W3-53': /timed out: answers to all pipelined requests/ },
    spoil: (oracle) => inFrontOf(oracle, LateFront),
  },
  {
    name: 'chunk-sent-twice-under-pressure',
    imitates: 'a wrapper that hands a chunk to the kernel and is asked again after would-block',
    caughtBy: {
      'W1-50': brokenFrames,
      'W1-51': brokenFrames,
      'W3-50': brokenFrames,
      'W3-51': /TLS failed/,
      'W3-52': /TLS failed/,
      'W3-53': /answer \d+: /,
      'W3-54': /no chunk length where one belongs/,
      'W3-55': repeated,
      'R1-54': repeated,
      'W1-1': repeated,
      'W1-2': repeated,
      'W1-3': repeated,
      'W2-6': repeated,
      'W3-1': repeated,
      'W3-2': repeated,
      'W3-3': repeated,
      'W3-5': repeated,
      'W3-6': repeated,
      'W3-9': repeated,
      'W3-10': repeated,
      'W3-11': repeated,
      'W3-12': repeated,
      'W4-8': repeated,
      'W4-9': repeated,
      'E2-4': /AsyncLocalStorage in a write's callback/,
      'C4-1': repeated,
      'C4-6': repeated,
    },
    spoil: (oracle) => inFrontOf(oracle, TwiceFront),
  },
  {
    name: 'pause-ignored',
    imitates: 'a multishot receive into an unbounded queue (compio)',
    caughtBy: {
      'R2-50': /taken for a reader that does not read/,
    },
    spoil: (oracle) => inFrontOf(oracle, GreedyFront),
  },
  {
    name: 'gathered-write-forgotten-at-the-end',
    imitates:
      'submissions that wait for the end of the turn: HTTP/2 says GOAWAY and closes, the FIN goes first',
    caughtBy: {
      'E1-21': /what was written at 'end'/,
      'W6-50': /GOAWAY of a destroyed session was lost/,
      'W1-2': lost,
      'W3-9': lost,
      'W5-1': lost,
      'W6-1': lost,
      'W6-2': lost,
      'C4-2': lost,
      'C4-5': lost,
      'C4-16': lost,
      'E1-1': lost,
      'E1-2': lost,
      'E2-3': /what another's listener wrote/,
    },
    spoil: (oracle) => inFrontOf(oracle, GatheringFront, { kernel: true }),
  },
  {
    name: 'read-ahead-lost-at-upgrade',
    imitates: 'into_inner() of a buffered reader: what it has read ahead is dropped with it',
    caughtBy: {
      'R1-50': /read ahead at STARTTLS were lost/,
      'R1-51': lost,
      'R1-20': lost,
    },
    spoil: (oracle) => patched(oracle, (a) => Object.assign(a, { unshift: () => {} })),
  },
  {
    name: 'data-between-two-readers-lost',
    imitates: 'a receive that completes while the connection changes hands and finds nobody',
    caughtBy: {
      'R1-52': lost,
      'R1-20': /data received since/,
      'R1-21': lost,
      'R1-24': lost,
    },
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
