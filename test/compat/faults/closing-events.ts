/** Faults of the order of finish, end, error and close, and of calls that come too late. */
import type { Socket } from 'node:net'
import type { Fault } from '../fault'
import type { Subject } from '../subject'
import {
  abandon,
  hasNoReason,
  isBlocked,
  isReset,
  replaceDestroy,
  replaceEmit,
  replaceEnd,
  replaceWrite,
  spoiled,
} from './sends'

/** A connection that said one letter and heard one: what both ends of the smallest exchange do. */
const isSmallest = (a: Socket): boolean => a.bytesWritten === 1 && a.bytesRead === 1

export const closingEventFaults: readonly Fault[] = [
  {
    name: 'close-twice',
    imitates: "'close' by the stream and by the handle",
    caughtBy: { 'C4-10': /'close' came 2 times/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => (name, ...values) => {
          if (name === 'close' && isSmallest(a)) process.nextTick(() => emit(name, ...values))
          return emit(name, ...values)
        }),
      ),
  },
  {
    name: 'close-never',
    imitates: 'a close that waits for a completion that has come already',
    caughtBy: { 'C4-10': /timed out: 'close' after both ends/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => (name, ...values) => {
          return name === 'close' && isSmallest(a) ? true : emit(name, ...values)
        }),
      ),
  },
  {
    name: 'close-before-end',
    imitates: "'close' when the descriptor is closed, with the end still in the queue",
    caughtBy: { 'C4-10': /after 'close' came: end/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        replaceEmit(a, (emit) => {
          let isLate = false
          return (name, ...values) => {
            if (name === 'end' && isSmallest(a) && a.writableFinished) {
              isLate = true
              return true
            }
            if (name !== 'close' || !isLate) return emit(name, ...values)
            setImmediate(() => emit('end'))
            return emit(name, ...values)
          }
        })
        // The check waits for 'end': it is there, behind the close.
      }),
  },
  {
    name: 'close-before-the-callbacks',
    imitates: "'close' at destroy(), callbacks when the completions come",
    caughtBy: { 'C4-11': /'close' came before a callback/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(
          a,
          (send) => (chunk, encoding, callback) =>
            send(chunk, encoding, (error) => {
              const isNoticed = a.destroyed && a.bytesWritten % 1000 === 20
              if (!isNoticed) callback?.(error)
              else setImmediate(() => setImmediate(() => callback?.(error)))
            }),
        ),
      ),
  },
  {
    name: 'failed-send-holds-the-close',
    imitates: 'a chain of send, shutdown and close whose first link fails (io_uring)',
    caughtBy: { 'C4-12': /timed out: 'close' after a reset during end\(\)/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => {
          let isHeld = false
          return (name, ...values) => {
            isHeld ||= name === 'error' && isReset(values[0]) && a.writableEnded
            return isHeld && (name === 'error' || name === 'close') ? true : emit(name, ...values)
          }
        }),
      ),
  },
  {
    name: 'second-destroy-closes-again',
    imitates: 'close(2) twice: the second time the number is of another connection',
    caughtBy: { 'C4-13': /'close' came 2 times/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceDestroy(a, (destroy) => (error) => {
          if (a.destroyed && error?.message === 'too late')
            a.once('close', () => a.emit('close', false))
          return destroy(error)
        }),
      ),
  },
  {
    name: 'end-succeeds-on-destroy',
    imitates: 'the pending shutdown called back as done when the handle is closed',
    caughtBy: {
      'C4-14': /end\(\)'s callback succeeded although it was destroyed/,
      'C4-12': /end\(\)'s callback succeeded although bytes were lost/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEnd(a, (end) => (chunk, encoding, callback) => {
          if (!isBlocked(a) || chunk !== undefined) return end(chunk, encoding, callback)
          return end(chunk, encoding, callback && (() => callback()))
        }),
      ),
  },
  {
    name: 'finish-on-destroy',
    imitates: "'finish' from whatever ends the writable side",
    caughtBy: { 'C4-14': /finish/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEmit(a, (emit) => (name, ...values) => {
          const isCut = a.writableEnded && !a.writableFinished && hasNoReason(a)
          if (name === 'close' && isCut && a.bytesWritten > 100_000) emit('finish')
          return emit(name, ...values)
        }),
      ),
  },
  {
    name: 'late-write-succeeds',
    imitates: 'writes to a closed stream dropped as if they were sent',
    caughtBy: { 'C4-15': /a late write was told otherwise/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isLate = a.destroyed && a.bytesWritten === 0
          return send(chunk, encoding, isLate ? callback && (() => callback()) : callback)
        }),
      ),
  },
  {
    name: 'second-end-destroys',
    imitates: 'shutdown(2) twice: ENOTCONN of the second destroys the stream',
    caughtBy: { 'C4-16': /error|timed out/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEnd(a, (end) => (...call) => {
          if (a.writableEnded && !a.destroyed) {
            a.destroy(Object.assign(new Error('shutdown ENOTCONN'), { code: 'ENOTCONN' }))
            return a
          }
          return end(...call)
        }),
      ),
  },
  {
    name: 'batch-goes-on-after-destroy',
    imitates: 'the rest of a batch of completions delivered to a stream that was let go',
    caughtBy: { 'C4-17': /data came after destroy\(\) in 'data'/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceDestroy(a, (destroy) => (error) => {
          const isReading = a.readableFlowing === true && a.bytesRead > 5000 && !a.destroyed
          if (isReading && a.bytesWritten === 0) setImmediate(() => a.emit('data', Buffer.alloc(9)))
          return destroy(error)
        }),
      ),
  },
  {
    name: 'connection-given-up-stays',
    imitates: 'a connect that completes while its owner lets go: nobody closes it (monoio#318)',
    caughtBy: {
      'C4-18': /timed out: the server's socket to close/,
      'E1-53': /timed out: the peer's 'close'/,
      'C4-90': /\d+ connections left \d+ descriptors open/,
    },
    spoil(oracle): Subject {
      const net = oracle.net!
      const connect = (...args: unknown[]): Socket => {
        const socket = (net.connect as (...args: unknown[]) => Socket)(...args)
        let isConnecting = false
        socket.prependListener('connect', () => {
          isConnecting = true
          process.nextTick(() => (isConnecting = false))
        })
        replaceDestroy(socket, (destroy) => (error) => {
          if (isConnecting && !socket.destroyed) abandon(socket, false)
          return destroy(error)
        })
        return socket
      }
      return { ...oracle, net: { ...net, connect } as typeof net }
    },
  },
]
