/**
 * A channel as the `_handle` of a net.Socket: what net.js, TLSWrap, Http2Session and HTTPParser call. Presents W1-W6,
 * C1-C4, R1-R3 and E1-E2 to them. Owns the channel. It is a real native stream (JSStream), so native consumers attach to
 * it directly, and it has a short path for the common case that nobody native is attached: bytes are pushed to the
 * socket without crossing into native code, and writes are taken from it without Node's write wraps.
 *
 * It never decides when to read, write or close: Node's own stream code does.
 */
import { AsyncResource } from 'node:async_hooks'
import net from 'node:net'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { Channel, Sent } from '../core/channel'
import type { ChannelHandler, SendEntry, SendRequest } from '../core/channel'
import { copyOf, copyOfPart } from '../core/copy'
import type { Driver, SocketFamily } from '../core/driver'
import { Errno, systemError } from '../core/errors'
import { beforeDestroy } from './http2-session'
import { connection, internals, openForNode } from './node-internals'
import type { NodeHandle, NodeInternals, WriteRequest } from './node-internals'
import { SentAhead } from './sent-ahead'

/** The members of net.Socket that handles and sockets use of each other; Node keeps them out of its types. */
export interface SocketInternals extends Socket {
  _handle: object | null
  _parent: SocketInternals | null
  _pendingData: unknown
  _pendingEncoding: string
  _peername?: object | null
  _sockname?: object | null
  _unrefTimer(): void
  /** What Writable has not handed to _write yet. */
  writableBuffer?: readonly SendEntry[]
  [key: symbol]: unknown
}

/** A connect request, as net.js makes it. */
export interface ConnectRequest {
  oncomplete?: (
    status: number,
    handle: object,
    request: object,
    readable: boolean,
    writable: boolean,
  ) => void
}

/** A shutdown request, as net.js makes it. */
interface ShutdownRequest {
  oncomplete(status: number): void
}

function noop(): void {}

const readByNode = internals.onStreamRead as (this: StreamHandle, memory: unknown) => unknown

/** net.js's onread. Node 26 has JSStream read into parts of one memory for all: such a chunk is copied (R3). */
function readOwn(this: StreamHandle, memory: unknown): unknown {
  const socket = this.sharedReader(memory)
  if (socket === null) return readByNode.call(this, memory)
  const { push } = socket
  const hadOwn = Object.hasOwn(socket, 'push')
  socket.push = (chunk: Buffer | null) => push.call(socket, chunk === null ? null : copyOf(chunk))
  try {
    return readByNode.call(this, memory)
  } finally {
    if (hadOwn) socket.push = push
    else delete (socket as { push?: unknown }).push
  }
}

/** Marks the sockets whose write path is ours, so that received bytes may take the short path too. */
export const isOurs = Symbol('uring-net.socket')

function isOurSocket(owner: SocketInternals): boolean {
  return owner[isOurs] === true
}

const { _write: nodeWrite, _writev: nodeWritev } = net.Socket.prototype

/** Whether what Writable holds is what will be written: no _write of a program's own stands between. */
export function writesPlainly(socket: object): boolean {
  const { _write, _writev, _writeGeneric } = socket as {
    _write: unknown
    _writev: unknown
    _writeGeneric: { [isOurs]?: boolean }
  }
  return _write === nodeWrite && _writev === nodeWritev && _writeGeneric[isOurs] === true
}

/**
 * Whether Node still waits for the end of a write. Not when it took onwrite for failed: a tick that throws while that
 * call's scope ends does so, although the bytes were accepted. To finish such a write would crash.
 */
function isAlive(request: object): boolean {
  const { getAsyncId } = request as { getAsyncId?(): number }
  return getAsyncId === undefined || getAsyncId.call(request) > 0
}

/** A write that a native consumer (TLS, HTTP/2) or a plain net.Socket handed to onwrite. */
class NativeWrite implements SendRequest {
  readonly #handle: StreamHandle
  readonly #request: object

  constructor(handle: StreamHandle, request: object) {
    this.#handle = handle
    this.#request = request
  }

  onSent(status: number): void {
    // Also when what finishWrite calls throws.
    if (status < 0 && status !== Errno.ECANCELED) this.#handle.failLater(status)
    if (isAlive(this.#request)) {
      this.#handle.callNative(this.#handle.finishWrite, this.#request, status)
    }
  }
}

/** Of all async resources here: their end is told, not left to the collector. */
const manualDestroy = { requireManualDestroy: true }

/** A write taken from the socket directly. */
class SocketWrite implements SendRequest, WriteRequest {
  readonly handle: StreamHandle
  readonly callback: (error?: Error | null) => void
  /** The async context of the write, in which its callback runs, as with Node's WriteWrap. */
  #resource: AsyncResource | undefined

  constructor(handle: StreamHandle, callback: (error?: Error | null) => void) {
    this.handle = handle
    this.callback = callback
  }

  /** The kernel has not taken all of it: onSent follows. */
  onPending(): void {
    this.#resource = new AsyncResource('WRITEWRAP', manualDestroy)
  }

  onSent(status: number): void {
    const resource = this.#resource!
    resource.emitDestroy()
    resource.runInAsyncScope(internals.onWriteComplete, this, status)
  }
}

/** Of sockets whose connection was given up: what Writable held then, until it has written it. */
export const sentAhead = new WeakMap<object, SentAhead>()

export abstract class StreamHandle extends internals.JSStream implements ChannelHandler {
  /** Set by net.js and read by it; TLS redefines it as an accessor. */
  reading = false
  /** Set by http's server when its parser attaches, for good. */
  _consumed = false
  readonly driver: Driver
  protected channel: Channel | undefined
  readonly #type: string
  #resource: AsyncResource
  #owner: SocketInternals | null = null
  /** The TLSSocket that reads from it. */
  #reader: Socket | undefined
  /** Bytes may be pushed to the owner: nothing native is attached, net.js reads, and there is no onread buffer. */
  #isDirect = false
  #isAttached = false
  #onread: unknown = noop
  /** Bytes in the native call under way. */
  #emittedBytes = 0
  /** net.js's own function takes what is read. */
  #isNodesRead = false
  /** The owner has an onread buffer, which native code fills. */
  #hasUserBuffer = false
  #isClosed = false
  #isGivenUp = false
  /** How often an Http2Session will still be looked for: it is bound to the socket soon after it has attached. */
  #sessionSearches = 3
  /** The end of a write is told inside another call. */
  #isFinishing = false
  #isFlushed = false
  /** The -errno of a native consumer's write, or 0. */
  #failure = 0
  #ahead: SentAhead | undefined
  #wantsRef = true

  /**
   * `id`: the endpoint of an accepted connection, and the async id of the server it came from; without them one is opened
   * by bind or connect.
   */
  constructor(driver: Driver, type: string, id?: number, triggerAsyncId?: number) {
    super()
    this.driver = driver
    this.#type = type
    this.#resource = new AsyncResource(
      type,
      triggerAsyncId === undefined ? manualDestroy : { ...manualDestroy, triggerAsyncId },
    )
    // JSStream aborts the process when it has something to emit and no function to call.
    this.onread = noop
    if (id !== undefined) this.channel = new Channel(driver, id, this)
  }

  // --- the owner ------------------------------------------------------------------------------------------------

  get [internals.owner](): SocketInternals | null {
    return this.#owner
  }

  set [internals.owner](owner: SocketInternals | null) {
    this.#owner = owner
    this.#updateDirect()
  }

  /** Every native consumer asks this before it attaches; from then on bytes go through readBuffer to whoever is on top. */
  get isStreamBase(): boolean {
    this.#isAttached = true
    this.#updateDirect()
    return true
  }

  override get onread(): unknown {
    return this.#onread
  }

  /** Not only net.js sets it: http's agent guards idle sockets by a function of its own. */
  override set onread(onread: unknown) {
    this.#onread = onread
    this.#isNodesRead = onread === internals.onStreamRead
    super.onread = this.#isNodesRead ? readOwn : onread
    this.#updateDirect()
  }

  /** The socket that gets memory which others get parts of; null when it gets one of its own. */
  sharedReader(memory: unknown): SocketInternals | null {
    const isShared = memory instanceof ArrayBuffer && memory.byteLength !== this.#emittedBytes
    return isShared ? this.#owner : null
  }

  #updateDirect(): void {
    const owner = this.#owner
    this.#isDirect =
      !this.#isAttached &&
      !this.#isClosed &&
      this.#isNodesRead &&
      owner !== null &&
      isOurSocket(owner) &&
      (owner[internals.userBuffer] ?? null) === null
  }

  /** A TLSSocket stands on top: it is told when receiving fails, as TLSWrap would tell it. */
  setReader(reader: Socket): void {
    this.#reader = reader
  }

  override getAsyncId(): number {
    return this.#resource.asyncId()
  }

  /** http's agent gives an idle socket to another request: what comes belongs to that one's context. */
  asyncReset(): void {
    this.#resource.emitDestroy()
    this.#resource = new AsyncResource(this.#type, manualDestroy)
  }

  // --- receiving ------------------------------------------------------------------------------------------------

  readStart(): number {
    if (this.channel === undefined || this.#isClosed) return Errno.ENOTCONN
    this.channel.readStart()
    return 0
  }

  readStop(): number {
    this.channel?.readStop()
    return 0
  }

  /** Called by native consumers in place of readStart. */
  onreadstart(): number {
    return this.readStart()
  }

  onreadstop(): number {
    if (this.#failure !== 0) this.failLater(this.#failure)
    return this.readStop()
  }

  override useUserBuffer(buffer: Uint8Array): void {
    this.#isAttached = true
    this.#updateDirect()
    this.#hasUserBuffer = true
    super.useUserBuffer(buffer)
  }

  onBytes(memory: Buffer, offset: number, length: number): void {
    if (this.#isGivenUp) {
      this.#owner?.push(Buffer.from(memory.subarray(offset, offset + length)))
      return
    }
    // Who attaches without asking leaves the socket unread.
    if (this.#isDirect && this.#owner!.readableFlowing !== null) {
      this.#resource.runInAsyncScope(this.#push, this, memory, offset, length)
    } else if (this.#hasUserBuffer) {
      this.#fillUserBuffer(memory, offset, length)
    } else {
      this.#emitNative(memory, offset, length)
    }
  }

  /** The short path: what net.js's onStreamRead does for a socket without an onread buffer. */
  #push(memory: Buffer, offset: number, length: number): void {
    const socket = this.#owner!
    socket._unrefTimer()
    if (socket.destroyed) return
    const chunk = copyOfPart(memory, offset, length)
    if (!socket.push(chunk)) {
      this.reading = false
      if (!socket.destroyed) this.readStop()
    }
  }

  /** The long path, to whoever is attached. */
  #emitNative(memory: Buffer, offset: number, length: number, after?: () => void): void {
    const view = new Uint8Array(memory.buffer, memory.byteOffset + offset, length)
    this.#emittedBytes = length
    this.callNative(this.readBuffer, view, undefined, after)
  }

  /**
   * Calls a method of JSStream. Below the HTTP parser and HTTP/2 outside of the batch's scope, so that ticks run between
   * two frames, as over libuv. Not below TLS: its writes would be the outermost scope then, and a tick that throws at the
   * end of it would fail a write that was accepted. Nothing of TLS's can be told from JavaScript by the difference.
   */
  callNative<A, B>(fn: (this: this, a: A, b: B) => void, a: A, b: B, after?: () => void): void {
    if (this.#reader === undefined && !this.#isFinishing) {
      this.driver.callNative(this, fn, a, b, after)
    } else {
      this.driver.callNested(this, fn, a, b)
      after?.()
    }
  }

  /** readBuffer would go on filling the buffer after a pause: one buffer at a time, and the rest is kept (R1). */
  #fillUserBuffer(memory: Buffer, offset: number, length: number): void {
    const buffer = this.#owner?.[internals.userBuffer]
    const room = buffer instanceof Uint8Array ? buffer.length : length
    const size = Math.min(room, length)
    const rest = length - size
    const after = (): void => {
      if (this.channel?.isReading) this.#fillUserBuffer(memory, offset + size, rest)
      else this.channel?.keep(memory, offset + size, rest)
    }
    this.#emitNative(memory, offset, size, rest > 0 ? after : undefined)
  }

  onEnd(): void {
    if (this.#isGivenUp) return
    this.callNative(this.emitEOF, undefined, undefined)
  }

  onReceiveError(errno: number): void {
    if (this.#isGivenUp) return
    this.#resource.runInAsyncScope(() => {
      this.#owner?._unrefTimer()
      const reader = this.#reader ?? this.#owner
      reader?.destroy(systemError(errno, 'read'))
    })
  }

  /**
   * After a native consumer's write has failed. Http2Session stops reading while it has more to write, and a TLSWrap
   * whose write failed never writes again: the end of the connection would never be seen. As with a failed write of
   * net.js's own, the socket is destroyed, unless reading goes on until it tells of the end by itself.
   */
  failLater(status: number): void {
    this.#failure = status
    setImmediate(() => {
      if (this.channel?.isReading === true || this.#isClosed) return
      const writer = this.#reader ?? this.#owner
      this.#resource.runInAsyncScope(() => writer?.destroy(systemError(status, 'write')))
    })
  }

  // --- sending --------------------------------------------------------------------------------------------------

  /** A write by a native consumer, or by Node's own write path. The buffers are copies nobody else knows. */
  onwrite(request: object, buffers: Uint8Array[]): number {
    const { channel } = this
    if (channel === undefined) return Errno.EBADF
    if (this.#sessionSearches > 0) this.#findSession(request)
    const write = new NativeWrite(this, request)
    const status =
      buffers.length === 1
        ? channel.send(buffers[0]!, write, false)
        : channel.sendGather(buffers, totalOf(buffers), write, false)
    if (status >= 0) return 0
    this.failLater(status)
    return status
  }

  #findSession(request: object): void {
    // Neither net.js's own writes nor TLSWrap's.
    if ('oncomplete' in request || this.#reader !== undefined || this.#owner === null) {
      this.#sessionSearches = 0
      return
    }
    this.#sessionSearches--
    if (beforeDestroy(this.#owner, () => this.#finishNow())) this.#sessionSearches = 0
  }

  /** Inside a call of the native consumer: the end of a write that the kernel has taken is told now. */
  #finishNow(): void {
    this.#isFinishing = true
    try {
      this.channel?.tellSent()
    } finally {
      this.#isFinishing = false
    }
  }

  /** The short path for one chunk of the socket's own _write. */
  write(
    socket: SocketInternals,
    chunk: Uint8Array | string,
    encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ): void {
    const channel = this.channel!
    if (this.#ahead !== undefined) {
      this.writeMany(socket, [{ chunk, encoding }], callback)
      return
    }
    const write = new SocketWrite(this, callback)
    const status =
      typeof chunk === 'string'
        ? channel.sendString(chunk, encoding, write)
        : channel.send(chunk, write, true)
    this.#dispatched(write, socket, status, chunk.length, callback)
  }

  /** The short path for the socket's own _writev. */
  writeMany(
    socket: SocketInternals,
    entries: readonly SendEntry[],
    callback: (error?: Error | null) => void,
  ): void {
    const write = new SocketWrite(this, callback)
    const before = this.bytesWritten
    const ahead = this.#ahead
    const status =
      ahead === undefined
        ? this.channel!.sendEntries(entries, write)
        : ahead.write(this.channel!, entries, write)
    if (ahead?.isWritten) this.#ahead = undefined
    this.#dispatched(write, socket, status, this.bytesWritten - before, callback)
  }

  /** Hands over what Writable holds although it is corked; Writable is told when it writes it. */
  sendAhead(socket: Writable): void {
    const { writableBuffer: entries } = socket as unknown as SocketInternals
    if (this.channel === undefined || entries === undefined) return
    this.#ahead ??= new SentAhead()
    this.#ahead.send(this.channel, entries)
  }

  /** Hands over what Writable holds, when nothing will ask for it again (W6). Its callbacks are Writable's affair. */
  onFlush(): void {
    const { channel } = this
    const socket = this.#owner
    if (channel === undefined || socket === null || this.#isClosed || !writesPlainly(socket)) return
    if (socket.connecting || socket.writableCorked > 0 || this.#isFlushed) return
    const entries = socket.writableBuffer ?? []
    if (entries.length === 0) return
    this.#isFlushed = true
    channel.sendLast(entries)
  }

  #dispatched(
    write: SocketWrite,
    socket: SocketInternals,
    status: number,
    length: number,
    callback: (error?: Error | null) => void,
  ): void {
    if (status === Sent.pending) {
      write.onPending()
      socket[internals.lastWriteQueueSize] = length
    } else if (status === Sent.done) {
      // Writable defers the user's callback when its own is called inside _write (W4).
      callback()
    } else {
      callback(systemError(status, 'write'))
    }
  }

  /** net.js's _final. */
  shutdown(request: ShutdownRequest): number {
    const { channel } = this
    if (channel === undefined) return Errno.ENOTCONN
    const resource = new AsyncResource('SHUTDOWNWRAP', manualDestroy)
    return channel.shutdown({
      onShutdown(status) {
        resource.emitDestroy()
        resource.runInAsyncScope(request.oncomplete, request, status)
      },
    })
  }

  /** A shutdown by a native consumer. */
  onshutdown(request: object): number {
    const { channel } = this
    if (channel === undefined) return Errno.ENOTCONN
    return channel.shutdown({
      onShutdown: (status) => {
        this.callNative(this.finishShutdown, request, status)
      },
    })
  }

  get bytesRead(): number {
    return this.channel?.bytesReceived ?? 0
  }

  /** Without those that Writable still holds, which net.js adds. */
  get bytesWritten(): number {
    return (this.channel?.bytesAccepted ?? 0) - (this.#ahead?.bytes ?? 0)
  }

  /** Bytes the kernel has not taken yet; net.js suppresses a timeout while it changes. */
  get writeQueueSize(): number {
    return this.channel?.sendQueueBytes ?? 0
  }

  // --- connecting -----------------------------------------------------------------------------------------------

  /** Opens the descriptor if there is none. 0 or -errno. */
  protected open(family: SocketFamily): number {
    if (this.channel !== undefined) return 0
    const id = this.driver.open(family)
    if (id < 0) return id
    this.channel = new Channel(this.driver, id, this)
    this.channel.setRef(this.#wantsRef)
    this.opened(this.channel)
    return 0
  }

  /** What was set before the descriptor existed is applied here. */
  protected opened(_channel: Channel): void {}

  protected start(request: ConnectRequest, type: string, address: string, port: number): number {
    const resource = new AsyncResource(type, manualDestroy)
    return this.channel!.connect(address, port, (status) => {
      resource.emitDestroy()
      // net.js drops oncomplete of an attempt that timed out.
      if (request.oncomplete === undefined) return
      // uv_close cancels a connect that has not been told of.
      const outcome = this.#isClosed ? Errno.ECANCELED : status
      resource.runInAsyncScope(request.oncomplete, request, outcome, this, request, true, true)
    })
  }

  // --- closing --------------------------------------------------------------------------------------------------

  isClosing(): boolean {
    return this.#isClosed
  }

  close(callback?: () => void): void {
    this.#close(false, callback)
  }

  /** Closes so that the peer sees RST. */
  reset(callback?: () => void): number {
    this.#close(true, callback)
    return 0
  }

  #close(reset: boolean, callback: (() => void) | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#updateDirect()
    const onClosed = (): void => {
      this.#resource.emitDestroy()
      if (callback !== undefined) this.#resource.runInAsyncScope(callback, this)
    }
    if (this.channel === undefined) setImmediate(onClosed)
    else this.channel.close(reset, onClosed)
  }

  // --- handing over ---------------------------------------------------------------------------------------------

  /** Node's handle of the same kind over a descriptor of its own for the same socket; -errno when there is none. */
  copyForNode(): NodeHandle | number {
    const { channel } = this
    if (channel === undefined || this.#isClosed) return Errno.EBADF
    const fd = this.driver.duplicate(channel.id)
    return fd < 0 ? fd : openForNode(this.nodeClass, connection, fd)
  }

  protected abstract readonly nodeClass: NodeInternals['TCP']

  /**
   * The connection is somebody else's from now on: the socket is left with what was received by now, what it wrote is
   * sent, then this end is closed without ending the connection.
   */
  giveUp(): void {
    const { channel } = this
    if (channel === undefined || this.#isClosed) return
    const socket = this.#owner
    const entries = socket?.writableBuffer ?? []
    if (socket !== null && entries.length > 0 && writesPlainly(socket)) {
      this.sendAhead(socket)
      sentAhead.set(socket, this.#ahead!)
    }
    this.#isClosed = true
    this.#isGivenUp = true
    channel.release(() => this.#resource.emitDestroy())
  }

  /** A child process reads from the socket from now on. */
  readStopNow(): void {
    this.channel?.readStopNow()
  }

  // --- the rest -------------------------------------------------------------------------------------------------

  get fd(): number {
    return this.channel?.fd ?? -1
  }

  ref(): void {
    this.#wantsRef = true
    this.channel?.setRef(true)
  }

  unref(): void {
    this.#wantsRef = false
    this.channel?.setRef(false)
  }

  hasRef(): boolean {
    return this.#wantsRef && !this.#isClosed
  }
}

function totalOf(buffers: readonly Uint8Array[]): number {
  let total = 0
  for (const buffer of buffers) total += buffer.length
  return total
}
