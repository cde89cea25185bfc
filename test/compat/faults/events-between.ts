/** Faults of the timeout, of ticks between connections, and of the asynchronous context. */
import { AsyncResource } from 'node:async_hooks'
import type { Fault } from '../fault'
import { onEmit, onPush, spoilNet, spoilPairs } from './spoil'

type Inner = { _unrefTimer: () => void; _onTimeout: () => void }

/** In nobody's context: made when the module is loaded. */
const neutral = new AsyncResource('FAULT')

export const betweenFaults: readonly Fault[] = [
  {
    name: 'timeout-never',
    imitates: 'setTimeout() accepted and forgotten, as adapters over a Duplex do',
    caughtBy: {
      'E1-10': /timed out: 'timeout' after silence/,
      'E1-11': /timed out: 'timeout' once the traffic stops/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onEmit(a, (name, _values, emit) => (name === 'timeout' ? false : emit()))
      }),
  },
  {
    name: 'timeout-destroys',
    imitates: "a timeout that closes: Node leaves that to the program (http's server does it)",
    caughtBy: {
      'E1-10': /'timeout' has closed the socket/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        a.on('timeout', () => a.destroy())
      }),
  },
  {
    name: 'timeout-not-refreshed',
    imitates: 'a timer set once: data does not put it off',
    caughtBy: {
      'E1-11': /'timeout' came although data was being received/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        ;(a as unknown as Inner)._unrefTimer = () => {}
      }),
  },
  {
    name: 'timeout-not-taken-back',
    imitates: 'setTimeout(0) taken for no change',
    caughtBy: {
      'E1-12': /'timeout' came after setTimeout\(\d+\)/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const setTimeout = a.setTimeout.bind(a)
        a.setTimeout = (ms, callback) => (ms === 0 ? a : setTimeout(ms, callback))
      }),
  },
  {
    name: 'timeout-of-a-moving-write',
    imitates: 'a handle whose writeQueueSize never changes: Node takes the write for stuck',
    caughtBy: {
      'E1-13': /'timeout' came although a write was getting on/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        ;(a as unknown as Inner)._onTimeout = () => void a.emit('timeout')
      }),
  },
  {
    name: 'batch-without-ticks',
    imitates: 'all completions of a batch in one callback scope: ticks run after the last',
    caughtBy: {
      'E2-1': /ticks of one 'data' ran after the next connection's/,
    },
    alsoCaughtBy: { 'C4-10': /after both ends: / },
    spoil: (oracle) => {
      const batch: (() => void)[] = []
      return spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          if (a.readableFlowing !== true || chunk === null || chunk.length > 64) return push(chunk)
          batch.push(() => void push(chunk))
          if (batch.length === 1) {
            setImmediate(() => {
              for (const one of batch.splice(0)) one()
            })
          }
          return true
        })
      })
    },
  },
  {
    name: 'throwing-listener-ends-the-batch',
    imitates: 'netty: an exception leaves the batch half walked and its state bit set',
    caughtBy: {
      'E2-2': /timed out: data of connections beside one whose listener threw/,
    },
    spoil: (oracle) => {
      let isBroken = false
      return spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          if (isBroken) return true
          try {
            return push(chunk)
          } catch (error) {
            isBroken = true
            setTimeout(() => void (isBroken = false), 50).unref()
            throw error
          }
        })
      })
    },
  },
  {
    name: 'write-callback-without-context',
    imitates: "callbacks called from the ring's own context",
    caughtBy: {
      'E2-4': /AsyncLocalStorage in a write's callback/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const write = a.write.bind(a) as (...given: unknown[]) => boolean
        a.write = ((...given: unknown[]) => {
          const wrapped = given.map((value) =>
            typeof value === 'function'
              ? (...values: unknown[]) =>
                  neutral.runInAsyncScope(value as () => void, undefined, ...(values as []))
              : value,
          )
          return write(...wrapped)
        }) as typeof a.write
      }),
  },
  {
    name: 'data-in-a-foreign-context',
    imitates: 'one dispatch for all connections: the context of whoever came first to it',
    caughtBy: {
      'E2-5': /'data' was told in a foreign AsyncLocalStorage/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let resource: AsyncResource | undefined
        const on = a.on.bind(a) as (name: string, listener: () => void) => typeof a
        a.on = ((name: string, listener: () => void) => {
          if (name === 'data') resource = new AsyncResource('FAULT')
          return on(name, listener)
        }) as typeof a.on
        onPush(a, (chunk, push) =>
          resource === undefined ? push(chunk) : resource.runInAsyncScope(push, undefined, chunk),
        )
      }),
  },
  {
    name: 'connect-context-lost',
    imitates: 'the connection is made in the context of the thread and not of its caller',
    caughtBy: {
      'E2-6': /AsyncLocalStorage of connect\(\)/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, { connecting: (connect) => neutral.runInAsyncScope(connect) }),
  },
]
