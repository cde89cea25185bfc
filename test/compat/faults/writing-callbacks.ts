/** Faults of W4 and W5: callbacks, drain, counters and errors that say what is not so. */
import type { Socket } from 'node:net'
import type { Fault } from '../fault'
import {
  internals,
  isBlocked,
  isReset,
  lengthOf,
  replaceEmit,
  replaceEnd,
  replaceWrite,
  spoiled,
} from './sends'

type Getter = 'writableLength' | 'bytesWritten'

/** Answers for a property that the socket's class has as a getter. */
function replaceGetter(a: Socket, name: Getter, make: (base: () => number) => () => number): void {
  let owner: object = a
  while (!Object.getOwnPropertyDescriptor(owner, name))
    owner = Object.getPrototypeOf(owner) as object
  const { get } = Object.getOwnPropertyDescriptor(owner, name)!
  Object.defineProperty(a, name, { get: make(() => get!.call(a) as number), configurable: true })
}

export const callbackFaults: readonly Fault[] = [
  {
    name: 'callback-inside-write',
    imitates: 'a send that is done at once calls back at once',
    caughtBy: { 'W4-1': /a callback was called inside write\(\)/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (chunk !== 'text') return send(chunk, encoding, callback)
          callback?.()
          return send(chunk, encoding)
        }),
      ),
  },
  {
    name: 'callback-inside-end',
    imitates: 'a stream with nothing to flush finishes inside end()',
    caughtBy: {
      'W4-1': /end\(\)'s callback was called inside end\(\)/,
      'C4-12': /end\(\)'s callback succeeded although bytes were lost/,
      'C4-14': /end\(\)'s callback succeeded although it was destroyed/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEnd(a, (end) => (chunk, encoding, callback) => {
          // With a chunk or other writes behind it there is something to flush.
          const isNoticed = chunk === undefined && isBlocked(a) && a.bytesWritten < 600_000
          if (!isNoticed || a.listenerCount('finish') > 1) return end(chunk, encoding, callback)
          callback?.()
          return end(chunk, encoding)
        }),
      ),
  },
  {
    name: 'callback-twice',
    imitates: 'called by the chunk’s completion and by that of the vector it was part of',
    caughtBy: {
      'W4-2': /was called twice/,
      'W3-3': /was called twice/,
      'W3-8': /was called twice/,
      'W6-1': /was called twice/,
      'W3-53':
        /This is caused by either a bug in Node\.js or incorrect usage of Node\.js internals\./,
    },
    alsoCaughtBy: {
      'W3-54':
        /This is caused by either a bug in Node\.js or incorrect usage of Node\.js internals\./,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isCorked = a.writableCorked > 0
          return send(chunk, encoding, (error) => {
            callback?.(error)
            if (isCorked) callback?.(error)
          })
        }),
      ),
  },
  {
    name: 'callback-of-an-empty-write-first',
    imitates: 'what needs no operation is called back at once, past those that wait',
    caughtBy: {
      'W4-2': /in another order than the writes/,
      'W3-3': /in another order than the writes/,
      'W3-5': /in another order than the writes/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (lengthOf(chunk) > 0) return send(chunk, encoding, callback)
          process.nextTick(() => callback?.())
          return send(chunk, encoding)
        }),
      ),
  },
  {
    name: 'callback-before-the-kernel',
    imitates: 'called back when it was queued, as a BufWriter does (tokio-rustls, h2)',
    caughtBy: {
      'W4-3': /the callback of a blocked write came/,
      'W1-3': /in another order than the writes/,
      'W3-3': /in another order than the writes/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (!isBlocked(a) || lengthOf(chunk) !== 40) return send(chunk, encoding, callback)
          process.nextTick(() => callback?.())
          return send(chunk, encoding)
        }),
      ),
  },
  {
    name: 'drain-never',
    imitates: 'a mark that is compared with the wrong length: the writer is never told to go on',
    caughtBy: {
      'W4-4': /timed out: 'drain'/,
      'W3-10': /timed out: the chains/,
      'C4-17': /timed out: 'drain'/,
      'W3-54': /timed out: the echo of \d+ bytes/,
      'R1-54': /timed out: the end of the request behind the proxy/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(
          a,
          (emit) =>
            (name, ...values) =>
              name === 'drain' || emit(name, ...values),
        ),
      ),
  },
  {
    name: 'drain-twice',
    imitates: 'drain from the stream and from what it wraps',
    caughtBy: {
      'W4-4': /'drain' came 2 times for one need/,
      'C4-17': /after destroy\(\) in 'drain'/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => (name, ...values) => {
          if (name === 'drain') process.nextTick(() => emit('drain'))
          return emit(name, ...values)
        }),
      ),
  },
  {
    name: 'drain-without-need',
    imitates: 'drain for every completion',
    caughtBy: { 'W4-4': /although no write\(\) had returned false/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isFirst = a.bytesWritten === 0 && lengthOf(chunk) === 10
          return send(chunk, encoding, (error) => {
            callback?.(error)
            if (isFirst && !error && !a.destroyed) a.emit('drain')
          })
        }),
      ),
  },
  {
    name: 'write-always-true',
    imitates: 'a transport without back-pressure (a WebSocket, an unbounded channel)',
    caughtBy: { 'W4-5': /write\(\) returned true to a stream that is full/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (...call) => {
          const isAccepted = send(...call)
          return isAccepted || (!a.destroyed && !a.writableEnded)
        }),
      ),
  },
  {
    name: 'length-keeps-sent-bytes',
    imitates: 'a counter raised by characters and lowered by bytes',
    caughtBy: { 'W4-6': /writableLength leaves out|writableLength keeps bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let kept = 0
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (chunk === 'ab') callback = after(callback, () => kept++)
          return send(chunk, encoding, callback)
        })
        replaceGetter(a, 'writableLength', (base) => () => base() + kept)
      }),
  },
  {
    name: 'bytes-written-in-characters',
    imitates: 'bytesWritten raised by str.length',
    caughtBy: { 'W4-7': /bytesWritten is not the number of bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let missing = 0
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (typeof chunk === 'string')
            missing += Buffer.byteLength(chunk, encoding) - chunk.length
          return send(chunk, encoding, callback)
        })
        replaceGetter(a, 'bytesWritten', (base) => () => base() - missing)
      }),
  },
  {
    name: 'bytes-written-gone-with-the-handle',
    imitates: 'a counter read from a handle that is closed',
    caughtBy: { 'W4-7': /bytesWritten is another one after the close/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceGetter(a, 'bytesWritten', (base) => () => (a.destroyed ? 0 : base())),
      ),
  },
  {
    name: 'finish-before-the-callbacks',
    imitates: "'finish' by the Duplex of a wrapper, whose writes are with the wrapped stream",
    caughtBy: {
      'W4-8': /'finish' came while blocked/,
      'C4-3': /bytes lost/,
      'C4-12': /'finish'/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let isEarly = false
        replaceEnd(a, (end) => (...call) => {
          end(...call)
          if (!isBlocked(a)) return
          setImmediate(() => {
            if (a.destroyed) return
            a.emit('finish')
            isEarly = true
          })
        })
        replaceEmit(a, (emit) => (name, ...values) => {
          return name === 'finish' && isEarly ? true : emit(name, ...values)
        })
      }),
  },
  {
    name: 'wakeup-lost',
    imitates: 'an edge-triggered event consumed before the queue was looked at (nginx, mio)',
    caughtBy: {
      'W4-9': /timed out: the callback after stall/,
    },
    alsoCaughtBy: { 'W3-54': /timed out: the echo of \d+ bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let drains = 0
        a.on('drain', () => drains++)
        replaceWrite(
          a,
          (send) => (chunk, encoding, callback) =>
            send(chunk, encoding, drains >= 6 ? undefined : callback),
        )
      }),
  },
  {
    name: 'write-after-end-unnoticed',
    imitates: 'late writes dropped without a word (net-like wrappers over a closed channel)',
    caughtBy: { 'W5-1': /timed out: 'close' after a write after end\(\)/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (!a.writableFinished || a.destroyed) return send(chunk, encoding, callback)
          process.nextTick(() => callback?.())
          return false
        }),
      ),
  },
  {
    name: 'error-twice',
    imitates: 'emitted by the failed write and by the destruction that it leads to',
    caughtBy: { 'W5-1': /'error' was not emitted once/, 'W5-4': /'error' came 2 times/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => (name, ...values) => {
          const { code } = (values[0] ?? {}) as NodeJS.ErrnoException
          if (name === 'error' && code === 'ERR_STREAM_WRITE_AFTER_END') emit(name, ...values)
          return emit(name, ...values)
        }),
      ),
  },
  {
    name: 'error-swallowed',
    imitates: 'EPIPE of a send not looked at: the callback succeeds',
    caughtBy: {
      'W5-2': /a write to a gone peer succeeded/,
      'W5-3': /a write behind a failed one succeeded/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(
          a,
          (send) => (chunk, encoding, callback) =>
            send(chunk, encoding, (error) => callback?.(error && isReset(error) ? null : error)),
        ),
      ),
  },
  {
    name: 'reset-told-as-a-close',
    imitates: 'a reset taken for an ordinary end: close without error',
    caughtBy: { 'W5-3': /timed out: 'error' after a reset during a send/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => (name, ...values) => {
          if (name === 'error' && isReset(values[0]) && isBlockedAtReset(a)) return true
          return emit(name, ...values)
        }),
      ),
  },
  {
    name: 'next-chunk-after-a-failed-one',
    imitates: 'a failed write drops its chunk, and the queue goes on with the next',
    caughtBy: { 'W5-4': /foreign bytes|bytes lost|bytes reordered/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isLate = a.writableEnded && !a.writableFinished && !a.destroyed
          if (!isLate || !isBlocked(a)) return send(chunk, encoding, callback)
          internals(a)._write(chunk, 'buffer' as BufferEncoding, () => {})
          const error = Object.assign(new Error('write after end'), {
            code: 'ERR_STREAM_WRITE_AFTER_END',
          })
          process.nextTick(() => callback?.(error))
          if (a.listenerCount('finish') < 2) {
            a.once('finish', () => a.destroy())
            process.nextTick(() => a.emit('error', error))
          }
          return false
        }),
      ),
  },
]

/** Bytes waited when the reset came: the queue is emptied only after the error. */
function isBlockedAtReset(a: Socket): boolean {
  return a.bytesWritten > 300_000 && !a.writableEnded
}

function after(
  callback: ((error?: Error | null) => void) | undefined,
  act: () => void,
): (error?: Error | null) => void {
  return (error) => {
    act()
    callback?.(error)
  }
}
