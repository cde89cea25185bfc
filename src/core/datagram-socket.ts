/**
 * UDP sockets of the ownership API: datagrams are pulled, each in a lease, and sent from leases or from copies. Owns the checks
 * of what it is given, and the socket, which is closed when nobody holds it any more.
 */
import { isIP } from 'node:net'
import { requireDriver } from './active'
import { SocketOption } from './binding'
import type { SocketName } from './binding'
import { requireValid, watch } from './cancellation'
import type { Cancellable } from './cancellation'
import type { Completion } from './completion'
import { DatagramSending } from './datagram-sending'
import { Datagram, Datagrams } from './datagrams'
import type { Waiter } from './datagrams'
import type { Driver } from './driver'
import { UringError, invalidArgument, outOfRange, systemError } from './errors'
import type { Peer } from './peers'
import { requireNet } from './permission'
import type { Sendable } from './sending'

export { Datagram } from './datagrams'

/** Where to bind, and how. */
export interface BindOptions {
  /** Default 0: any free one. */
  port?: number | undefined
  /** An IP address, which also decides the family. Default '::', for IPv6 and IPv4. */
  address?: string | undefined
  /** Others may bind the same port, and one of them gets what arrives (SO_REUSEADDR, socket(7)). For multicast. */
  reuseAddress?: boolean | undefined
  /** Others may bind the same port, and they share what arrives (SO_REUSEPORT, socket(7)). */
  reusePort?: boolean | undefined
  /** On '::', not IPv4 (IPV6_V6ONLY, ipv6(7)). */
  ipv6Only?: boolean | undefined
  /** Bytes of the kernel's buffers, which doubles what it is told (SO_RCVBUF and SO_SNDBUF, socket(7)). */
  receiveBufferSize?: number | undefined
  /**
   * The kernel may join datagrams that one sender has sent in a row, of one size but for the last, into one lease (UDP_GRO,
   * Linux 5.0): see Datagram.segmentSize. ENOPROTOOPT where it cannot.
   */
  coalesce?: boolean | undefined
  /** As receiveBufferSize, for what is sent. */
  sendBufferSize?: number | undefined
  /** One that is aborted already refuses the call. */
  signal?: AbortSignal | undefined
}

/** Where a datagram goes to: an IP address of the socket's family (IPv4 also from a socket on '::'). */
export interface Destination {
  /** An IP address. */
  address: string
  /** 1 to 65535. */
  port: number
}

/** Of a send: where to, unless the socket is connected. */
export interface SendOptions extends Cancellable {
  /** An IP address of the socket's family. */
  address?: string | undefined
  /** 1 to 65535. */
  port?: number | undefined
  /**
   * Cuts the bytes into datagrams of this size, the last one perhaps shorter, which the kernel carries as one for as long as it
   * can (UDP_SEGMENT, udp(7), Linux 4.18). 0, the default: it is one datagram. At most 64 datagrams and 65,507 bytes, none larger than the route takes
   * without fragments, or the completion has the kernel's EINVAL or EMSGSIZE and nothing was sent.
   */
  segmentSize?: number | undefined
}

const segmentSizeMax = 65507

const noOptions: SendOptions = {}
const ended: IteratorReturnResult<undefined> = { done: true, value: undefined }

const bindReusePort = 2
const bindReuseAddress = 4

const abandoned = new FinalizationRegistry<Datagrams>((datagrams) => {
  if (!datagrams.isClosing) datagrams.close(() => {})
})

/**
 * A UDP socket. Datagrams come in leases, one each, with where they are from; sends leave together. Everything is the
 * caller's to pull: nothing is read for a socket that nobody receives from, beyond a bound.
 */
export class DatagramSocket {
  readonly #datagrams: Datagrams
  readonly #family: 'inet' | 'inet6'
  #closing: Promise<void> | null = null

  /** @internal Takes over endpoint `id`. */
  constructor(driver: Driver, id: number, family: 'inet' | 'inet6') {
    this.#datagrams = new Datagrams(driver, id)
    this.#family = family
    abandoned.register(this, this.#datagrams, this)
  }

  // --- receiving ----------------------------------------------------------------------------------

  /**
   * The next datagram, or null once the socket is closed. Rejects with the system error when one was reported (ECONNREFUSED: the
   * connected peer has no socket), and the socket goes on; with the signal's reason or ETIMEDOUT when cancelled, and what arrives
   * later is the next receive's. One at a time: ERR_URING_RECEIVE_PENDING. While 512 leases of this socket exist it waits for one
   * to come back.
   */
  receive(options: Cancellable = noOptions): Promise<Datagram | null> {
    return new Promise((resolve, reject) => this.#receive(options, resolve, reject))
  }

  #receive(
    options: Cancellable,
    onDatagram: (datagram: Datagram | null) => void,
    onError: (error: Error) => void,
  ): void {
    const datagrams = this.#datagrams
    requireValid(options)
    requireNoReceiver(datagrams)
    if (options.signal === undefined && options.timeout === undefined) {
      return datagrams.wait({ onDatagram, onError, socket: this })
    }
    const unwatch = watch(options, 'recvmsg', (reason) => {
      datagrams.unwait()
      onError(reason)
    })
    datagrams.wait({
      socket: this,
      onDatagram: (datagram) => {
        unwatch()
        onDatagram(datagram)
      },
      onError: (error) => {
        unwatch()
        onError(error)
      },
    })
  }

  /**
   * Datagrams until the socket is closed. Leaving the loop early closes it (C3). An error ends the loop, not the socket: another
   * loop may go on.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Datagram> {
    return new Iterator(this, this.#datagrams)
  }

  // --- sending ------------------------------------------------------------------------------------

  /**
   * Sends one datagram: all of a lease's bytes without copying them, or a copy of the bytes of any ArrayBufferView, or several of
   * these in an array. It goes to `address` and `port` (those of a Datagram answer it), or where the socket is connected. Never
   * rejects for what the network does: see Connection.send. Several may be in flight; they leave in the order of the calls, and
   * those of one turn of the event loop are handed over together. While 1024 are in flight more are refused with ENOBUFS.
   */
  send<Bytes extends Sendable | readonly Sendable[]>(
    bytes: Bytes,
    options: SendOptions | Datagram = noOptions,
  ): Promise<Completion<Bytes>> {
    return new Promise((resolve) => {
      this.#requireOpen()
      const peer = this.#destination(options)
      const segment = requireSegment(options.segmentSize)
      const sending = new DatagramSending(bytes, peer, segment, this.#datagrams, resolve)
      sending.start()
      if (options instanceof Datagram || options === noOptions) return
      sending.watch(options)
    })
  }

  #destination(options: SendOptions | Datagram): Peer | null {
    if (options === noOptions) return null
    if (typeof options !== 'object' || options === null) {
      throw invalidArgument('options', 'an object with an address and a port', options)
    }
    const sender = Datagram.peerOf(options)
    if (sender !== undefined && (sender.family === 'IPv4') === (this.#family === 'inet'))
      return sender
    if (sender === undefined) requireValid(options as SendOptions)
    const { address, port } = options
    if (address === undefined && port === undefined) return null
    return this.#peer(address, port)
  }

  #peer(address: unknown, port: unknown): Peer {
    const { peers } = this.#datagrams
    const known = peers.known(address, port)
    if (known !== undefined) return known
    requirePort(port, 1)
    const literal = this.#literal('address', address)
    const peer = peers.name(this.#family, address as string, literal, port)
    // No interface has that %zone.
    if (typeof peer === 'number') throw systemError(peer, 'send', literal, port)
    return peer
  }

  /** An address as the socket's family has it. */
  #literal(name: string, address: unknown): string {
    if (typeof address !== 'string') throw invalidArgument(name, 'an IP address', address)
    const family = isIP(address)
    if (family === 4 && this.#family === 'inet6') return `::ffff:${address}`
    if (family !== (this.#family === 'inet' ? 4 : 6)) {
      const wanted = this.#family === 'inet' ? 'an IPv4' : 'an IP'
      throw invalidValue(`${name} must be ${wanted} address. Received '${address}'`)
    }
    return address
  }

  // --- names, options, groups ---------------------------------------------------------------------

  /**
   * From now on only this peer's datagrams arrive, errors of its host are told, and send() needs no address (connect(2) of
   * udp(7)). Another connect changes the peer.
   */
  connect({
    address,
    port,
    signal,
  }: Destination & { signal?: AbortSignal | undefined }): Promise<void> {
    return new Promise((resolve) => {
      this.#requireOpen()
      signal?.throwIfAborted()
      requirePort(port, 1)
      const literal = this.#literal('address', address)
      requireNet()
      const { driver, id } = this.#datagrams
      const status = driver.native.connectDatagram(id, literal, port)
      if (status < 0) throw systemError(status, 'connect', address, port)
      resolve()
    })
  }

  /** Ends what connect() began. */
  disconnect(): void {
    this.#requireOpen()
    const { driver, id } = this.#datagrams
    this.#check(driver.native.connectDatagram(id, '', 0), 'connect')
  }

  /** The address that it is bound to; undefined after close. */
  get localName(): SocketName | undefined {
    return this.#name(0)
  }

  /** The address that it is connected to, if it is. */
  get remoteName(): SocketName | undefined {
    return this.#name(1)
  }

  #name(peer: number): SocketName | undefined {
    if (this.#closing !== null) return undefined
    const out: Partial<SocketName> = {}
    const { driver, id } = this.#datagrams
    return driver.native.name(id, peer, out) === 0 ? (out as SocketName) : undefined
  }

  /** Hops of what is sent to one host: 1 to 255. */
  setTTL(hops: number): void {
    this.#setHops(SocketOption.timeToLive, hops, 1)
  }

  /** Hops of what is sent to a group: 0 to 255. 1 at first: it does not leave the network. */
  setMulticastTTL(hops: number): void {
    this.#setHops(SocketOption.multicastTimeToLive, hops, 0)
  }

  /** Whether members on this host get what is sent to a group; true at first. */
  setMulticastLoopback(on: boolean): void {
    this.#setOption(SocketOption.multicastLoopback, on ? 1 : 0)
  }

  /** Whether datagrams may be sent to a broadcast address; false at first. */
  setBroadcast(on: boolean): void {
    this.#setOption(SocketOption.broadcast, on ? 1 : 0)
  }

  #setHops(option: number, hops: number, min: number): void {
    if (!Number.isInteger(hops) || hops < min || hops > 255) {
      throw outOfRange(`hops are ${min} to 255. Received ${hops}`)
    }
    this.#setOption(option, hops)
  }

  #setOption(option: number, value: number): void {
    this.#requireOpen()
    const { driver, id } = this.#datagrams
    this.#check(driver.native.setOption(id, option, value), 'setsockopt')
  }

  /** The interface that multicasts leave by, by an address of it (IPv6: by its zone, '::%eth0'). */
  setMulticastInterface(networkInterface: string): void {
    this.#requireOpen()
    const literal = this.#literal('networkInterface', networkInterface)
    const { driver, id } = this.#datagrams
    this.#check(driver.native.multicastInterface(id, literal), 'setsockopt')
  }

  /** Receives what is sent to a group, on one interface (as setMulticastInterface has it) or on one of the kernel's choice. */
  joinGroup(group: string, networkInterface?: string): void {
    this.#setMembership(group, networkInterface, 1)
  }

  /** The opposite of joinGroup, with the same arguments. */
  leaveGroup(group: string, networkInterface?: string): void {
    this.#setMembership(group, networkInterface, 0)
  }

  #setMembership(group: string, networkInterface: string | undefined, join: number): void {
    this.#requireOpen()
    const literal = this.#literal('group', group)
    const on =
      networkInterface === undefined ? '' : this.#literal('networkInterface', networkInterface)
    const { driver, id } = this.#datagrams
    this.#check(driver.native.membership(id, literal, on, join), 'setsockopt')
  }

  #check(status: number, syscall: string): void {
    if (status < 0) throw systemError(status, syscall)
  }

  /** Whether a receive that waits keeps the event loop alive; true at first. */
  setRef(on: boolean): void {
    this.#datagrams.setRef(on)
  }

  // --- closing ------------------------------------------------------------------------------------

  /**
   * Closes. Sends that were started get one attempt; a receive that waits gets null. Resolves when the kernel holds nothing any
   * more. May be called again.
   */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      abandoned.unregister(this)
      this.#datagrams.close(resolve)
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Starts the close without waiting for it. */
  [Symbol.dispose](): void {
    void this.close()
  }

  #requireOpen(): void {
    if (this.#closing !== null) throw new UringError('ERR_URING_CLOSED', 'the socket is closed')
  }
}

function requireNoReceiver(datagrams: Datagrams): void {
  if (datagrams.isWaitedFor) {
    throw new UringError('ERR_URING_RECEIVE_PENDING', 'a receive() is waiting already')
  }
}

/** Of one loop at a time. Makes no more objects for a datagram than it has to. */
class Iterator implements AsyncIterableIterator<Datagram>, Waiter {
  readonly socket: DatagramSocket
  readonly #datagrams: Datagrams
  #resolve!: (result: IteratorResult<Datagram>) => void
  #reject!: (error: Error) => void
  readonly #start = (
    resolve: (result: IteratorResult<Datagram>) => void,
    reject: (error: Error) => void,
  ): void => {
    requireNoReceiver(this.#datagrams)
    this.#resolve = resolve
    this.#reject = reject
    this.#datagrams.wait(this)
  }

  constructor(socket: DatagramSocket, datagrams: Datagrams) {
    this.socket = socket
    this.#datagrams = datagrams
  }

  next(): Promise<IteratorResult<Datagram>> {
    return new Promise(this.#start)
  }

  onDatagram(datagram: Datagram | null): void {
    this.#resolve(datagram === null ? ended : { done: false, value: datagram })
  }

  onError(error: Error): void {
    this.#reject(error)
  }

  async return(): Promise<IteratorResult<Datagram>> {
    await this.socket.close()
    return ended
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

/**
 * A UDP socket. Rejects with Node's error (code, errno, syscall, address, port); with ERR_INVALID_ARG_TYPE,
 * ERR_INVALID_ARG_VALUE, ERR_SOCKET_BAD_PORT or ERR_OUT_OF_RANGE for bad options.
 */
export function bind(options: BindOptions = {}): Promise<DatagramSocket> {
  return new Promise((resolve) => resolve(bindNow(options)))
}

function bindNow(options: BindOptions): DatagramSocket {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object', options)
  }
  const { port = 0, address = '::', receiveBufferSize, sendBufferSize, signal } = options
  signal?.throwIfAborted()
  requirePort(port, 0)
  const literal = typeof address === 'string' ? isIP(address) : 0
  if (literal === 0) {
    throw invalidValue(`bind() takes an IP address, not '${String(address)}'`)
  }
  requireSize('receiveBufferSize', receiveBufferSize)
  requireSize('sendBufferSize', sendBufferSize)
  const driver = requireDriver()
  requireNet()
  const family = literal === 4 ? 'inet' : 'inet6'
  const id = driver.openDatagram(family)
  if (id < 0) throw systemError(id, 'bind', address, port)
  const { native } = driver
  const flags =
    (options.ipv6Only ? 1 : 0) |
    (options.reusePort ? bindReusePort : 0) |
    (options.reuseAddress ? bindReuseAddress : 0)
  let status = 0
  const { receiveBufferBytes, sendBufferBytes } = SocketOption
  if (receiveBufferSize !== undefined)
    status = native.setOption(id, receiveBufferBytes, receiveBufferSize)
  if (status === 0 && sendBufferSize !== undefined)
    status = native.setOption(id, sendBufferBytes, sendBufferSize)
  if (status === 0 && options.coalesce) status = native.setOption(id, SocketOption.coalesce, 1)
  if (status === 0) status = native.bindDatagram(id, address, port, flags)
  if (status === 0) return new DatagramSocket(driver, id, family)
  driver.discard(id)
  driver.submit()
  throw systemError(status, 'bind', address, port)
}

function requirePort(port: unknown, min: number): asserts port is number {
  if (Number.isInteger(port) && (port as number) >= min && (port as number) <= 65535) return
  const sign = min === 0 ? '>=' : '>'
  throw Object.assign(
    new RangeError(`port should be ${sign} 0 and < 65536. Received ${String(port)}.`),
    {
      code: 'ERR_SOCKET_BAD_PORT',
    },
  )
}

function requireSegment(size: unknown = 0): number {
  if (!Number.isInteger(size) || (size as number) < 0 || (size as number) > segmentSizeMax) {
    throw outOfRange(`segmentSize is 0 to ${segmentSizeMax} bytes. Received ${String(size)}`)
  }
  return size as number
}

function requireSize(name: string, bytes: unknown): void {
  if (bytes === undefined) return
  if (!Number.isInteger(bytes) || (bytes as number) < 1 || (bytes as number) > 0x7fffffff) {
    throw outOfRange(`${name} is 1 to ${0x7fffffff} bytes. Received ${String(bytes)}`)
  }
}

function invalidValue(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' })
}
