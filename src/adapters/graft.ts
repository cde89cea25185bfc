/**
 * What one of Node's own handles has below it while only JavaScript reads from its socket: receiving by the engine, and
 * small writes gathered by it. Owns the stream's id and the bytes that have arrived for a socket that is paused. All else
 * is Node's own path; it goes that way at once when somebody native attaches to the handle, or when bulk data comes.
 */
import type { Entry, StreamEngine, StreamReader } from '../core/stream-engine'
import { Errno, systemError } from '../core/errors'
import { nextTick } from '../core/timers'
import { fullReadBytes } from './bulk-turns'
import type { BulkTurns } from './bulk-turns'
import { HandleContext } from './node/async-context'
import { readsResetAsEnd } from './node/hang-up'
import type { NodeHandle, SocketInternals } from './node/handles'
import type { Natives } from './node/natives'

/**
 * Who receives, and for whom:
 * - `engine`: the engine, for JavaScript.
 * - `bulk`: libuv, for JavaScript, while large pieces come.
 * - `guarded`: libuv, for a function of somebody else's in the place of net.js's.
 * - `libuv`: libuv, for JavaScript. For good: the engine only sends.
 * - `native`: libuv, for a native consumer. For good.
 * - `closed`: nobody.
 */
type Route = 'engine' | 'bulk' | 'guarded' | 'libuv' | 'native' | 'closed'

/** What grafts have in common. */
export interface Stock {
  readonly engine: StreamEngine
  readonly bulkTurns: BulkTurns
  /** net.js's onread. */
  readonly onStreamRead: OnStreamRead
  /** The same, for handles that libuv reads for good: full reads it tells to `onFullRead`. */
  readonly onReadInTurns: OnStreamRead
  /** Property of a handle: its socket. */
  readonly owner: symbol
  /** Property of a socket: its onread buffer. */
  readonly userBuffer: symbol
}

/** A piece of this size means bulk data: libuv reads it into memory of the user's own, with one copy less. */
const bulkBytes = 32768
/** So many reads in a row below this size mean that it is over. */
const smallReadsMax = 8
const smallReadBytes = 8192

/** What a small segment costs the kernel beyond its bytes, generously (SKB_TRUESIZE). */
const segmentBytes = 2304

type Callback = (error?: Error | null) => void

/** What libuv's streams call with the memory that they have read into; without it at the end and after an error. */
export type OnStreamRead = (this: NodeHandle, memory: unknown) => unknown

export function isFullRead(memory: unknown): boolean {
  return memory !== undefined && (memory as ArrayBuffer).byteLength >= fullReadBytes
}

/** net.Socket.prototype._writeGeneric as Node has it. */
export type WriteGeneric = (
  this: SocketInternals,
  isWritev: boolean,
  data: unknown,
  encoding: BufferEncoding,
  callback: Callback,
) => void

const key = Symbol('uring-net.graft')

/** The graft of a handle, if it has one. */
export function graftOf(handle: object | null | undefined): Graft | undefined {
  return (handle as { [key]?: Graft } | null | undefined)?.[key]
}

export class Graft implements StreamReader {
  id = 0
  bytesRead = 0
  bytesWritten = 0
  readonly #stock: Stock
  readonly #engine: StreamEngine
  readonly #natives: Natives
  readonly #handle: NodeHandle
  readonly #isUnix: boolean
  readonly #context: HandleContext
  #route: Route
  #isReading = false
  /** It reads when others have. */
  #waitsForTurn = false
  #isArmed = false
  #isEnded = false
  #isRef: boolean
  /** It is counted as keeping the event loop alive. */
  #isAlive = false
  /** What came while nobody was reading: chunks, then perhaps the end (0 or -errno). */
  #held: (Buffer | number)[] = []
  /** When what is held is delivered, libuv goes on. */
  #becomesBulk = false
  #smallReads = 0
  /** Bytes that libuv had read by then. */
  #readByLibuv = 0
  /** Bytes that the kernel certainly has room for. */
  #room = 0
  /**
   * 1, or how the stream is known to end: 0 or -errno. The peer may be gone, which only a write at once can tell; and an error
   * of the connection the receive has taken, though a write is the first to tell of it.
   */
  #end = 1
  /** The engine's name for what was gathered when something of this stream was, last. */
  #gathered = -1

  constructor(
    stock: Stock,
    natives: Natives,
    handle: NodeHandle,
    isUnix: boolean,
    isAccepted: boolean,
  ) {
    this.#stock = stock
    this.#engine = stock.engine
    this.#natives = natives
    this.#handle = handle
    // It may be unref’d while its address is looked up, before there is a graft.
    this.#isRef = handle.hasRef()
    this.#isUnix = isUnix
    this.#route = stock.engine.receives ? 'engine' : 'libuv'
    this.#context = new HandleContext(handle, isAccepted)
    Object.defineProperty(handle, key, { value: this })
    // Of a socket that connects net.js has set it already.
    if (natives.getOnread.call(handle) === stock.onStreamRead) this.setOnread(stock.onStreamRead)
  }

  #owner(): SocketInternals {
    return (this.#handle as unknown as Record<symbol, SocketInternals>)[this.#stock.owner]!
  }

  /**
   * Makes the stream known to the engine. False: it is left to libuv. Best when the handle is new: it is looked for from the
   * newest on.
   */
  attach(): boolean {
    if (this.id !== 0) return true
    if (this.#route === 'closed') return false
    const id = this.#engine.native.attach(
      this.#natives.getDescriptor.call(this.#handle),
      this.#isUnix ? 1 : 0,
    )
    if (id <= 0) return false
    this.id = id
    this.#engine.register(this)
    return true
  }

  // --- what net.js and others do with the handle ---------------------------------------------------

  readStart(): number {
    this.#isReading = true
    if (this.#waitsForTurn) return this.#resumeReading()
    if (this.#route !== 'engine') return this.#natives.readStart.call(this.#handle)
    const isOther = (this.#owner()[this.#stock.userBuffer] ?? null) !== null
    if (isOther || !this.attach()) return this.#giveToLibuv('native')
    if (this.#held.length > 0) this.#engine.native.wake(this.id)
    else if (this.#becomesBulk) return this.#toBulk()
    else if (!this.#arm()) return this.#giveToLibuv('native')
    this.#updateAlive()
    return 0
  }

  readStop(): number {
    this.#isReading = this.#waitsForTurn = false
    this.#updateAlive()
    return this.#route === 'engine' ? 0 : this.#natives.readStop.call(this.#handle)
  }

  /** A native consumer is about to attach: from now on libuv reads for it. What has come stays with the socket (R1). */
  attachNative(): void {
    if (this.#waitsForTurn) this.#resumeReading()
    if (this.#route === 'closed' || this.#route === 'native') return
    this.flush()
    this.#giveToLibuv('native')
  }

  /** http's parser is about to attach: libuv reads for it. It never writes, and may let go again. */
  attachParser(): void {
    if (this.#waitsForTurn) this.#resumeReading()
    if (this.#route !== 'engine') return
    this.#giveToLibuv('bulk')
    this.#smallReads = smallReadsMax - 1
  }

  /** The function that is to take what is read, net.js's own or somebody else's. */
  setOnread(onread: unknown): void {
    const isNodes = onread === this.#stock.onStreamRead
    if (!isNodes && (this.#route === 'engine' || this.#route === 'bulk')) {
      this.#giveToLibuv('guarded')
    }
    const isInTurns = isNodes && this.#route === 'libuv'
    this.#natives.setOnread.call(this.#handle, isInTurns ? this.#stock.onReadInTurns : onread)
    if (isNodes && this.#route === 'guarded') this.#returnToEngine()
  }

  getOnread(): unknown {
    const { onStreamRead, onReadInTurns } = this.#stock
    if (this.#route === 'bulk') return onStreamRead
    const onread = this.#natives.getOnread.call(this.#handle)
    return onread === onReadInTurns ? onStreamRead : onread
  }

  setRef(isRef: boolean): void {
    this.#isRef = isRef
    this.#updateAlive()
  }

  resetContext(): void {
    this.#context.reset(this.#handle)
  }

  /** What is gathered of this stream is sent: something else is about to be. */
  flush(): void {
    if (this.#engine.waits(this.#gathered)) this.#engine.flush()
  }

  /** The handle is about to be closed. */
  close(): void {
    const wasEngines = this.#route === 'engine'
    this.#route = 'closed'
    this.#waitsForTurn = false
    this.#stock.bulkTurns.forget(this)
    this.#updateAlive()
    // net.js has noted them; a handle that is closed has none.
    this.bytesRead = this.bytesWritten = 0
    if (this.id === 0) return
    const { native } = this.#engine
    if (wasEngines && (this.#isArmed || this.#held.length > 0)) {
      this.#disarm()
      // With libuv they would have been in the kernel yet, and close(2) would have reset the connection (RFC 2525, 2.17).
      if (this.#held.some((held) => typeof held === 'object')) native.resetOnClose(this.id)
      this.#held = []
    }
    native.detach(this.id)
    this.#engine.unregister(this)
    this.id = 0
  }

  // --- receiving ----------------------------------------------------------------------------------

  #arm(): boolean {
    if (this.#isArmed || this.#isEnded) return true
    if (this.#engine.native.arm(this.id) !== 0) return false
    this.#isArmed = true
    return true
  }

  /** Nothing arrives any more; what has come by now is held. */
  #disarm(): void {
    for (const piece of this.#engine.disarm(this.id)) this.#hold(piece)
    this.#isArmed = false
  }

  #hold(piece: Buffer | number): void {
    if (typeof piece === 'number') {
      if (piece === Errno.ENOBUFS || piece === Errno.EAGAIN) return
      this.#isEnded = true
      // The kernel tells of it once, and a write may be what comes first.
      if (piece < 0) this.#end = piece
    }
    this.#held.push(piece)
  }

  #updateAlive(): void {
    const isAlive =
      this.#isReading &&
      this.#isRef &&
      (this.#waitsForTurn ||
        (this.#route === 'engine' && (!this.#isEnded || this.#held.length > 0)))
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.#engine.retain()
    else this.#engine.release()
  }

  onPiece(result: number, at: number): void {
    if (result > 0) {
      this.#end = this.#engine.endBehind(at)
      const chunk = this.#engine.takeChunk(at)
      if (!this.#isReading || this.#held.length > 0) {
        this.#held.push(chunk)
        // A reader that stops reading stops the kernel (R2).
        if (!this.#isReading) this.#disarm()
        return
      }
      this.#context.run(this.#push, this, chunk)
      if (this.#route !== 'engine') return
      if (this.#isReading && this.#end < 0 && readsResetAsEnd) this.#endBehindData()
      // Also of a reader that has paused meanwhile: the next receive would bring it as much again.
      else if (chunk.length >= bulkBytes && this.#isArmed) this.#becomeBulk()
    } else if (result === Errno.EAGAIN) {
      if (this.#waitsForTurn) this.#resumeReading()
      else this.#deliverHeld()
    } else {
      this.#isArmed = false
      if (this.#isEnded) return
      if (result === Errno.ENOBUFS) return this.#becomeBulk()
      this.#isEnded = true
      if (!this.#isReading || this.#held.length > 0) this.#hold(result)
      else this.#context.run(this.#deliverEnd, this, result)
      this.#updateAlive()
    }
  }

  /** A reset came right behind the data: this libuv takes it for the end of the stream, and leaves the error to a write. */
  #endBehindData(): void {
    this.#isEnded = true
    this.#context.run(this.#deliverEnd, this, 0)
    this.#updateAlive()
  }

  /** One at a time, so that ticks run between two as between libuv's callbacks (E2). */
  #deliverHeld(): void {
    if (!this.#isReading || this.#route !== 'engine') return
    const held = this.#held.shift()
    if (this.#held.length > 0) this.#engine.native.wake(this.id)
    if (typeof held === 'object') this.#context.run(this.#push, this, held)
    else if (held !== undefined) this.#context.run(this.#deliverEnd, this, held)
    if (this.#held.length > 0 || !this.#isReading || this.#route !== 'engine') return
    if (this.#becomesBulk) this.#toBulk()
    else if (!this.#arm()) this.#giveToLibuv('native')
    this.#updateAlive()
  }

  /** What net.js's onStreamRead does. What throws is reported in here, in the handle's context, as over libuv. */
  #push(chunk: Buffer): void {
    try {
      this.bytesRead += chunk.length
      const socket = this.#owner()
      socket._unrefTimer()
      if (socket.destroyed) return
      if (!socket.push(chunk)) {
        this.#handle.reading = false
        if (!socket.destroyed) this.readStop()
      }
    } catch (error) {
      this.#engine.report(error)
    }
  }

  #deliverEnd(result: number): void {
    try {
      const socket = this.#owner()
      socket._unrefTimer()
      if (result !== 0) {
        socket.destroy(systemError(result, 'read'))
      } else if (!socket._readableState.endEmitted) {
        socket.push(null)
        socket.read(0)
      }
    } catch (error) {
      this.#engine.report(error)
    }
  }

  // --- who receives -------------------------------------------------------------------------------

  /** From now on libuv receives. What has come is put where Node's consumers look for it, in the socket's buffer. */
  #giveToLibuv(route: 'native' | 'guarded' | 'bulk'): number {
    const wasEngines = this.#route === 'engine'
    if (this.#route === 'bulk') this.#natives.setOnread.call(this.#handle, this.#stock.onStreamRead)
    this.#route = route
    if (!wasEngines) return 0
    if (route === 'bulk') this.#watchReads()
    if (this.id !== 0) this.#disarm()
    this.#updateAlive()
    const socket = this.#owner()
    for (const held of this.#held.splice(0)) {
      if (typeof held === 'object') this.#buffer(socket, held)
      // The end of the stream libuv meets again; an error it does not.
      else if (held !== 0) socket.destroy(systemError(held, 'read'))
    }
    return this.#isReading ? this.#natives.readStart.call(this.#handle) : 0
  }

  /** Pushes without telling anybody who listens now. */
  #buffer(socket: SocketInternals, chunk: Buffer): void {
    const state = socket._readableState
    const { sync } = state
    state.sync = true
    this.bytesRead += chunk.length
    socket.push(chunk)
    state.sync = sync
  }

  #becomeBulk(): void {
    this.#becomesBulk = true
    this.#disarm()
    const end = this.#held.at(-1)
    // Before libuv meets it by a write that is blocked.
    if (typeof end === 'number' && end < 0) nextTick(() => this.#deliverHeld())
    else if (this.#held.length > 0) this.#engine.native.wake(this.id)
    else if (this.#isReading) this.#toBulk()
  }

  #toBulk(): number {
    this.#becomesBulk = false
    return this.#giveToLibuv('bulk')
  }

  /** While JavaScript reads what libuv does. */
  #watchReads(): void {
    this.#smallReads = 0
    this.#readByLibuv = this.#natives.getBytesRead.call(this.#handle)
    this.#natives.setOnread.call(this.#handle, (memory: unknown) => this.#onBulkRead(memory))
  }

  #onBulkRead(memory: unknown): unknown {
    const bytes = this.#natives.getBytesRead.call(this.#handle)
    const isSmall = bytes - this.#readByLibuv < smallReadBytes
    this.#readByLibuv = bytes
    this.#smallReads = isSmall ? this.#smallReads + 1 : 0
    const answer = this.#stock.onStreamRead.call(this.#handle, memory)
    const isOver =
      this.#smallReads >= smallReadsMax &&
      this.#route === 'bulk' &&
      memory !== undefined &&
      this.#natives.getWriteQueueSize.call(this.#handle) === 0
    if (isOver) {
      this.#natives.setOnread.call(this.#handle, this.#stock.onStreamRead)
      this.#returnToEngine()
    } else if (isFullRead(memory)) {
      this.onFullRead()
    }
    return answer
  }

  /** It had more than one read, and others wait: its next is in the next turn of the event loop. */
  onFullRead(): void {
    if (!this.#isReading || this.#route === 'engine' || this.#route === 'closed') return
    if (!this.#stock.bulkTurns.isOver(this)) return
    if (!this.attach() || this.#engine.native.wake(this.id) !== 0) return
    this.#natives.readStop.call(this.#handle)
    this.#waitsForTurn = true
    this.#updateAlive()
  }

  #resumeReading(): number {
    this.#waitsForTurn = false
    this.#updateAlive()
    return this.#natives.readStart.call(this.#handle)
  }

  #returnToEngine(): void {
    const isReading = this.#isReading && this.#route !== 'closed'
    if (isReading) this.#natives.readStop.call(this.#handle)
    this.#route = 'engine'
    this.#waitsForTurn = false
    if (isReading) this.readStart()
  }

  // --- sending ------------------------------------------------------------------------------------

  /**
   * A write of Node's was made. While it is blocked libuv reads, too: after a reset it is the receive that tells, and who
   * gets the socket's error is who asks first.
   */
  afterWrite(): void {
    this.#room = 0
    if (this.#route === 'engine' && this.#natives.getWriteQueueSize.call(this.#handle) > 0) {
      if (this.#isReading) this.#becomeBulk()
      else this.#becomesBulk = true
    }
  }

  /** A small write goes the short way. False: it is Node's. */
  write(
    socket: SocketInternals,
    isWritev: boolean,
    data: unknown,
    encoding: BufferEncoding,
    callback: Callback,
    base: WriteGeneric,
  ): boolean {
    const engine = this.#engine
    if (this.#route === 'native' || !this.attach()) {
      this.flush()
      return false
    }
    if (this.#end < 0) {
      const status = this.#end
      this.#end = 0
      return this.#fails(socket, status, callback)
    }
    const length = isWritev
      ? engine.putAll(data as Entry[])
      : engine.put(data as Uint8Array | string, encoding)
    if (length <= 0) {
      this.flush()
      return false
    }
    if (engine.isGathering && this.#hasRoom(length) && engine.gather(this.id, length)) {
      this.#gathered = engine.gathers
    } else {
      const position = engine.position
      this.flush()
      const taken = engine.native.send(this.id, position, length)
      if (taken !== length) return this.#writeRest(socket, taken, position, length, callback, base)
    }
    this.#room -= length + segmentBytes
    if (socket._pendingData !== null) {
      socket._pendingData = null
      socket._pendingEncoding = ''
    }
    socket._unrefTimer()
    this.bytesWritten += length
    callback()
    return true
  }

  #hasRoom(length: number): boolean {
    if (this.#end !== 1 || this.#isEnded) return false
    if (length + segmentBytes <= this.#room) return true
    // What is gathered of it the kernel does not count yet: this one follows it by itself.
    if (this.#engine.waits(this.#gathered)) return false
    this.#room = this.#engine.native.room(this.id)
    return length + segmentBytes <= this.#room
  }

  /** The kernel has not taken all. What is left goes on as a write of Node's. */
  #writeRest(
    socket: SocketInternals,
    taken: number,
    position: number,
    length: number,
    callback: Callback,
    base: WriteGeneric,
  ): boolean {
    this.#room = 0
    if (taken <= 0) {
      if (taken === 0 || taken === Errno.EAGAIN) return false
      // The receive has taken the error with which the kernel tells of a reset; what is left is EPIPE.
      const error = taken === Errno.EPIPE ? this.#engine.errorOf(this.id) : 0
      return this.#fails(socket, error < 0 ? error : taken, callback)
    }
    this.bytesWritten += taken
    base.call(
      socket,
      false,
      this.#engine.copy(position + taken, length - taken),
      'buffer' as never,
      callback,
    )
    this.afterWrite()
    return true
  }

  #fails(socket: SocketInternals, status: number, callback: Callback): true {
    socket._pendingData = null
    socket._pendingEncoding = ''
    socket._unrefTimer()
    callback(systemError(status, 'write'))
    return true
  }

  /** A send that had been told as done has failed. The receive tells of it, if that is to fail as well. */
  onSendFailed(status: number): void {
    this.#room = 0
    if (this.#route === 'closed') return
    this.#context.run(this.#fail, this, status)
  }

  #fail(status: number): void {
    try {
      this.#owner().destroy(systemError(status, 'write'))
    } catch (error) {
      this.#engine.report(error)
    }
  }
}
