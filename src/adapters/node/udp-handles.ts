/** Node's native UDP handles, and what dgram.js hangs on them. Seen in Node 20 to 26. It changes nothing in Node. */
import { fromBinding, symbolOf } from './handles'
import type { NodeHandle } from './handles'

/** As far as we call it. */
export interface UdpHandle extends Pick<
  NodeHandle,
  'fd' | 'getAsyncId' | 'close' | 'ref' | 'unref' | 'hasRef'
> {
  recvStart(): number
  recvStop(): number
  open(fd: number): number
  /** dgram.js's. Below 0 the status is -errno, and there are no bytes. */
  onmessage(
    status: number,
    handle: UdpHandle,
    bytes?: Buffer,
    from?: { address: string; family: string; port: number },
  ): void
}

export type UdpClass = new () => UdpHandle

const members = ['recvStart', 'recvStop', 'open', 'close', 'ref', 'unref'] as const

/** The members of UDP handles that a graft stands in front of, as Node has them. */
export interface UdpNatives extends Pick<UdpHandle, (typeof members)[number]> {
  getDescriptor(this: UdpHandle): number
}

/** Throws when this Node lacks it. */
export function findUdp(): { UDP: UdpClass; natives: UdpNatives } {
  const UDP = (fromBinding('udp_wrap', 'UDP') as UdpClass | undefined) ?? classOfSocket()
  const { recvStart, recvStop, open, close, ref, unref } = UDP.prototype as UdpHandle
  const getDescriptor = Object.getOwnPropertyDescriptor(UDP.prototype, 'fd')?.get
  if (getDescriptor === undefined) {
    throw new Error(`Node ${process.version} has UDP handles without fd`)
  }
  const natives = { recvStart, recvStop, open, close, ref, unref, getDescriptor }
  for (const name of members) {
    if (typeof natives[name] !== 'function') {
      throw new Error(`Node ${process.version} has UDP handles without ${name}()`)
    }
  }
  return { UDP, natives }
}

function classOfSocket(): UdpClass {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- it is not loaded for nothing
  const { createSocket } = require('node:dgram') as typeof import('node:dgram')
  const socket = createSocket('udp4') as unknown as Record<symbol, { handle: UdpHandle }>
  const { handle } = socket[symbolOf(socket, 'state symbol')]!
  // It has no descriptor yet, and is closed so that it is not listed as active.
  handle.unref()
  handle.close()
  return handle.constructor as UdpClass
}
