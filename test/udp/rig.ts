/**
 * What the UDP tests share: a copy of the package for each driver, sockets of node:dgram as peers, and deadlines. Owns the
 * sockets, and closes them after each test; it decides nothing about what is right.
 */
import { createSocket } from 'node:dgram'
import type { RemoteInfo, Socket } from 'node:dgram'
import { once } from 'node:events'
import type * as core from '../../src/core/index'
import type * as udp from '../../src/udp'
import { within } from '../deadlines'
import { drivers } from '../e2e/subjects'
import type { DriverName } from '../e2e/subjects'

export { drivers }

export type Package = typeof udp & Pick<typeof core, 'connect' | 'listen' | 'Pool'>
export type DatagramSocket = udp.DatagramSocket
export type Datagram = udp.Datagram

/** A copy of the package of its own, on that driver. Throws when the driver cannot run here. */
export function loadUdp(driver: DriverName): Package {
  const before = process.env['URING_NET_DRIVER']
  process.env['URING_NET_DRIVER'] = driver
  let loaded: Package
  try {
    jest.isolateModules(() => {
      /* eslint-disable @typescript-eslint/no-require-imports -- a registry of its own */
      const { connect, listen, Pool } = require('../../src/core/index') as typeof core
      loaded = { ...(require('../../src/udp') as typeof udp), connect, listen, Pool }
      /* eslint-enable @typescript-eslint/no-require-imports */
    })
  } finally {
    if (before === undefined) delete process.env['URING_NET_DRIVER']
    else process.env['URING_NET_DRIVER'] = before
  }
  if (loaded!.driver.name !== driver) throw new Error(`the ${driver} driver does not run here`)
  return loaded!
}

const opened: { close(): unknown }[] = []

/** Closes the socket after the test. */
export function closing<Socket extends { close(): unknown }>(socket: Socket): Socket {
  opened.push(socket)
  return socket
}

/** A test may have closed some itself. */
async function closed(socket: { close(): unknown }): Promise<void> {
  try {
    await socket.close()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SOCKET_DGRAM_NOT_RUNNING') throw error
  }
}

afterEach(async () => {
  await within('close', Promise.all(opened.splice(0).map(closed)))
})

export interface Message {
  bytes: Buffer
  from: RemoteInfo
}

/** A socket of node:dgram, and what it has received. */
export class Peer {
  readonly socket: Socket
  readonly received: Message[] = []
  #onMessage: (() => void) | null = null

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('message', (bytes, from) => {
      this.received.push({ bytes, from })
      this.#onMessage?.()
    })
  }

  get port(): number {
    return this.socket.address().port
  }

  close(): void {
    this.socket.close()
  }

  send(bytes: Uint8Array, port: number, address: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.socket.send(bytes, port, address, (error, sent) =>
        error === null ? resolve(sent) : reject(error),
      )
    })
  }

  /** The next `count` messages. */
  async next(count = 1): Promise<Message[]> {
    const all = new Promise<void>((resolve) => {
      const check = (): void => {
        if (this.received.length >= count) resolve()
      }
      this.#onMessage = check
      check()
    })
    await within(`${count} messages (${this.received.length} have come)`, all)
    return this.received.splice(0, count)
  }
}

export async function makePeer(address: string): Promise<Peer> {
  const socket = createSocket({
    type: address.includes(':') ? 'udp6' : 'udp4',
    recvBufferSize: 1 << 20,
  })
  const peer = closing(new Peer(socket))
  socket.bind(0, address)
  await within('bind', once(socket, 'listening'))
  return peer
}

/** The next datagram of ours. */
export async function receive(socket: DatagramSocket): Promise<Datagram> {
  const datagram = await within('datagram', socket.receive())
  expect(datagram).not.toBeNull()
  return datagram!
}

/** A port that nobody listens on. */
export async function deadPort(address: string): Promise<number> {
  const peer = await makePeer(address)
  const { port } = peer
  const gone = once(peer.socket, 'close')
  peer.close()
  await gone
  return port
}

/** Turns of the event loop until `condition` holds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  let isLate = false
  const wait = async (): Promise<void> => {
    while (!condition() && !isLate) await new Promise((resolve) => setImmediate(resolve))
  }
  try {
    await within(what, wait())
  } finally {
    isLate = true
  }
}
