/** Faults of clients: of connecting, of giving up on it, and of their options and members. */
import { closeSync, openSync } from 'node:fs'
import type * as net from 'node:net'
import type { Fault } from '../fault'
import { onDestroy, onEmit, spoilNet } from './spoil'

type Options = net.NetConnectOpts & {
  autoSelectFamily?: boolean
  signal?: AbortSignal
  onread?: net.OnReadOpts
  localAddress?: string
}

export const clientFaults: readonly Fault[] = [
  {
    name: 'ready-before-connect',
    imitates: "'ready' when the descriptor is there and not when it is connected",
    caughtBy: {
      'E1-50': /order of events of a client/,
      'C4-18': /other events after destroy\(\) in 'connect'/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          let isTold = false
          onEmit(client, (name, _values, emit) => {
            if (name === 'ready' && isTold) return false
            if (name === 'connect' && !isTold) {
              client.emit('ready')
              isTold = true
            }
            return emit()
          })
        },
      }),
  },
  {
    name: 'refused-without-errno',
    imitates: 'an error of connect() that has a code and nothing else',
    caughtBy: {
      'E1-51': /shape of ECONNREFUSED/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          onEmit(client, (name, values, emit) => {
            const error = values[0] as NodeJS.ErrnoException
            if (name === 'error' && error.code === 'ECONNREFUSED') delete error.errno
            return emit()
          })
        },
      }),
  },
  {
    name: 'connect-after-close',
    imitates: 'a connect that completes after destroy() is told (completion-anchors 43)',
    caughtBy: {
      'E1-52': /events of one destroyed while it connects/,
      'E1-57': /'connect' after an abort/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          onDestroy(client, (error, destroy) => {
            const wasConnecting = client.connecting && error?.code !== 'ECONNREFUSED'
            destroy(error)
            if (wasConnecting) setImmediate(() => client.emit('connect'))
          })
        },
      }),
  },
  {
    name: 'destroy-in-connect-ignored',
    imitates: "a state that becomes 'connected' after its listeners have run and undoes destroy()",
    caughtBy: {
      'E1-53': /timed out: 'close' of one destroyed in 'connect'/,
      'C4-90': /timed out: 'close' of each of six connections/,
      'C4-18': /timed out: 'close' after destroy\(\) in 'connect'/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          let isTelling = false
          onEmit(client, (name, _values, emit) => {
            isTelling = name === 'connect'
            try {
              return emit()
            } finally {
              isTelling = false
            }
          })
          onDestroy(client, (error, destroy) => {
            if (!isTelling) destroy(error)
          })
        },
      }),
  },
  {
    name: 'path-not-told',
    imitates: 'an error of a Unix socket that does not say which',
    caughtBy: {
      'E1-54': /shape of ENOENT/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          onEmit(client, (name, values, emit) => {
            const error = values[0] as NodeJS.ErrnoException & { address?: string }
            if (name === 'error' && error.code === 'ENOENT') delete error.address
            return emit()
          })
        },
      }),
  },
  {
    name: 'first-address-only',
    imitates: 'Node before 18.13: localhost is ::1 and nobody tries 127.0.0.1',
    caughtBy: {
      'E1-55': /the second address was not tried/,
      'E1-56': /errors of all addresses/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        connectOptions: (options) => ({ ...(options as Options), autoSelectFamily: false }),
      }),
  },
  {
    name: 'last-error-only',
    imitates: 'the error of the last address in place of all',
    caughtBy: {
      'E1-56': /errors of all addresses/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          onEmit(client, (name, values, emit) => {
            const { errors } = (values[0] ?? {}) as { errors?: unknown[] }
            if (name === 'error' && errors !== undefined) values[0] = errors.at(-1)
            return emit()
          })
        },
      }),
  },
  {
    name: 'signal-ignored',
    imitates: 'an option that did not reach the constructor',
    caughtBy: {
      'E1-57': /timed out: 'close' of a client aborted while connecting/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        connectOptions: (options) => {
          const { signal: _signal, ...rest } = options as Options & { signal?: AbortSignal }
          return rest as net.NetConnectOpts
        },
      }),
  },
  {
    name: 'written-before-connect-lost',
    imitates: 'a write that is given to a handle without a descriptor',
    caughtBy: {
      'E1-58': /bytes written before the connection/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          const write = client.write.bind(client) as (...given: unknown[]) => boolean
          client.write = ((...given: unknown[]) =>
            client.connecting ? true : write(...given)) as typeof client.write
        },
      }),
  },
  {
    name: 'no-second-connection',
    imitates: 'a socket whose handle cannot be made anew',
    caughtBy: {
      'E1-59': /timed out: 'close' of connection \d+ of one socket/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          const connect = client.connect.bind(client) as (...given: unknown[]) => net.Socket
          client.connect = ((...given: unknown[]) =>
            client.destroyed ? client : connect(...given)) as typeof client.connect
        },
      }),
  },
  {
    name: 'resolver-error-replaced',
    imitates: 'every failure to connect is told as the same error',
    caughtBy: {
      'E1-60': /the resolver's error was replaced/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          onEmit(client, (name, values, emit) => {
            const { code } = (values[0] ?? {}) as NodeJS.ErrnoException
            if (name === 'error' && code === 'ENOTFOUND') {
              values[0] = Object.assign(new Error('cannot connect'), { code })
            }
            return emit()
          })
        },
      }),
  },
  {
    name: 'setter-returns-nothing',
    imitates: 'a wrapper that calls through and forgets `return this`',
    caughtBy: {
      'E1-73': /setNoDelay does not return its socket before connecting/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          const setNoDelay = client.setNoDelay.bind(client)
          client.setNoDelay = ((on?: boolean) =>
            void setNoDelay(on)) as unknown as typeof client.setNoDelay
        },
      }),
  },
  {
    name: 'onread-pause-ignored',
    imitates: "what onread's callback returns is not looked at",
    caughtBy: {
      'E1-74': /onread's callback was called although it had paused/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        connectOptions: (options) => {
          const { onread } = options as Options
          if (onread === undefined) return options
          const callback: net.OnReadOpts['callback'] = (...given) => {
            onread.callback(...given)
            return true
          }
          return { ...options, onread: { ...onread, callback } } as net.NetConnectOpts
        },
      }),
  },
  {
    name: 'local-address-ignored',
    imitates: 'a connect without a bind before it',
    caughtBy: {
      'E1-75': /localAddress is not what the peer sees/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        connectOptions: (options) => {
          const { localAddress: _localAddress, ...rest } = options as Options
          return rest as net.NetConnectOpts
        },
      }),
  },
  {
    name: 'timeout-not-validated',
    imitates: 'setTimeout(undefined) is no timeout',
    caughtBy: {
      'E1-78': /Missing expected exception: setTimeout\(-\d+\)/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          const setTimeout = client.setTimeout.bind(client)
          client.setTimeout = (ms, callback) => (ms >= 0 ? setTimeout(ms, callback) : client)
        },
      }),
  },
  {
    name: 'unref-returns-nothing',
    imitates: 'unref() of the handle in place of unref() of the socket',
    caughtBy: {
      'E3-1': /unref\(\) does not return its socket/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: (client) => {
          const unref = client.unref.bind(client)
          client.unref = (() => void unref()) as unknown as typeof client.unref
        },
      }),
  },
  {
    name: 'descriptor-leaked',
    imitates: 'a failed or cancelled connect whose descriptor stays open (M8, monoio fd_leak.rs)',
    caughtBy: {
      'C4-90': /\d+ connections left \d+ descriptors open/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        client: () => {
          const fd = openSync('/dev/null', 'r')
          // Long enough for the check to see it; not for ever, for the sake of the process.
          setTimeout(() => closeSync(fd), 4000).unref()
        },
      }),
  },
]
