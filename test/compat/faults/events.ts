/**
 * Faults of events: their order, their number, their arguments, and the shape of errors. Those of the timeout, and of what
 * holds between connections, are in events-between.ts.
 */
import type { Fault } from '../fault'
import { betweenFaults } from './events-between'
import { onDestroy, onEmit, spoilPairs } from './spoil'

const orderFaults: readonly Fault[] = [
  {
    name: 'close-overtakes-end',
    imitates: "'close' at the FIN: cleaned up before the program has seen the end",
    caughtBy: {
      'E1-21': /events of an ended connection/,
      'E1-22': /events of a connection ended by us/,
      'E1-1': /events of the automatic end/,
      'C4-4': /other events of two halves/,
      'C4-5': /the stream ended because its peer did/,
      'C4-6': /after 'close' came: end/,
      'C4-10': /after 'close' came: end/,
      'C4-16': /after 'close' came: end/,
      'C4-17': /after 'close' came: end/,
      'R1-52': /timed out: the end of the answer through the tunnel/,
      'R1-54': /timed out: the answer after the end of the request/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let isClosed = false
        onEmit(a, (name, _values, emit) => {
          if (name === 'end') {
            isClosed = true
            a.emit('close', false)
            isClosed = true
          } else if (name === 'close' && isClosed && a.closed) return false
          return emit()
        })
      }),
  },
  {
    name: 'close-told-twice',
    imitates: "'close' by the cancel's completion and by the one of the close",
    caughtBy: {
      'E1-21': /events of an ended connection/,
      'E1-22': /events of a connection ended by us/,
      'E1-23': /events after destroy\(error\)/,
      'E1-24': /events after destroy\(\)/,
      'E1-26': /events after a reset/,
      'C4-3': /'close' came \d+ times/,
      'C4-5': /other events of two halves/,
      'C4-6': /'close' came \d+ times/,
      'C3-1': /'close' came \d+ times/,
      'C3-2': /other events than error and close/,
      'C5-1': /'close' came \d+ times/,
      'C4-10': /'close' came \d+ times/,
      'C4-11': /'close' came \d+ times/,
      'C4-12': /'close' came \d+ times/,
      'C4-13': /'close' came \d+ times/,
      'C4-14': /'close' came \d+ times/,
      'C4-15': /other events than one close/,
      'C4-16': /'close' came \d+ times/,
      'C4-17': /'close' came \d+ times/,
    },
    alsoCaughtBy: { 'E1-1': /events of the automatic end/ },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.once('close', () => setImmediate(() => a.emit('close', false)))
      }),
  },
  {
    name: 'error-lost',
    imitates: "an error that only leads to 'close': nobody learns why",
    caughtBy: {
      'R1-14': /a reset was not told as ECONNRESET/,
      'E1-23': /events after destroy\(error\)/,
      'E1-25': /hadError of 'close'/,
      'E1-26': /events after a reset/,
      'E1-3': /timed out: the error of a reset/,
      'W5-1': /'error' was not emitted once for a write after end\(\)/,
      'W5-2': /'error' came \d+ times for one reset/,
      'W5-3': /timed out: 'error' after a reset during a send/,
      'W5-4': /timed out: the 'error' of a write after end\(\)/,
      'C3-2': /'error' came \d+ times/,
      'C3-3': /an abort was not told once, as an AbortError/,
      'C4-12': /other events than error and close/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onDestroy(a, (_error, destroy) => destroy())
      }),
  },
  {
    name: 'error-without-close',
    imitates: "a failed connection whose descriptor is never closed: no 'close' after 'error'",
    caughtBy: {
      'R1-14': /timed out: 'close' after a reset/,
      'R1-15': /timed out: 'close' after a reset of an unread socket/,
      'E1-23': /timed out: 'close' after destroy\(error\)/,
      'E1-25': /timed out: 'close' of a socket that was failed/,
      'E1-26': /timed out: 'close' after a reset/,
      'W5-1': /timed out: 'close' after a write after end\(\)/,
      'W5-2': /timed out: 'close' after a reset/,
      'W5-3': /timed out: 'close' after a reset during a send/,
      'W5-4': /timed out: 'close' after a failed write/,
      'C3-2': /timed out: 'close' after destroy\(error\)/,
      'C3-3': /timed out: 'close' of an aborted stream/,
      'C4-11': /timed out: 'close' after destroy\((error)?\)/,
      'C4-12': /timed out: 'close' after a reset during end\(\)/,
    },
    alsoCaughtBy: {
      'C3-1': /timed out: 'close' of a blocked stream/,
      'C3-6': /timed out: 'close' after a reset/,
      'C4-14': /timed out: 'close' after end\(\) and destroy/,
      'C5-1': /timed out: 'close' of stream \d+ of \d+/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onEmit(a, (name, _values, emit) => (name === 'close' && a.errored != null ? false : emit()))
      }),
  },
  {
    name: 'error-within-destroy',
    imitates: 'listeners called from within destroy()',
    caughtBy: {
      'E1-23': /'error' was emitted within destroy\(\)/,
      'E1-25': /hadError of 'close'/,
      'E1-26': /events after a reset/,
      'W5-3': /'close' denies the error/,
      'C3-2': /'close' denies the error/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onDestroy(a, (error, destroy) => {
          if (error !== undefined && !a.destroyed) a.emit('error', error)
          destroy()
        })
      }),
  },
  {
    name: 'cancel-told-as-error',
    imitates: "the cancelled receive's ECANCELED is told as the connection's error (M5)",
    caughtBy: {
      'E1-24': /events after destroy\(\)/,
      'E1-25': /hadError of 'close'/,
      'C3-5': /resetAndDestroy\(\) emitted an error/,
      'C4-13': /other events than one close/,
      'C4-17': /after destroy\(\) in 'data'/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onDestroy(a, (error, destroy) => {
          const isAlive = !a.destroyed && !a.readableEnded && a.readableFlowing === true
          const cancelled = Object.assign(new Error('read ECANCELED'), { code: 'ECANCELED' })
          destroy(error ?? (isAlive ? cancelled : undefined))
        })
      }),
  },
  {
    name: 'had-error-missing',
    imitates: "'close' without its argument, as plain streams emit it",
    caughtBy: {
      'E1-25': /hadError of 'close'/,
      'E1-26': /events after a reset/,
      'W5-3': /'close' denies the error/,
      'C3-2': /'close' denies the error/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onEmit(a, (name, values, emit) => {
          if (name === 'close') values[0] = false
          return emit()
        })
      }),
  },
  {
    name: 'automatic-end-too-early',
    imitates: "our half is closed at the peer's FIN, before 'end' could write its answer",
    caughtBy: {
      'E1-1': /what 'end' wrote before the automatic end: bytes lost at the end/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.on('end', () => void (a.allowHalfOpen ? undefined : a.end()))
      }),
  },
  {
    name: 'half-open-ignored',
    imitates: 'an adapter that always ends with its peer, whatever allowHalfOpen says',
    caughtBy: {
      'E1-2': /our half was closed with the peer's although allowHalfOpen is on/,
      'C4-5': /the stream ended because its peer did/,
      'R1-52': /the way back: bytes lost at the end/,
      'R1-54': /timed out: the answer after the end of the request/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.on('end', () => setImmediate(() => a.end()))
      }),
  },
  {
    name: 'error-without-errno',
    imitates: 'errors made of a code alone: no errno, no syscall',
    caughtBy: {
      'E1-3': /shape of a read error/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onDestroy(a, (error, destroy) => {
          if (error?.code !== 'ECONNRESET') return destroy(error)
          return destroy(Object.assign(new Error('connection reset'), { code: error.code }))
        })
      }),
  },
  {
    name: 'data-after-end',
    imitates: "the zero-byte completion is told as 'data' as well",
    caughtBy: {
      'E1-4': /'data' came after 'end'/,
      'C4-17': /data came after destroy\(\) in 'end'/,
      'R1-54': /the request through the proxy: bytes lost at the end/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.on('end', () => setImmediate(() => a.emit('data', Buffer.alloc(0))))
      }),
  },
  {
    name: 'data-after-destroy',
    imitates: 'completions reaped with the destroying one are delivered all the same',
    caughtBy: {
      'E1-24': /'data' came after destroy\(\)/,
      'E2-3': /'data' came to a connection that was destroyed or paused/,
      'C4-17': /data came after destroy\(\) in a write callback/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onDestroy(a, (error, destroy) => {
          const isLate = !a.destroyed && !a.readableEnded && error === undefined
          destroy(error)
          if (isLate) setImmediate(() => a.emit('data', Buffer.from('late')))
        })
      }),
  },
]

export const eventsFaults: readonly Fault[] = [...orderFaults, ...betweenFaults]
