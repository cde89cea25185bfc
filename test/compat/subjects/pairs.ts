/**
 * Connected pairs over loopback. The accepting end is `a`, the one judged, or with `clientIsJudged` the connecting one.
 * Owns no listener beyond the connection it was made for.
 */
import type * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setBufferBytes } from '../buffer-bytes'
import type { Pair, PairOptions } from '../subject'

export type NetModule = Pick<typeof net, 'createServer' | 'connect'>
export type MakePair = (options?: PairOptions) => Promise<Pair>

/**
 * A connection with these is full after about 140 KB, and still moves at full speed: with a smaller receive buffer the
 * kernel waits for a delayed acknowledgement (40 ms) or for the probe of a closed window (200 ms) with every few KiB.
 */
const small = { sendBytes: 4096, receiveBytes: 32_768 }

export function shrink(fd: number | undefined): void {
  if (fd !== undefined && fd >= 0) setBufferBytes(fd, small.sendBytes, small.receiveBytes)
}

/** The descriptor below a socket or a server, where it tells. */
export function fdOf(holder: unknown): number | undefined {
  return (holder as { _handle?: { fd?: number } | null })._handle?.fd
}

let paths = 0

/** Another one each time, short enough for sun_path, unix(7). */
export function freshPath(): string {
  return join(tmpdir(), `uring-net-${process.pid}-${++paths}.sock`)
}

/** Ends streams that nobody listens to any more: what this leads to is not the check's. */
export function destroyAll(...streams: Duplex[]): void {
  for (const stream of streams) stream.on('error', () => {}).destroy()
}

/** Memory that is nobody else's: Buffer.from() would share a slab. */
export function copyOf(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  copy.set(bytes)
  return copy
}

export interface PairsOptions {
  clientIsJudged?: boolean
  /** A Unix socket in place of TCP on 127.0.0.1. */
  path?: () => string
}

/** Makes pairs whose accepting end is `server`'s and whose connecting end is `client`'s. */
export function tcpPairs(
  server: NetModule,
  client: NetModule,
  { clientIsJudged = false, path }: PairsOptions = {},
): MakePair {
  return ({ allowHalfOpen = true, highWaterMark, smallBuffers = false } = {}) =>
    new Promise((resolve, reject) => {
      const water = highWaterMark === undefined ? {} : { highWaterMark }
      const listener = server.createServer({
        allowHalfOpen,
        ...(clientIsJudged ? {} : water),
      } as net.ServerOpts)
      listener.on('error', reject)
      let accepted: net.Socket | undefined
      let connected: net.Socket | undefined
      const ready = (): void => {
        if (accepted === undefined || connected === undefined || connected.connecting) return
        connected.off('error', reject)
        const [a, b] = clientIsJudged ? [connected, accepted] : [accepted, connected]
        listener.close()
        resolve({ a, b, stop: () => destroyAll(a, b) })
      }
      listener.on('connection', (socket) => {
        accepted = socket
        ready()
      })
      listener.listen(
        path === undefined ? { port: 0, host: '127.0.0.1' } : { path: path() },
        () => {
          // Accepted sockets inherit them, before the first window is announced.
          if (smallBuffers) shrink(fdOf(listener))
          connected = client.connect({
            ...whereTo(listener),
            allowHalfOpen,
            ...(clientIsJudged ? water : {}),
          } as net.NetConnectOpts)
          connected.on('error', reject)
          connected.on('connect', () => {
            if (smallBuffers) shrink(fdOf(connected))
            ready()
          })
        },
      )
    })
}

function whereTo(listener: net.Server): net.NetConnectOpts {
  const address = listener.address() as net.AddressInfo | string
  return typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' }
}
