/** Faults of C1 to C3 and C5: what a destroy cancels, frees, tells and forgets. */
import type { Fault } from '../fault'
import {
  abandon,
  hasNoReason,
  internals,
  isBlocked,
  isCancel,
  lengthOf,
  replaceDestroy,
  replaceEmit,
  replaceWrite,
  spoiled,
} from './sends'
import type { Callback } from './sends'
import { onDestroy, onPush, spoilPairs } from './spoil'

export const destroyFaults: readonly Fault[] = [
  {
    name: 'called-back-and-then-cancelled',
    imitates:
      'success reported at submission, and the operation cancelled by the drop (compio#746)',
    caughtBy: { 'C1-1': /bytes that were called back never arrived/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (lengthOf(chunk) !== 16 << 10) return send(chunk, encoding, callback)
          process.nextTick(() => callback?.())
          return send(chunk, encoding)
        }),
      ),
  },
  {
    name: 'memory-freed-by-the-cancel',
    imitates: 'the buffer freed when the cancel is done, not when the send is (tokio-uring#129)',
    caughtBy: { 'C2-1': /after destroy\(\): foreign bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        const inFlight: Buffer[] = []
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (typeof chunk !== 'string' && chunk.length >= 100_000) inFlight.push(chunk as Buffer)
          return send(chunk, encoding, callback)
        })
        let isSpoiled = false
        replaceDestroy(a, (destroy) => (error) => {
          const isNoticed = isBlocked(a) && a.bytesWritten > 700_000 && a.bytesWritten < 1_500_000
          if (error !== undefined || !isNoticed || isSpoiled) return destroy(error)
          isSpoiled = true
          for (const chunk of inFlight) chunk.fill(0x5a)
          abandon(a, true)
          return destroy()
        })
      }),
  },
  {
    name: 'buffer-lost-with-a-cancel',
    imitates: 'a receive that is cancelled keeps the buffer it had picked (compio#746)',
    caughtBy: {
      'C3-7': /timed out: a transfer after others' were cut off/,
      'C4-8': /timed out: the bytes of connection \d+/,
      'C4-9': /timed out: the bytes of connection \d+/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a, _b, open) => {
        onPush(a, (chunk, push) => {
          const cut = [...open].filter((other) => other.destroyed && other.bytesRead > 0)
          return cut.length >= 150 ? true : push(chunk)
        })
      }),
  },
  {
    name: 'descriptor-inherited',
    imitates: 'a socket without close-on-exec: the child of a server keeps its clients',
    caughtBy: { 'C3-8': /timed out: the end at the peer while a child lives/ },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onDestroy(a, (error, destroy) => {
          if (!process.getActiveResourcesInfo().includes('ProcessWrap')) return destroy(error)
          const waiting = setInterval(() => {
            if (process.getActiveResourcesInfo().includes('ProcessWrap')) return
            clearInterval(waiting)
            destroy(error)
          }, 10)
        })
      }),
  },
  {
    name: 'callback-never-on-destroy',
    imitates: 'operations of a dropped owner are forgotten with their callbacks',
    caughtBy: {
      'C3-1': /timed out: the callbacks of what waited/,
      'C3-6': /timed out: the callbacks of what waited/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(
          a,
          (send) => (chunk, encoding, callback) =>
            send(chunk, encoding, (error) => {
              const isCut = a.destroyed && hasNoReason(a) && a.bytesWritten > 100_000
              const isLast = lengthOf(chunk) === 20
              if (!isCut || !isLast) callback?.(error)
            }),
        ),
      ),
  },
  {
    name: 'queued-writes-succeed-on-destroy',
    imitates: 'cancelled requests called back without their error',
    caughtBy: {
      'C3-1': /a queued write succeeded after destroy\(\)/,
      'C3-6': /a queued write succeeded after destroy\(\)/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(
          a,
          (send) => (chunk, encoding, callback) =>
            send(chunk, encoding, (error) => {
              const isCut = a.destroyed && hasNoReason(a) && isCancel(error)
              callback?.(isCut && lengthOf(chunk) === 20 ? null : error)
            }),
        ),
      ),
  },
  {
    name: 'reason-lost',
    imitates: 'destroy(error) of a wrapper that destroys what it wraps without the error',
    caughtBy: { 'C3-2': /'error' came 0 times/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceDestroy(
          a,
          (destroy) => (error) => destroy(error?.message === 'the reason' ? undefined : error),
        ),
      ),
  },
  {
    name: 'reason-told-twice',
    imitates: 'emitted by destroy() and again by the close that follows',
    caughtBy: { 'C3-2': /'error' came 2 times/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => (name, ...values) => {
          const { message } = (values[0] ?? {}) as Error
          if (name === 'error' && message === 'the reason') emit(name, ...values)
          return emit(name, ...values)
        }),
      ),
  },
  {
    name: 'abort-waits-for-the-queue',
    imitates: 'cancellation looked at between two operations only',
    caughtBy: { 'C3-3': /timed out: 'close' of an aborted stream/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceDestroy(a, (destroy) => (error) => {
          if (error?.name !== 'AbortError') return destroy(error)
          a.once('drain', () => destroy(error))
          return a
        }),
      ),
  },
  {
    name: 'close-waits-for-the-receive',
    imitates: 'close(2) with a receive in flight: the ring holds the file, no FIN is sent',
    caughtBy: { 'C3-4': /timed out: the end of an idle connection at its peer/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let isSpoiled = false
        replaceDestroy(a, (destroy) => (error) => {
          const isIdle = a.bytesWritten === 0 && a.bytesRead === 1 && !a.allowHalfOpen
          if (isIdle && !isSpoiled) {
            isSpoiled = true
            abandon(a, false)
          }
          return destroy(error)
        })
      }),
  },
  {
    name: 'reset-is-a-close',
    imitates: 'resetAndDestroy() without SO_LINGER: an ordinary FIN',
    caughtBy: {
      'C3-5': /the peer saw an end and no reset/,
      'C3-6': /the connection was not reset/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        a.resetAndDestroy = () => a.destroy()
      }),
  },
  {
    name: 'cancel-lost-in-a-full-queue',
    imitates: 'the cancel that did not fit into the submission queue is dropped (zio#623, compio)',
    caughtBy: { 'C5-1': /timed out: 'close' of stream \d+ of 40/ },
    spoil(oracle) {
      let inThisTurn = 0
      return spoiled(oracle, (a) => {
        let isLost = false
        replaceDestroy(a, (destroy) => (error) => {
          if (inThisTurn++ === 0) setImmediate(() => (inThisTurn = 0))
          if (inThisTurn !== 33 || isLost || a.destroyed) return destroy(error)
          isLost = true
          return a
        })
      })
    },
  },
  {
    name: 'queue-goes-on-after-destroy',
    imitates: 'destroy() that closes the stream and leaves its send in flight',
    caughtBy: {
      'C3-1': /timed out: the end of a destroyed connection at its peer/,
      'C3-6': /the connection was not reset/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let inFlight: Callback | undefined
        const inner = internals(a)
        const base = inner._write.bind(a)
        inner._write = (chunk, encoding, callback) => {
          const done: Callback = (error) => {
            if (inFlight !== done) return
            inFlight = undefined
            callback(error)
          }
          inFlight = done
          base(chunk, encoding, done)
        }
        // As the last of a queue, in two checks.
        let isNoticed = false
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          isNoticed = lengthOf(chunk) === 20 && isBlocked(a)
          return send(chunk, encoding, callback)
        })
        replaceDestroy(a, (destroy) => (error) => {
          if (!isNoticed || error !== undefined || a.destroyed) return destroy(error)
          abandon(a, false)
          destroy()
          inFlight?.()
          return a
        })
      }),
  },
]
