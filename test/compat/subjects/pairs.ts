/** Connected pairs over loopback. The accepting end is `a`, the one judged, or with `clientIsJudged` the connecting one. */
import { existsSync } from 'node:fs'
import type * as net from 'node:net'
import { join } from 'node:path'
import type { Pair, PairOptions } from '../subject'

type NetModule = Pick<typeof net, 'createServer' | 'connect'>

const smallBytes = 4096

/** The addon's setsockopt(2), which Node does not have; without the addon buffers stay as they are. */
const setBufferBytes = ((): ((fd: number, send: number, receive: number) => number) => {
  for (const up of ['../../..', '../../../..']) {
    const addon = join(__dirname, up, 'native', 'build', 'Release', 'uring_net.node')
    if (!existsSync(addon)) continue
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- a .node file can only be required
    return (require(addon) as { setBufferBytes(fd: number, send: number, receive: number): number })
      .setBufferBytes
  }
  return () => 0
})()

function shrink(holder: unknown): void {
  const { _handle: handle } = holder as { _handle?: { fd?: number } }
  if (handle?.fd !== undefined && handle.fd >= 0) setBufferBytes(handle.fd, smallBytes, smallBytes)
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
): (options?: PairOptions) => Promise<Pair> {
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
        const stop = (): void => {
          // Nobody listens any more: what this leads to is not the check's.
          for (const socket of [a, b]) socket.on('error', () => {}).destroy()
        }
        listener.close()
        resolve({ a, b, stop })
      }
      listener.on('connection', (socket) => {
        accepted = socket
        ready()
      })
      listener.listen(
        path === undefined ? { port: 0, host: '127.0.0.1' } : { path: path() },
        () => {
          if (smallBuffers) shrink(listener)
          const address = listener.address() as net.AddressInfo | string
          const where =
            typeof address === 'string'
              ? { path: address }
              : { port: address.port, host: '127.0.0.1' }
          connected = client.connect({
            ...where,
            allowHalfOpen,
            ...(clientIsJudged ? water : {}),
          } as net.NetConnectOpts)
          connected.on('error', reject)
          connected.on('connect', () => {
            if (smallBuffers) shrink(connected)
            ready()
          })
        },
      )
    })
}
