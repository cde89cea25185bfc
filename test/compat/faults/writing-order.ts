/** Faults of W1 to W3: bytes that are lost, doubled, moved or exchanged between write() and the kernel. */
import type { Fault } from '../fault'
import { internals, isBlocked, lengthOf, replaceEnd, replaceWrite, spoiled } from './sends'
import type { Callback, Chunk, Send } from './sends'

type Call = Parameters<Send>

export const orderFaults: readonly Fault[] = [
  {
    name: 'sends-after-would-block',
    imitates: 'poll_write answers Pending and sends nevertheless: h2 offers the frame again',
    caughtBy: { 'W1-1': /bytes repeated/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isAccepted = send(chunk, encoding, callback)
          const isFrame = lengthOf(chunk) > 8500 && lengthOf(chunk) < 9500
          if (!isAccepted && isBlocked(a) && isFrame) send(chunk, encoding)
          return isAccepted
        }),
      ),
  },
  {
    name: 'refused-chunk-dropped-at-end',
    imitates: 'a wrapper that keeps the chunk until drain, and forgets it when the stream ends',
    caughtBy: { 'W1-2': /bytes lost/, 'W4-6': /writableLength leaves out what is queued/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let kept: Call[] = []
        replaceWrite(a, (send) => {
          const release = (): void => {
            const calls = kept
            kept = []
            for (const call of calls) send(...call)
          }
          a.on('drain', release)
          return (...call) => {
            if (lengthOf(call[0]) >= 10 || !isBlocked(a)) {
              release()
              return send(...call)
            }
            kept.push(call)
            setImmediate(release)
            return false
          }
        })
        replaceEnd(a, (end) => (...call) => {
          for (const [, , callback] of kept) setImmediate(() => callback?.())
          kept = []
          return end(...call)
        })
      }),
  },
  {
    name: 'bounded-queue-drops',
    imitates: 'a channel of fixed size between writer and driver, whose try_send is not looked at',
    caughtBy: { 'W1-3': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let waiting = 0
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (waiting >= 1000 && a.writableCorked === 0) {
            setImmediate(() => callback?.())
            return false
          }
          waiting++
          return send(chunk, encoding, (error) => {
            waiting--
            callback?.(error)
          })
        })
      }),
  },
  {
    name: 'refused-chunk-is-sent',
    imitates: 'the argument is converted and queued before it is looked at',
    caughtBy: { 'W1-4': /foreign bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        const base = a.write.bind(a) as (...args: unknown[]) => boolean
        a.write = (...args: unknown[]) => {
          if (typeof args[0] === 'number') base(String(args[0]))
          return base(...args)
        }
      }),
  },
  {
    name: 'writes-reordered',
    imitates: 'two sends in flight on one full socket (io_uring without links)',
    caughtBy: { 'W3-1': /bytes reordered/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let held: Call | undefined
        let count = 0
        replaceWrite(a, (send) => (...call) => {
          const overtaken = held
          held = undefined
          // One in fifty, and only where another write follows in the same tick.
          if (lengthOf(call[0]) === 16 << 10 && ++count % 50 === 0) {
            held = call
            setImmediate(() => {
              if (held === call) send(...call)
              if (held === call) held = undefined
            })
            return false
          }
          const isAccepted = send(...call)
          if (overtaken !== undefined) send(...overtaken)
          return isAccepted
        })
      }),
  },
  {
    name: 'short-send-tail-lost',
    imitates: 'the result of a send taken for success without comparing it with the length',
    caughtBy: { 'W3-2': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(
          a,
          (send) => (chunk, encoding, callback) =>
            send(
              typeof chunk !== 'string' && chunk.length > 900_000
                ? chunk.subarray(0, chunk.length - 777)
                : chunk,
              encoding,
              callback,
            ),
        ),
      ),
  },
  {
    name: 'writev-cut-at-1024',
    imitates: 'more vectors than IOV_MAX handed to writev(2), the rest forgotten',
    caughtBy: { 'W3-3': /bytes lost/, 'W1-3': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        const inner = internals(a)
        const base = inner._writev.bind(a)
        inner._writev = (chunks, callback) => base(chunks.slice(0, 1024), callback)
      }),
  },
  {
    name: 'tiny-write-waits-for-a-flush',
    imitates: 'a BufWriter below the stream: a byte leaves with the next write (tokio, io_uring)',
    caughtBy: {
      'W3-4': /timed out: a single byte/,
      'E1-10': /timed out: data of a after 'timeout'/,
      'E1-11': /'timeout' came although data was being written/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isTiny = lengthOf(chunk) === 1 && callback === undefined
          return isTiny ? true : send(chunk, encoding, callback)
        })
      }),
  },
  {
    name: 'empty-write-blocks-the-queue',
    imitates: 'a send of no bytes that waits for a completion that means progress',
    caughtBy: {
      'W3-5': /timed out: the callback of an empty write/,
      'W4-2': /timed out: a callback for each write/,
    },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isFirst = a.bytesWritten === 0 && a.writableCorked === 0
          return send(chunk, encoding, lengthOf(chunk) === 0 && isFirst ? undefined : callback)
        }),
      ),
  },
  {
    name: 'string-cut-at-its-length',
    imitates: 'str.length used for Buffer.byteLength(str)',
    caughtBy: { 'W3-6': /bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (typeof chunk !== 'string' || chunk.length < 1000) {
            return send(chunk, encoding, callback)
          }
          return send(Buffer.from(chunk, encoding).subarray(0, chunk.length), undefined, callback)
        }),
      ),
  },
  {
    name: 'encoding-ignored',
    imitates: 'strings written as UTF-8 whatever was asked for',
    caughtBy: { 'W3-3': /foreign bytes|bytes lost/, 'W3-7': /the wire: foreign bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isBinary = encoding === 'hex' || encoding === 'base64'
          return send(chunk, isBinary ? 'utf8' : encoding, callback)
        }),
      ),
  },
  {
    name: 'default-encoding-ignored',
    imitates: 'setDefaultEncoding() of a wrapper that does not reach what is wrapped',
    caughtBy: { 'W3-7': /the default encoding: / },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        a.setDefaultEncoding = () => a
      }),
  },
  {
    name: 'uncork-ignores-nesting',
    imitates: 'cork as a flag and not as a count',
    caughtBy: { 'W3-8': /the first of two uncork\(\) sent already/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        const base = a.uncork.bind(a)
        a.uncork = () => {
          while (a.writableCorked > 0) base()
        }
      }),
  },
  {
    name: 'corked-chunk-lost-at-end',
    imitates: 'end() that does not uncork what it ends',
    caughtBy: { 'W3-8': /end\(\) while corked: bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(
          a,
          (send) => (chunk, encoding, callback) =>
            send(
              a.writableCorked > 1 && lengthOf(chunk) === 600 ? new Uint8Array(0) : chunk,
              encoding,
              callback,
            ),
        ),
      ),
  },
  {
    name: 'chunk-of-end-in-utf8',
    imitates: 'end(data, encoding) that hands on the data alone',
    caughtBy: { 'W3-9': /foreign bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceEnd(a, (end) => (chunk, _encoding, callback) => end(chunk, undefined, callback)),
      ),
  },
  {
    name: 'write-in-a-callback-overtakes',
    imitates: 'writes made during a completion that go past the queue',
    caughtBy: { 'W3-10': /bytes reordered/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        let depth = 0
        let held: Call | undefined
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const inCallback: Callback = (error) => {
            depth++
            callback?.(error)
            depth--
          }
          const overtaken = held
          held = undefined
          if (depth > 0 && overtaken === undefined && lengthOf(chunk) === 705) {
            held = [chunk, encoding, inCallback]
            return false
          }
          const isAccepted = send(chunk, encoding, inCallback)
          // Two later: the empty one between them would not tell.
          if (overtaken !== undefined) {
            if (lengthOf(chunk) === 0) held = overtaken
            else send(...overtaken)
          }
          return isAccepted
        })
      }),
  },
  {
    name: 'view-offset-ignored',
    imitates: 'napi_get_typedarray_info: the memory taken without the byte offset',
    caughtBy: { 'W3-11': /bytes repeated|foreign bytes|bytes reordered/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isView = typeof chunk !== 'string' && !Buffer.isBuffer(chunk)
          return send(
            isView ? new Uint8Array(chunk.buffer, 0, chunk.length) : chunk,
            encoding,
            callback,
          )
        }),
      ),
  },
  {
    name: 'send-memory-shared',
    imitates: 'one send buffer for a thread, reused while a send of another socket is in flight',
    caughtBy: { 'W3-12': /foreign bytes/ },
    spoil(oracle) {
      const shared = Buffer.alloc(150_000)
      return spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          if (typeof chunk === 'string' || chunk.length !== shared.length) {
            return send(chunk, encoding, callback)
          }
          shared.set(chunk)
          return send(shared, encoding, callback)
        }),
      )
    },
  },
  {
    name: 'submitted-at-the-end-of-the-tick',
    imitates: 'a ring submitted once a tick, with the caller’s memory in the entries',
    caughtBy: { 'W2-1': /overwritten after write\(\): foreign bytes/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk, encoding, callback) => {
          const isPlain = typeof chunk !== 'string' && !Buffer.isBuffer(chunk)
          if (!isPlain || chunk.length > 9000 || isBlocked(a))
            return send(chunk, encoding, callback)
          a.cork()
          process.nextTick(() => a.uncork())
          return send(chunk, encoding, callback)
        }),
      ),
  },
  {
    name: 'node-net-without-excuse',
    imitates: 'node:net and libuv: the memory of what does not fit at once is read when it does',
    caughtBy: {
      'W2-2': /overwritten after write\(\), large: foreign bytes/,
      'W2-3': /overwritten after write\(\), queued: foreign bytes/,
      'W2-4': /overwritten after write\(\), corked: foreign bytes/,
      'W2-7': /overwritten after write\(\), connecting: foreign bytes/,
      'W2-8': /overwritten after end\(\): foreign bytes/,
    },
    // Nothing is spoiled. The oracle is excused from these, and here it says that it copies.
    spoil: (oracle) => ({
      ...oracle,
      capabilities: { ...oracle.capabilities, copies: true },
      knownFailures: {},
    }),
  },
  {
    name: 'rest-read-through-the-view',
    imitates: 'the rest of a short send found again by the caller’s view, which may be detached',
    caughtBy: { 'W2-5': /a transferred chunk: bytes lost/ },
    spoil: (oracle) =>
      spoiled(oracle, (a) => {
        const inner = internals(a)
        const base = inner._write.bind(a)
        inner._write = (chunk, encoding, callback) => {
          const first = 64 << 10
          if (typeof chunk === 'string' || chunk.length !== 400_000) {
            base(chunk, encoding, callback)
            return
          }
          base(chunk.subarray(0, first), encoding, (error) => {
            setImmediate(() => {
              if (error) callback(error)
              else if (chunk.length === 0) base(chunk, encoding, callback)
              else base(chunk.subarray(first), encoding, callback)
            })
          })
        }
      }),
  },
  {
    name: 'memory-freed-with-the-chunk',
    imitates: 'a pointer kept and no reference: the collector frees what the kernel will read',
    caughtBy: { 'W2-6': /chunks after a collection: foreign bytes/ },
    spoil(oracle) {
      const registry = new FinalizationRegistry<Buffer>((memory) => memory.fill(0))
      return spoiled(oracle, (a) =>
        replaceWrite(a, (send) => (chunk: Chunk, encoding, callback) => {
          if (typeof chunk === 'string' || chunk.length !== 8000) {
            return send(chunk, encoding, callback)
          }
          const memory = Buffer.from(chunk)
          registry.register(chunk, memory)
          return send(memory, encoding, callback)
        }),
      )
    },
  },
]
