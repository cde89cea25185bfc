/** Faults of what connections share and chunks are made of: pools of buffers, batches, memory that is used again. */
import type { Socket } from 'node:net'
import type { Fault } from '../fault'
import { onEmit, onPush, spoilPairs } from './spoil'

export const sharedFaults: readonly Fault[] = [
  {
    name: 'unbounded-receive',
    imitates: "compio's multishot results queue in a VecDeque without bound",
    caughtBy: {
      'R2-1': /a consumer that does not read has \d+ bytes kept for it/,
      'R2-2': /a consumer that does not read has \d+ bytes kept for it/,
      'R2-3': /highWaterMark \d+ and \d+ bytes kept/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          push(chunk)
          return true
        })
      }),
  },
  {
    name: 'buffer-of-another-connection',
    imitates: 'a late completion that hits a slot used again (tokio#8112)',
    caughtBy: {
      'R1-30': /one of 64 bursting connections: foreign bytes/,
      'R1-31': /one of 64 ending connections: foreign bytes/,
    },
    spoil: (oracle) => {
      let last: Buffer | undefined
      return spoilPairs(oracle, (a, _b, open) => {
        onPush(a, (chunk, push) => {
          if (chunk === null || open.size < 64) return push(chunk)
          const [tenth, eleventh] = [...open].slice(10, 12)
          if (a === tenth) last = Buffer.from(chunk)
          return push(a === eleventh && last?.length === chunk.length ? last : chunk)
        })
      })
    },
  },
  {
    name: 'end-lost-after-enobufs',
    imitates:
      'a multishot receive that ended with ENOBUFS at the end of stream is not armed again (M14)',
    caughtBy: {
      'R1-31': /timed out: the 'end' of 64 bursting connections/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a, _b, open) => {
        onPush(a, (chunk, push) => {
          const isIt = chunk === null && open.size >= 64 && [...open][40] === a
          return isIt ? false : push(chunk)
        })
      }),
  },
  {
    name: 'stuck-consumers-starve-others',
    imitates: 'a shared pool of receive buffers held by those who do not read (liburing#778)',
    caughtBy: {
      'R2-4': /timed out: the bytes of connections beside two that are stuck/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a, _b, open) => {
        const isStuck = (other: Socket): boolean =>
          other !== a && other.readableLength >= other.readableHighWaterMark
        onPush(a, (chunk, push) =>
          chunk !== null && [...open].filter(isStuck).length >= 2 ? true : push(chunk),
        )
      }),
  },
  {
    name: 'pool-never-refilled',
    imitates:
      'buffers lent to the program do not come back while it keeps them (completion-anchors 50)',
    caughtBy: {
      'R2-1': /timed out: all data once the consumer reads/,
      'R2-2': /timed out: all data once the consumer reads/,
      'R2-5': /timed out: data whose chunks are all kept/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) =>
          chunk !== null && a.bytesRead > 3_000_000 ? false : push(chunk),
        )
      }),
  },
  {
    name: 'chunk-memory-reused',
    imitates: 'one receive buffer for all chunks, handed out without a copy',
    caughtBy: {
      'R3-1': /a kept chunk has changed: bytes lost/,
      'R2-5': /chunks that are all kept: bytes lost/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        const scratch = Buffer.alloc(65_536)
        onEmit(a, (name, values, emit) => {
          const [chunk] = values
          if (name === 'data' && Buffer.isBuffer(chunk) && chunk.length <= scratch.length) {
            chunk.copy(scratch)
            values[0] = scratch.subarray(0, chunk.length)
          }
          return emit()
        })
      }),
  },
  {
    name: 'buffer-given-back-too-early',
    imitates:
      'a provided buffer returned to its ring when the listener returns, while the program has it',
    caughtBy: {
      'R3-2': /writing into a chunk changed a later one: foreign bytes/,
      'R1-54': /the request through the proxy: bytes lost/,
    },
    spoil: (oracle) =>
      spoilPairs(oracle, (a) => {
        let delivered: Buffer | undefined
        onEmit(a, (name, values, emit) => {
          if (name === 'data' && Buffer.isBuffer(values[0])) delivered = values[0]
          return emit()
        })
        onPush(a, (chunk, push) => {
          const memory = delivered
          const isFit = chunk !== null && a.isPaused() && chunk.length === memory?.length
          if (!isFit || memory === undefined) return push(chunk)
          delivered = undefined
          chunk.copy(memory)
          return push(memory)
        })
      }),
  },
  {
    name: 'chunks-share-a-slab',
    imitates: 'small chunks of all connections are slices of one ArrayBuffer',
    caughtBy: {
      'R3-3': /timed out: data of both connections after a transfer/,
      'R3-4': /the memory behind a chunk shows bytes of another connection/,
    },
    spoil: (oracle) => {
      let slab = new ArrayBuffer(0)
      let used = 0
      return spoilPairs(oracle, (a) => {
        onPush(a, (chunk, push) => {
          if (chunk === null || chunk.length > 4096) return push(chunk)
          // Also when it was transferred away: its length is 0 then.
          if (used + chunk.length > slab.byteLength) {
            slab = new ArrayBuffer(65_536)
            used = 0
          }
          const slice = Buffer.from(slab, used, chunk.length)
          used += chunk.length
          chunk.copy(slice)
          return push(slice)
        })
      })
    },
  },
]
