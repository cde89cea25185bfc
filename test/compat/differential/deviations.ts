/**
 * Known-bad net modules: node:net with one deviation each, named for what goes wrong. They test the differential runs,
 * which have to find each; nothing else uses them.
 */
import * as nodeNet from 'node:net'
import type { NetModule } from './connect'

type Socket = nodeNet.Socket
type Write = (
  chunk: Buffer | string,
  encoding: BufferEncoding,
  callback: (error?: Error | null) => void,
) => void

/** The members of a socket that streams call, and that are replaced here. */
interface Inner {
  _write: Write
  _writev: unknown
  _final: (callback: (error?: Error | null) => void) => void
}

function inner(socket: Socket): Inner {
  return socket as unknown as Inner
}

function moduleWith(spoil: (socket: Socket) => void): NetModule {
  return {
    createServer: ((...args: Parameters<typeof nodeNet.createServer>) => {
      const server = nodeNet.createServer(...args)
      server.prependListener('connection', spoil)
      return server
    }) as typeof nodeNet.createServer,
    connect: ((options: nodeNet.NetConnectOpts) => {
      const socket = nodeNet.connect(options)
      spoil(socket)
      return socket
    }) as typeof nodeNet.connect,
  }
}

/** Replaces how chunks are written; without _writev they come one by one. */
function writing(socket: Socket, write: (original: Write) => Write): void {
  const original = inner(socket)._write.bind(socket)
  inner(socket)._writev = undefined
  inner(socket)._write = write(original)
}

/** Sees each event before its listeners; answering false keeps it from them. */
function emitting(
  socket: Socket,
  see: (name: string | symbol, args: unknown[], emit: Socket['emit']) => boolean,
): void {
  const emit = socket.emit.bind(socket) as Socket['emit']
  socket.emit = ((name: string, ...args: unknown[]) =>
    see(name, args, emit) && emit(name, ...args)) as Socket['emit']
}

/** What streams give in the place of an encoding with bytes. */
const asBytes = 'buffer' as BufferEncoding

function asBuffer(chunk: Buffer | string, encoding: BufferEncoding): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}

export const deviations: Readonly<Record<string, NetModule>> = {
  'FIN overtakes data': moduleWith((socket) => {
    writing(socket, (write) => (chunk, encoding, callback) => {
      const late = Buffer.from(asBuffer(chunk, encoding))
      callback()
      setImmediate(() => write(late, asBytes, () => {}))
    })
  }),
  'a callback comes twice': moduleWith((socket) => {
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
    let count = 0
    socket.write = ((...args: unknown[]) => {
      const last = args.at(-1)
      if (typeof last !== 'function' || ++count % 3 !== 0) return write(...args)
      return write(...args.slice(0, -1), (error?: Error) => {
        last(error)
        last(error)
      })
    }) as Socket['write']
  }),
  'a callback comes inside write()': moduleWith((socket) => {
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
    socket.write = ((...args: unknown[]) => {
      const last = args.at(-1)
      const length = (args[0] as Buffer).length
      if (typeof last !== 'function' || length > 100 || !socket.writable) return write(...args)
      const mayGoOn = write(...args.slice(0, -1))
      last()
      return mayGoOn
    }) as Socket['write']
  }),
  'the tail of a long write is lost': moduleWith((socket) => {
    writing(socket, (write) => (chunk, encoding, callback) => {
      const bytes = asBuffer(chunk, encoding)
      write(bytes.length > 65_536 ? bytes.subarray(0, -7) : bytes, asBytes, callback)
    })
  }),
  'no snapshot of what is written': moduleWith((socket) => {
    writing(socket, (write) => (chunk, encoding, callback) => {
      setImmediate(() => write(chunk, encoding, callback))
    })
  }),
  'writes made in one go change places': moduleWith((socket) => {
    const corked = socket.uncork.bind(socket)
    socket.uncork = () => {
      const { _writableState: state } = socket as unknown as {
        _writableState: { buffered?: unknown[] }
      }
      if ((state.buffered?.length ?? 0) > 1) state.buffered!.reverse()
      corked()
    }
  }),
  'close comes before end': moduleWith((socket) => {
    let isHeld = false
    emitting(socket, (name, args, emit) => {
      if (name === 'end') {
        isHeld = true
        return false
      }
      if (name !== 'close' || !isHeld) return true
      emit('close', ...args)
      emit('end')
      return false
    })
  }),
  'the end is not told': moduleWith((socket) => {
    let hasData = false
    emitting(socket, (name) => {
      if (name === 'data') hasData = true
      // Only of a stream that carried something.
      return name !== 'end' || !hasData
    })
  }),
  'an error has another code': moduleWith((socket) => {
    emitting(socket, (name, args) => {
      const [error] = args as [NodeJS.ErrnoException | undefined]
      if (name === 'error' && error?.code === 'ECONNRESET') error.code = 'EPIPE'
      return true
    })
  }),
  'an error is swallowed': moduleWith((socket) => {
    emitting(socket, (name) => name !== 'error')
  }),
  'hadError is always false': moduleWith((socket) => {
    emitting(socket, (name, args) => {
      if (name === 'close') args[0] = false
      return true
    })
  }),
  'bytesWritten counts characters': moduleWith((socket) => {
    let excess = 0
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
    socket.write = ((...args: unknown[]) => {
      const [chunk, encoding] = args
      if (typeof chunk === 'string') {
        excess += Buffer.byteLength(chunk, encoding as BufferEncoding) - chunk.length
      }
      return write(...args)
    }) as Socket['write']
    const { get } = Object.getOwnPropertyDescriptor(nodeNet.Socket.prototype, 'bytesWritten')!
    Object.defineProperty(socket, 'bytesWritten', {
      get: () => (get!.call(socket) as number) - excess,
    })
  }),
  'bytesRead is forgotten at close': moduleWith((socket) => {
    const { get } = Object.getOwnPropertyDescriptor(nodeNet.Socket.prototype, 'bytesRead')!
    Object.defineProperty(socket, 'bytesRead', {
      get: () => (socket.closed ? 0 : (get!.call(socket) as number)),
    })
  }),
  'callbacks are forgotten at destroy': moduleWith((socket) => {
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
    socket.write = ((...args: unknown[]) => {
      const last = args.at(-1)
      if (typeof last !== 'function') return write(...args)
      return write(...args.slice(0, -1), (error?: Error) => {
        if (!socket.destroyed || error === undefined) last(error)
      })
    }) as Socket['write']
  }),
  'a reset is an orderly end': moduleWith((socket) => {
    socket.resetAndDestroy = () => socket.destroy()
  }),
  'data comes while paused': moduleWith((socket) => {
    const pause = socket.pause.bind(socket)
    socket.pause = () => {
      pause()
      const isPaused = socket.isPaused.bind(socket)
      setImmediate(() => {
        if (!isPaused() || socket.destroyed) return
        // What a chunk that was on its way does when nobody asks whether it is still wanted.
        socket.read()
      })
      return socket
    }
  }),
  'bytes are lost between pause and resume': moduleWith((socket) => {
    const resume = socket.resume.bind(socket)
    socket.resume = () => {
      if (socket.isPaused() && socket.readableLength > 0) {
        const { _readableState: state } = socket as unknown as {
          _readableState: { flowing: boolean | null }
        }
        const { emit } = socket
        const bound = emit.bind(socket) as (name: string, ...args: unknown[]) => boolean
        socket.emit = ((name: string, ...args: unknown[]) =>
          name === 'data' || bound(name, ...args)) as Socket['emit']
        socket.read()
        socket.emit = emit
        state.flowing = false
      }
      return resume()
    }
  }),
  'corked bytes are lost at end': moduleWith((socket) => {
    const end = socket.end.bind(socket) as (...args: unknown[]) => Socket
    socket.end = ((...args: unknown[]) => {
      const isCorked = socket.writableCorked > 0
      if (!isCorked) return end(...args)
      writing(socket, () => (_chunk, _encoding, callback) => process.nextTick(callback))
      return end(...args)
    }) as Socket['end']
  }),
  'written bytes are lost at destroy': moduleWith((socket) => {
    let waiting: (() => void)[] = []
    writing(socket, (write) => (chunk, encoding, callback) => {
      const bytes = Buffer.from(asBuffer(chunk, encoding))
      // Handed over at the end of the tick, if it is still there then.
      waiting.push(() => (socket.destroyed ? callback() : write(bytes, asBytes, callback)))
      if (waiting.length > 1) return
      process.nextTick(() => {
        const due = waiting
        waiting = []
        for (const go of due) go()
      })
    })
  }),
  'half-open connections are closed': moduleWith((socket) => {
    socket.on('end', () => socket.end())
  }),
  'connections stay half-open': moduleWith((socket) => {
    socket.allowHalfOpen = true
  }),
  'a write after the end passes': moduleWith((socket) => {
    const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
    socket.write = ((...args: unknown[]) => {
      const last = args.at(-1)
      if (!socket.writableEnded || typeof last !== 'function') return write(...args)
      process.nextTick(last)
      return true
    }) as Socket['write']
  }),
  'characters are cut at chunks': moduleWith((socket) => {
    socket.setEncoding = (encoding) => {
      const push = socket.push.bind(socket)
      socket.push = (chunk: Buffer | null) =>
        push(chunk === null ? null : Buffer.from(chunk.toString(encoding), encoding))
      return nodeNet.Socket.prototype.setEncoding.call(socket, encoding)
    }
  }),
  'timeouts are not told': moduleWith((socket) => {
    emitting(socket, (name) => name !== 'timeout')
  }),
  "'drain' is not told": moduleWith((socket) => {
    emitting(socket, (name) => name !== 'drain')
  }),
}
