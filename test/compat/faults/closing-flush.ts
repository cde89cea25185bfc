/** Faults of W6 and of C4's order of bytes: what was accepted is lost because the stream ends. */
import type { Fault } from '../fault'
import {
  internals,
  isBlocked,
  lengthOf,
  replaceDestroy,
  replaceEnd,
  replaceWrite,
  spoiled,
} from './sends'
import type { Chunk } from './sends'

export const flushFaults: readonly Fault[] = [
  {
    name: 'queued-bytes-lost-on-destroy',
    imitates: 'submission at the end of the tick, and a close that does not wait for it',
    caughtBy: { 'W6-1': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isSmall = lengthOf(chunk) < 200
          if (isSmall && a.writableLength === 0 && a.writableCorked === 0) {
            a.cork()
            process.nextTick(() => a.uncork())
          }
          // A copy: the memory is another fault's.
          const isCopied = isSmall && typeof chunk !== 'string'
          return send(isCopied ? Buffer.from(chunk) : chunk, encoding, callback)
        }),
      ),
  },
  {
    name: 'chunk-of-end-lost-on-destroy',
    imitates: 'end() that flushes in a later turn: destroy() comes before it',
    caughtBy: { 'W6-2': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEnd(a, (end) => (...call) => {
          if (call[0] === undefined || call[2] !== undefined) return end(...call)
          return process.nextTick(() => end(...call))
        }),
      ),
  },
  {
    name: 'callback-at-the-first-part',
    imitates: 'the first completion of a short send taken for the last',
    caughtBy: { 'W6-3': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (lengthOf(chunk) !== 300_000 || a.writableNeedDrain)
            return send(chunk, encoding, callback)
          setImmediate(() => callback?.())
          return send(chunk, encoding)
        }),
      ),
  },
  {
    name: 'fin-overtakes-data',
    imitates: 'shutdown(2) at end(), with sends still queued (compio, io_uring without a barrier)',
    caughtBy: { 'C4-1': /bytes lost at the end/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEnd(a, (end) => (...call) => {
          if (a.writableLength > 1_500_000) internals(a)._final(() => {})
          return end(...call)
        }),
      ),
  },
  {
    name: 'write-lost-at-end-of-its-tick',
    imitates: 'a write that is submitted at the end of the tick, behind the shutdown made at once',
    caughtBy: { 'C4-2': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let isHeld = false
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (lengthOf(chunk) !== 60) return send(chunk, encoding, callback)
          isHeld = true
          a.cork()
          process.nextTick(() => {
            isHeld = false
            a.uncork()
          })
          return send(chunk, encoding, callback)
        })
        replaceEnd(a, (end) => (...call) => {
          // As much as shutdown(2) now: nothing behind it leaves.
          if (isHeld) internals(a)._writev = (_chunks, callback) => callback()
          if (isHeld) internals(a)._write = (_chunk, _encoding, callback) => callback()
          return end(...call)
        })
      }),
  },
  {
    name: 'destroy-soon-is-destroy',
    imitates: 'close after end() without waiting for finish (netty#10538, netty#16718)',
    caughtBy: { 'C4-3': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        a.destroySoon = () => void a.end().destroy()
      }),
  },
  {
    name: 'end-kills-reads',
    imitates: "destroy() on 'finish' in place of waiting for 'end'",
    caughtBy: { 'C4-4': /after our half was closed: bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        a.once('finish', () => {
          if (a.bytesWritten === 10 && a.bytesRead === 0) a.destroy()
        })
      }),
  },
  {
    name: 'ends-because-the-peer-did',
    imitates: 'allowHalfOpen not handed on by a wrapper',
    caughtBy: { 'C4-5': /the stream ended because its peer did/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        a.once('end', () => {
          if (a.bytesWritten === 0 && a.bytesRead === 10) a.end()
        })
      }),
  },
  {
    name: 'end-of-the-peer-destroys',
    imitates: "a read of 0 taken for the end of the connection: destroy() on 'end'",
    caughtBy: { 'C4-6': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        a.once('end', () => {
          if (!a.allowHalfOpen && isBlocked(a)) a.destroy()
        })
      }),
  },
  {
    name: 'unread-bytes-reset',
    imitates: 'close(2) of a socket with unread bytes: Linux sends a RST and no FIN',
    caughtBy: { 'C4-7': /the peer was told of ECONNRESET|the peer was reset|unread: bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        a.once('finish', () => {
          if (a.readableLength > 0) a.resetAndDestroy()
        })
      }),
  },
  {
    name: 'late-completion-hits-a-reused-slot',
    imitates: 'operations named by descriptor number, without a generation (ntex#911, tokio#8112)',
    caughtBy: {
      'C4-8': /the peer of connection \d+: bytes|the peer of connection \d+: foreign/,
      'C4-9': /the peer of connection \d+: bytes|the peer of connection \d+: foreign/,
    },
    spoil(oracle) {
      /** Written in the tick in which its connection was closed. */
      let stale: Chunk | undefined
      let closed = 0
      return spoiled(oracle, (a) => {
        let last: Chunk | undefined
        const reused = stale
        stale = undefined
        const close = (): void => {
          if (a.allowHalfOpen || last === undefined || ++closed % 50 !== 0) return
          stale = last
          setTimeout(() => (stale = undefined), 50).unref()
        }
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (reused !== undefined && last === undefined) send(reused)
          last = chunk
          setImmediate(() => (last = last === chunk ? undefined : last))
          return send(chunk, encoding, callback)
        })
        replaceEnd(a, (end) => (...call) => {
          close()
          return end(...call)
        })
        replaceDestroy(a, (destroy) => (error) => {
          close()
          return destroy(error)
        })
      })
    },
  },
]
