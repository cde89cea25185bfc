/** Faults of servers. Those of clients are in sockets-clients.ts. */
import { writeFileSync } from 'node:fs'
import type * as net from 'node:net'
import type { Fault } from '../fault'
import { clientFaults } from './sockets-clients'
import { onEmit, spoilNet } from './spoil'

type Close = (callback?: (error?: Error) => void) => net.Server

/** Puts `deviate` before the close() of a server. */
function onClose(
  server: net.Server,
  deviate: (close: Close, callback?: (error?: Error) => void) => void,
): void {
  const close = server.close.bind(server)
  server.close = (callback) => {
    deviate(close, callback)
    return server
  }
}

const counted = (server: net.Server): number =>
  (server as unknown as { _connections: number })._connections

const serverFaults: readonly Fault[] = [
  {
    name: 'listening-within-listen',
    imitates: "'listening' before the program could attach its listener",
    caughtBy: {
      'E1-30': /'listening' was emitted within listen\(\)/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          const listen = server.listen.bind(server) as (...given: unknown[]) => net.Server
          server.listen = ((...given: unknown[]) => {
            listen(...given)
            server.emit('listening')
            return server
          }) as typeof server.listen
        },
      }),
  },
  {
    name: 'family-as-number',
    imitates: 'nodejs/node#43014: address().family was 4 in Node 18.0',
    caughtBy: {
      'E1-30': /address\(\)'s family/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          const address = server.address.bind(server)
          server.address = () => {
            const told = address()
            if (told === null || typeof told === 'string') return told
            return { ...told, family: 4 as unknown as string }
          }
        },
      }),
  },
  {
    name: 'local-address-of-the-listener',
    imitates: 'accepted sockets that tell the address listened on and not their own',
    caughtBy: {
      'E1-31': /localAddress of an accepted socket/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          server.prependListener('connection', (socket) => {
            Object.defineProperty(socket, 'localAddress', { value: '0.0.0.0' })
          })
        },
      }),
  },
  {
    name: 'closed-server-accepts',
    imitates: 'close() of the descriptor under a multishot accept: it goes on accepting (M2)',
    caughtBy: {
      'E1-32': /timed out: the end of a connection made after close\(\)/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          onClose(server, (close, callback) => void setTimeout(() => close(callback), 40))
        },
      }),
  },
  {
    name: 'server-close-too-early',
    imitates: "'close' when the listener is gone, with connections still open",
    caughtBy: {
      'E1-32': /'close' came before the last connection had ended/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          onClose(server, (close, callback) => {
            const isEarly = counted(server) > 0 && server.listening
            close(callback)
            if (isEarly) process.nextTick(() => server.emit('close'))
          })
        },
      }),
  },
  {
    name: 'server-close-hangs',
    imitates: "a server closed with open connections never tells 'close'",
    caughtBy: {
      'E1-32': /timed out: 'close' of the server after its last connection/,
      'E1-33': /timed out: 'close' of a server that was closed while clients came/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          let isStuck = false
          onClose(server, (close, callback) => {
            isStuck ||= counted(server) > 0
            close(callback)
          })
          onEmit(server, (name, _values, emit) => (name === 'close' && isStuck ? false : emit()))
        },
      }),
  },
  {
    name: 'connection-lost-at-close',
    imitates: 'monoio#318, tokio-uring#129: a connection accepted while accept is cancelled leaks',
    caughtBy: {
      'E1-32': /a connection after close\(\) was accepted/,
      'E1-33': /timed out: the end of clients that came in the turn of close\(\)/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          let isClosing = false
          onClose(server, (close, callback) => {
            isClosing = server.listening
            setImmediate(() => {
              close(callback)
              isClosing = false
            })
          })
          onEmit(server, (name, _values, emit) =>
            name === 'connection' && isClosing ? false : emit(),
          )
        },
      }),
  },
  {
    name: 'second-listen-ignored',
    imitates: 'listen() of a listening server that quietly does nothing',
    caughtBy: {
      'E1-34': /Missing expected exception: listen\(\) of a listening server/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          const listen = server.listen.bind(server) as (...given: unknown[]) => net.Server
          server.listen = ((...given: unknown[]) =>
            server.listening ? server : listen(...given)) as typeof server.listen
        },
      }),
  },
  {
    name: 'listen-error-without-address',
    imitates: 'a bare errno where Node tells address and port',
    caughtBy: {
      'E1-35': /shape of EADDRINUSE/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          onEmit(server, (name, values, emit) => {
            if (name === 'error') delete (values[0] as { address?: string }).address
            return emit()
          })
        },
      }),
  },
  {
    name: 'max-connections-ignored',
    imitates: 'a server that accepts by itself and does not ask for the limit',
    caughtBy: {
      'E1-36': /timed out: the end of a connection too many/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          Object.defineProperty(server, 'maxConnections', { set() {}, get: () => undefined })
        },
      }),
  },
  {
    name: 'connections-never-uncounted',
    imitates: 'a count that only grows',
    caughtBy: {
      'E1-37': /getConnections\(\) still counts connections that are closed/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          let count = 0
          server.on('connection', () => count++)
          server.getConnections = (callback) => {
            process.nextTick(callback, null, count)
            return server
          }
        },
      }),
  },
  {
    name: 'burst-loses-a-connection',
    imitates: 'a multishot accept that ended in the middle of a burst: one is closed unseen',
    caughtBy: {
      'E1-38': /one of 64 clients was not greeted/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          let count = 0
          onEmit(server, (name, values, emit) => {
            if (name !== 'connection' || ++count !== 20) return emit()
            ;(values[0] as net.Socket).destroy()
            return false
          })
        },
      }),
  },
  {
    name: 'connections-without-ticks',
    imitates: 'all accepted connections of a batch in one callback scope',
    caughtBy: {
      'E2-7': /ticks of one 'connection' ran after the next one's/,
      'C4-18': /timed out: the server's socket to close/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          const batch: (() => void)[] = []
          onEmit(server, (name, _values, emit) => {
            if (name !== 'connection') return emit()
            batch.push(emit)
            if (batch.length === 1) {
              // libuv accepts one in a turn: a batch takes a few of them.
              setTimeout(() => {
                for (const one of batch.splice(0)) one()
              }, 20)
            }
            return true
          })
        },
      }),
  },
  {
    name: 'pause-on-connect-ignored',
    imitates: 'receives armed at accept, whatever pauseOnConnect says',
    caughtBy: {
      'E1-70': /the socket is not paused/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, { serverOptions: (options) => ({ ...options, pauseOnConnect: false }) }),
  },
  {
    name: 'server-half-open-ignored',
    imitates: 'options of the server that do not reach its sockets',
    caughtBy: {
      'E1-71': /a half-open socket has ended by itself/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, { serverOptions: (options) => ({ ...options, allowHalfOpen: false }) }),
  },
  {
    name: 'path-left-behind',
    imitates: 'a Unix listener closed without unlink(2): the next start fails with EADDRINUSE',
    caughtBy: {
      'E1-72': /close\(\) has left the path behind/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          let path: unknown
          server.on('listening', () => void (path = server.address()))
          server.on('close', () => {
            if (typeof path === 'string') writeFileSync(path, '')
          })
        },
      }),
  },
  {
    name: 'listen-signal-ignored',
    imitates: 'an option of listen() that is not passed on',
    caughtBy: {
      'E1-76': /timed out: 'close' after the abort/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          const listen = server.listen.bind(server) as (...given: unknown[]) => net.Server
          server.listen = ((first: unknown, ...rest: unknown[]) => {
            const isObject = typeof first === 'object' && first !== null
            return listen(isObject ? { ...first, signal: undefined } : first, ...rest)
          }) as typeof server.listen
        },
      }),
  },
  {
    name: 'dispose-does-not-close',
    imitates: 'Symbol.asyncDispose that resolves and leaves the port taken',
    caughtBy: {
      'E1-77': /a disposed server is listening/,
    },
    spoil: (oracle) =>
      spoilNet(oracle, {
        server: (server) => {
          const { asyncDispose } = Symbol as { asyncDispose?: symbol }
          if (asyncDispose === undefined) return
          Object.assign(server, { [asyncDispose]: () => Promise.resolve() })
        },
      }),
  },
]

export const socketsFaults: readonly Fault[] = [...serverFaults, ...clientFaults]
