/**
 * A connected pair for a script: the connecting end from one module, the accepted end from another. Owns the listener until
 * both ends are there; the sockets are the play's.
 */
import type * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setBufferBytes } from '../buffer-bytes'
import type { Script } from './script'

export type NetModule = Pick<typeof net, 'createServer' | 'connect'>

export interface Modules {
  /** Whose sockets connect. */
  client: NetModule
  /** Whose sockets are accepted. */
  server: NetModule
}

const smallBytes = 4096
/** Without Nagle's algorithm nothing waits for a delayed acknowledgement, 40 ms. */
const noDelay = true

function shrink(holder: unknown): void {
  const fd = (holder as { _handle?: { fd?: number } })._handle?.fd ?? -1
  // Not the receive buffer: a window of a few KiB is opened again by a timer of the kernel, 200 ms later.
  if (fd >= 0) setBufferBytes(fd, smallBytes, 0)
}

let lastPath = 0

/** Connects; `onSocket` is told of each end in the tick in which it exists, `onReady` when both are connected. */
export function connectPair(
  modules: Modules,
  { transport, a, b }: Script,
  onSocket: (side: 'a' | 'b', socket: net.Socket) => void,
  onReady: (error?: Error) => void,
): void {
  const listener = modules.server.createServer({ allowHalfOpen: b.allowHalfOpen, noDelay })
  let isConnected = false
  let isAccepted = false
  let connecting: net.Socket | undefined
  const ready = (): void => {
    if (!isConnected || !isAccepted) return
    listener.close()
    // Errors of connecting are the pair's; from here on they are the script's.
    connecting?.off('error', onReady)
    onReady()
  }
  listener.on('error', onReady)
  listener.on('connection', (socket) => {
    isAccepted = true
    onSocket('b', socket)
    ready()
  })
  const onListening = (): void => {
    if (transport === 'small') shrink(listener)
    const address = listener.address() as net.AddressInfo | string
    const socket = modules.client.connect({
      ...(typeof address === 'string'
        ? { path: address }
        : { port: address.port, host: '127.0.0.1' }),
      allowHalfOpen: a.allowHalfOpen,
      noDelay,
    } as net.NetConnectOpts)
    connecting = socket
    socket.once('connect', () => {
      if (transport === 'small') shrink(socket)
      isConnected = true
      ready()
    })
    socket.once('error', onReady)
    onSocket('a', socket)
  }
  if (transport === 'unix') {
    listener.listen(join(tmpdir(), `differential-${process.pid}-${lastPath++}.sock`), onListening)
  } else {
    listener.listen({ port: 0, host: '127.0.0.1' }, onListening)
  }
}
