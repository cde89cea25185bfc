/**
 * Faults of receiving: bytes lost, early, late, repeated or in the wrong order on the way from the kernel to the reader.
 * Those of bounds, memory and many connections are in receiving-shared.ts.
 */
import type { Fault } from '../fault'
import { sharedFaults } from './receiving-shared'
import { onDestroy, onEmit, onPush, spoilPairs } from './spoil'

/** Halves that change places, at a record's border. */
function swapped(chunk: Buffer): Buffer {
  const half = chunk.length - (chunk.length >> 5) * 16
  return Buffer.concat([chunk.subarray(half), chunk.subarray(0, half)])
}

const pathFaults: readonly Fault[] = [
  {
    name: 'chunk-cut-by-a-buffer',
    imitates: 'provided buffers filled bit by bit: a message is cut where one of them ends',
    caughtBy: { 'R1-16': /a message came in several chunks/ },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let left = 65_536
        onPush(a, (chunk, push) => {
          if (chunk === null || chunk.length <= left) {
            left -= chunk?.length ?? 0
            return push(chunk)
          }
          const [head, rest] = [chunk.subarray(0, left), chunk.subarray(left)]
          left = 65_536
          if (head.length > 0) push(head)
          return push(rest)
        })
      }),
  },
  {
    name: 'one-chunk-of-read-ahead',
    imitates:
      'a wrapper with a single read-ahead buffer: what comes before a reader replaces nothing',
    caughtBy: { 'R1-1': /timed out: the data that came before the listener/ },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          const isHeld = a.readableLength > 0 && a.readableLength <= 100
          const isUnread = a.readableFlowing === null && a.listenerCount('readable') === 0
          return chunk !== null && isHeld && isUnread ? true : push(chunk)
        })
      }),
  },
  {
    name: 'end-lost-before-listener',
    imitates:
      'an end of stream completed before anybody listens and forgotten (completion-anchors 46)',
    caughtBy: {
      'R1-2': /timed out: 'end' after data that came before the listener/,
      'R1-7': /timed out: 'end' once the data was consumed/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          const isUnread = a.readableFlowing === null && a.listenerCount('readable') === 0
          return chunk === null && isUnread ? false : push(chunk)
        })
      }),
  },
  {
    name: 'data-after-pause',
    imitates: 'completions already reaped are delivered although the consumer has paused (M17)',
    caughtBy: {
      'R1-3': /'data' came after pause\(\) had returned/,
      'R1-4': /'data' came while paused/,
      'R1-13': /a pipe ran ahead of its destination: \d+ bytes/,
      'R2-2': /the peer was not held up by a consumer that does not read/,
      'R3-2': /timed out: the second data, kept/,
      'E2-3': /'data' came to a connection that was destroyed or paused/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          if (chunk === null || !a.isPaused() || a.listenerCount('data') === 0) return push(chunk)
          return a.emit('data', chunk)
        })
      }),
  },
  {
    name: 'data-lost-while-paused',
    imitates: 'the data of a cancelled receive is dropped with it (M17, compio#315)',
    caughtBy: {
      'R1-3': /timed out: all data over many pauses/,
      'R1-4': /timed out: the data kept while paused/,
      'R1-6': /data with pauses at any time: bytes lost/,
      'R1-13': /data through a pipe: bytes lost/,
      'R1-20': /timed out: data received since/,
      'R1-21': /data over hand-overs: bytes lost/,
      'R1-22': /timed out: frames by 'readable' and read\(n\)/,
      'R1-23': /the iteration was cut short: timed out: the end of the iteration/,
      'R1-24': /timed out: the header by 'readable'/,
      'R2-2': /the peer was not held up by a consumer that does not read/,
      'R3-2': /timed out: the second data, kept/,
      'E1-4': /data before 'end': bytes lost at the end/,
      'E2-3': /timed out: data of one that another's listener touched/,
      'C4-7': /timed out: what was unread/,
      'R1-50': /timed out: bytes after the line/,
      'R1-54': /the request through the proxy: bytes lost at the end/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => (chunk !== null && a.isPaused() ? true : push(chunk)))
      }),
  },
  {
    name: 'resume-before-cancel-completes',
    imitates: 'netty#17049: a read asked for between a cancel and its completion is never armed',
    caughtBy: {
      'R1-5': /timed out: data after pause and resume/,
      'R1-21': /timed out: 'end' for the last owner/,
    },
    alsoCaughtBy: { 'W3-54': /timed out: the echo of \d+ bytes/ },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const [pause, resume] = [a.pause.bind(a), a.resume.bind(a)]
        let isCancelling = false
        a.pause = () => {
          isCancelling = true
          queueMicrotask(() => void (isCancelling = false))
          return pause()
        }
        a.resume = () => (isCancelling ? a : resume())
      }),
  },
  {
    name: 'two-receives-armed',
    imitates: 'netty#14989: pause and resume in one tick arm a second receive, and both deliver',
    caughtBy: {
      'R1-5': /data after pause and resume in one tick: bytes repeated/,
      'R1-6': /data with pauses at any time: bytes repeated/,
      'R1-21': /data over hand-overs: bytes repeated/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const [pause, resume] = [a.pause.bind(a), a.resume.bind(a)]
        let isCancelling = false
        let isTwice = false
        a.pause = () => {
          isCancelling = true
          queueMicrotask(() => void (isCancelling = false))
          return pause()
        }
        a.resume = () => {
          isTwice ||= isCancelling
          return resume()
        }
        onPush(a, (chunk, push) => {
          const again = isTwice && chunk !== null
          isTwice = false
          const wants = push(chunk)
          return again ? push(chunk) : wants
        })
      }),
  },
  {
    name: 'shutdown-stops-receiving',
    imitates: 'our FIN cancels the receive as well (completion-anchors 36)',
    caughtBy: {
      'R1-9': /data after our FIN: bytes lost at the end/,
      'C4-4': /after our half was closed: bytes lost at the end/,
      'C4-7': /timed out: what was unread/,
      'C4-10': /after both ends: /,
      'C4-16': /the wire: bytes lost at the end/,
      'R1-52': /the way back: bytes lost at the end/,
      'R1-54': /timed out: the answer after the end of the request/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => (chunk !== null && a.writableFinished ? true : push(chunk)))
      }),
  },
  {
    name: 'end-told-before-data',
    imitates: "'end' at the FIN and not when the data before it is consumed",
    caughtBy: {
      'R1-2': /'end' was emitted before anybody read/,
      'R1-7': /'end' was emitted before the data was consumed/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          const isEarly = chunk === null && a.readableLength === 100 && !a.readableFlowing
          if (isEarly) setImmediate(() => a.emit('end'))
          return push(chunk)
        })
      }),
  },
  {
    name: 'end-twice',
    imitates: 'the zero-byte completion and the final one without MORE both end the stream',
    caughtBy: {
      'R1-7': /'end' came twice/,
      'E1-21': /events of an ended connection/,
      'E1-22': /events of a connection ended by us/,
      'E1-1': /events of the automatic end/,
      'C4-4': /other events of two halves/,
      'C4-5': /the stream ended because its peer did/,
      'C4-10': /other events at the end/,
      'C4-16': /other events after end\(\) twice/,
      'C4-17': /after destroy\(\) in 'end'/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.once('end', () => setImmediate(() => a.emit('end')))
      }),
  },
  {
    name: 'byte-with-fin-lost',
    imitates: 'data and FIN in one packet: the end of stream is looked at first',
    caughtBy: {
      'R1-8': /data that came with the FIN: bytes lost at the end/,
      'C4-10': /after both ends: /,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a, b) => {
        onPush(a, (chunk, push) => {
          const isLast = chunk !== null && b.writableEnded && a.bytesRead === 1
          return isLast ? true : push(chunk)
        })
      }),
  },
  {
    name: 'empty-write-is-end',
    imitates: 'a send of no bytes taken for end of stream (completion-anchors 54)',
    caughtBy: {
      'R1-10': /an empty write ended our half/,
      'W1-4': /Missing expected exception: a wrong write is not refused with ERR_INVALID_ARG_TYPE/,
      'W3-3': /the wire: bytes lost at the end/,
      'W3-5': /timed out: the callback of an empty write/,
      'W3-10': /timed out: the chains/,
      'W4-1': /timed out: the callbacks of small writes/,
      'W4-2': /timed out: a callback for each write/,
      'W4-7': /bytesWritten leaves out what is queued/,
    },
    alsoCaughtBy: { 'W3-53': /timed out: answers to all pipelined requests/ },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const write = a.write.bind(a) as (...given: unknown[]) => boolean
        a.write = ((...given: unknown[]) => {
          if ((given[0] as Buffer | string).length > 0) return write(...given)
          a.end()
          return true
        }) as typeof a.write
      }),
  },
  {
    name: 'chunks-reordered',
    imitates: 'two receives in flight on one socket complete in the other order (liburing#1373)',
    caughtBy: {
      'R1-9': /data after our FIN: bytes reordered/,
      'R1-11': /a stream of writes: bytes reordered/,
      'R2-1': /data kept for a slow consumer: bytes reordered/,
      'R2-2': /data kept for a slow consumer: bytes reordered/,
      'R2-4': /a connection that was stuck: bytes reordered/,
      'R2-5': /chunks that are all kept: bytes reordered/,
      'C3-7': /a transfer after others' were cut off: bytes reordered/,
      'W3-55': /the body of the response: bytes reordered/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let isDone = false
        onPush(a, (chunk, push) => {
          if (chunk === null || isDone || a.bytesRead < 950_000 || chunk.length < 64)
            return push(chunk)
          isDone = true
          return push(swapped(chunk))
        })
      }),
  },
  {
    name: 'characters-cut-by-chunks',
    imitates: 'toString() of each chunk in place of a decoder',
    caughtBy: {
      'R1-12': /characters were broken where their bytes were/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const setEncoding = a.setEncoding.bind(a)
        a.setEncoding = (encoding) => {
          onPush(a, (chunk, push) =>
            push(chunk === null ? null : Buffer.from(chunk.toString(encoding))),
          )
          return setEncoding(encoding)
        }
      }),
  },
  {
    name: 'pipe-ignores-its-destination',
    imitates: "a hand-written pipe: on('data', write), without looking at what write() returns",
    caughtBy: {
      'R1-13': /a pipe ran ahead of its destination: \d+ bytes/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.pipe = (destination) => {
          a.on('data', (chunk: Buffer) => void destination.write(chunk))
          a.on('end', () => void destination.end())
          return destination
        }
      }),
  },
  {
    name: 'reset-told-as-end',
    imitates: 'every failed receive ends the stream: a cut message looks complete',
    caughtBy: {
      'R1-14': /timed out: 'close' after a reset/,
      'R1-15': /timed out: 'close' after a reset of an unread socket/,
      'E1-26': /timed out: 'close' after a reset/,
      'E1-3': /timed out: the error of a reset/,
      'W5-2': /timed out: 'close' after a reset/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onDestroy(a, (error, destroy) => {
          if (error?.code === 'ECONNRESET') a.push(null)
          else destroy(error)
        })
      }),
  },
  {
    name: 'data-after-reset',
    imitates: "completions of before the reset are delivered after its 'close'",
    caughtBy: {
      'R1-15': /'data' came after the reset's 'close'/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let unread: Buffer | null = null
        onPush(a, (chunk, push) => {
          if (a.readableFlowing === null) unread = chunk
          return push(chunk)
        })
        onDestroy(a, (error, destroy) => {
          if (error?.code === 'ECONNRESET' && unread !== null) {
            a.once('close', () => setImmediate(() => a.emit('data', unread)))
          }
          destroy(error)
        })
      }),
  },
  {
    name: 'unshift-appends',
    imitates: 'what is put back goes to the end of the queue',
    caughtBy: {
      'R1-20': /data after unshift\(\): bytes reordered/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.unshift = ((chunk: Buffer) => void a.push(chunk)) as typeof a.unshift
      }),
  },
  {
    name: 'read-ahead-lost-at-hand-over',
    imitates:
      'into_inner() of both Rust compat layers drops what was read ahead (completion-anchors 55)',
    caughtBy: {
      'R1-20': /timed out: data received since/,
      'R1-21': /data over hand-overs: bytes lost/,
      'R1-24': /data over three kinds of readers: bytes lost at the end/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let hadReader = false
        onPush(a, (chunk, push) => {
          const hasReader = a.listenerCount('data') + a.listenerCount('readable') > 0
          hadReader ||= hasReader
          return chunk !== null && hadReader && !hasReader ? true : push(chunk)
        })
      }),
  },
  {
    name: 'readable-told-once',
    imitates: "a flag that is not reset: 'readable' comes once and never again",
    caughtBy: {
      'R1-22': /timed out: frames by 'readable' and read\(n\)/,
      'R1-24': /timed out: 'end' after three kinds of readers/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let isTold = false
        onEmit(a, (name, _values, emit) => {
          if (name !== 'readable') return emit()
          if (isTold) return false
          isTold = true
          return emit()
        })
      }),
  },
  {
    name: 'read-gives-what-there-is',
    imitates: 'a read(n) that takes n for a maximum, as read(2) does',
    caughtBy: {
      'R1-22': /read\(n\) gave another number of bytes/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const read = a.read.bind(a) as (size?: number) => unknown
        a.read = (size?: number) => read(size === 0 ? 0 : undefined) as never
      }),
  },
  {
    name: 'closed-with-data-unread',
    imitates:
      'Node 26.10, TLS over a Duplex: closed at the FIN although data is still to be consumed',
    caughtBy: {
      'R1-23': /the iteration was cut short: Premature close/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          const wants = push(chunk)
          const isPulled = a.listenerCount('readable') > 0 && a.listenerCount('data') === 0
          if (chunk === null && isPulled && a.readableLength > 0) a.destroy()
          return wants
        })
      }),
  },
  {
    name: 'bytes-read-counts-consumed',
    imitates: 'a counter in the consumer and not at the kernel',
    caughtBy: {
      'R1-25': /bytesRead is wrong before anything was consumed/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const of = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(a), 'bytesRead')
        const get = (): number => (of?.get?.call(a) as number) - a.readableLength
        Object.defineProperty(a, 'bytesRead', { configurable: true, get })
      }),
  },
]

export const receivingFaults: readonly Fault[] = [...pathFaults, ...sharedFaults]
