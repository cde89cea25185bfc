/**
 * The contract between TypeScript and the native engines, and the only place that loads the addon.
 *
 * Two engines live below it: NativeDriver, for the low-level API, and NativeStreamEngine, for sockets on Node's own handles.
 * Each has an io_uring and an epoll backend that do the same. Nothing here knows what a stream is: the native side knows
 * endpoints (descriptors), operations on them, memory, and -errno.
 *
 * ## Endpoints
 * An endpoint is named by an `id`: `generation << 20 | place`, a positive 31-bit integer. A place is used again only after
 * the close has completed, with the next generation. An unknown or stale id is refused with -EBADF and nothing changes.
 *
 * ## Operations
 * An operation is named by a `token` that TypeScript chooses: a small positive integer, not used again before the operation's
 * last completion. On one endpoint at most one receive, one send, one accept and one connect are in flight; of datagrams as
 * many sends as one likes.
 *
 * ## Commands (TypeScript to native)
 * `commands` is an Int32Array. Word 0 is the number of commands queued; command i occupies COMMAND_WORDS words from
 * COMMAND_HEADER_WORDS + i * COMMAND_WORDS: `[opcode, token, id, a, b, c, d, e]`. The native side takes them in order before
 * the event loop sleeps, after every batch, and whenever `submit()` is called, and sets word 0 to zero. A command that
 * cannot be carried out completes with -errno: -EBADF stale id, -EINVAL, -EALREADY an operation of that kind is in flight.
 *
 * ## Completions (native to TypeScript)
 * `completions` is an Int32Array. Word 0 is the number of completions in the batch, word 1 the cursor: dispatch stores the
 * index of the next completion there BEFORE it runs any callback. Completion i occupies COMPLETION_WORDS words from
 * COMPLETION_HEADER_WORDS + i * COMPLETION_WORDS: `[token, result, flags, extra]`. The native side calls dispatch in a
 * callback scope. When it throws, the exception goes to 'uncaughtException' and dispatch is called again.
 *
 * ## Who owns the bytes
 * All memory is JavaScript's: ArrayBuffers that are registered under an index. Native code keeps the address only. Whoever
 * names an index in a command keeps that ArrayBuffer alive, and out of everybody's reach, until the operation's last
 * completion; after `provide`, until a receive completes with it (block.ts).
 */
import { join } from 'node:path'

/** Raised with every change of the layout or meaning of anything in this file; the addon reports its own. */
export const CONTRACT_VERSION = 11

export const COMMAND_HEADER_WORDS = 4
export const COMMAND_WORDS = 8
export const COMPLETION_HEADER_WORDS = 4
export const COMPLETION_WORDS = 4

/** An id's low bits are the place; the rest is the generation. */
export const SLOT_BITS = 20

export const Op = {
  /**
   * [receive, token, id, once]: receives until it ends, each time into a buffer of those provided; with `once` 1 it ends with the
   * first one. Completion: result > 0 bytes at the beginning of buffer `extra`, which is the caller's again; 0 end of stream;
   * -ENOBUFS no buffer was left; -errno. MORE: it goes on.
   */
  receive: 1,
  /**
   * [receiveInto, token, id, buffer, offset, length, minimum]: receives into memory, until `minimum` bytes are there or the
   * stream has ended. Completion: result bytes, or -errno with `extra` bytes received before.
   */
  receiveInto: 2,
  /** [piece, token, 0, buffer, offset, length]: the send of this token, whose command follows, begins with it. No completion. */
  piece: 3,
  /**
   * [send, token, id, buffer, offset, length]: sends its pieces and then this, all of it. Completion: result the number of all
   * bytes, or -errno with `extra` bytes that the kernel took before.
   */
  send: 4,
  /** [accept, token, id]: accepts until it ends. Completion: result the id of a new endpoint, or -errno. MORE: it goes on. */
  accept: 5,
  /** Started by NativeDriver.connect(). Completion: 0 or -errno. */
  connect: 6,
  /** [shutdown, token, id]: shutdown(2) with SHUT_WR. -EBUSY while a send is in flight. Completion: 0 or -errno. */
  shutdown: 7,
  /**
   * [cancel, token]: asks that this operation end. Has no completion of its own: the operation's last one tells what
   * happened (-ECANCELED, or what came first).
   */
  cancel: 8,
  /**
   * [close, token, id, reset, receives]: what was started gets its attempt and is cancelled, then the descriptor is closed,
   * mostly within the call. With `reset` 1, or when more receives brought bytes than the `receives` that were delivered, the
   * peer sees RST. Completion: 0, after all others of this endpoint.
   */
  close: 9,
  /** [provide, 0, 0, buffer]: a buffer that receives may pick. Index below 65536. No completion. */
  provide: 10,
  /** [wake, token]: nothing but a completion, in the loop's next turn at the latest. */
  wake: 11,
  /**
   * [readFile, token, id, buffer, offset, length, position, position >> 32]: reads from a file once, at that position.
   * Completion: result bytes, 0 at its end, or -errno.
   */
  readFile: 12,
  /**
   * [poll, token, id, writable]: until the socket can be received from, or with `writable` 1 sent to. Completion: 0, also when it has
   * failed, or -ECANCELED. To be started after -EAGAIN only.
   */
  poll: 13,
  /**
   * [receiveDatagrams, token, id]: receives until it ends, each datagram into a buffer of those provided, which begins as told
   * at DATAGRAM_HEADER_BYTES. Completion: result > 0 bytes of buffer `extra`, its header included, which is the caller's again;
   * -ENOBUFS no buffer was left; -errno. MORE: it goes on.
   */
  receiveDatagrams: 20,
  /** [to, token, ...words of an address]: where the datagram of this token, whose command follows, goes to. No completion. */
  to: 21,
  /**
   * [sendDatagram, token, id, buffer, offset, length, segment]: sends its pieces and then this as one datagram, or as datagrams
   * of `segment` bytes unless that is 0, to where the socket is connected unless a `to` came before. With a length of 0 no
   * buffer is named. Completion: result its bytes, or -errno.
   */
  sendDatagram: 22,
} as const

/** What NativeDriver.setOption sets. */
export const SocketOption = {
  noDelay: 1,
  /** Seconds of silence before the first probe; 0: none are sent. */
  keepAliveSeconds: 2,
  sendBufferBytes: 3,
  receiveBufferBytes: 4,
  /** The rest is of datagram sockets. */
  timeToLive: 20,
  multicastTimeToLive: 21,
  multicastLoopback: 22,
  broadcast: 23,
  /** The kernel may join datagrams of one sender (UDP_GRO, Linux 5.0). */
  coalesce: 24,
} as const

/**
 * A buffer with a datagram begins with the words [length of the sender's address, length of the control message, bytes, flags of
 * recvmsg(2)], then come the sender's sockaddr and the control message, and at this offset are the bytes.
 */
export const DATAGRAM_HEADER_BYTES = 72

/** Where in it the length of the control message, the flags and the sender's sockaddr are. */
export const DATAGRAM_CONTROL_LENGTH_OFFSET = 4
export const DATAGRAM_FLAGS_OFFSET = 12
export const DATAGRAM_NAME_OFFSET = 16

/** Where the size is that joined datagrams have, when there is a control message: nothing else is asked for. */
export const DATAGRAM_SEGMENT_OFFSET = 64

/** Words of an address: four bytes of the sockaddr, one of IPv4 or four of IPv6, the scope of IPv6. */
export const ADDRESS_WORDS = 6

/** Completion flag: the operation stays in flight; further completions follow. */
export const FLAG_MORE = 1

/** Address families as `NativeDriver.open` takes them. */
export const Family = { inet: 4, inet6: 6, unix: 1 } as const

export type DriverKind = 'uring' | 'epoll'

export interface NativeOptions {
  /** Bytes of the stream engine's receive pool; rounded up to whole buffers. */
  poolBytes: number
  /** Submission queue entries (uring). Shrunk by halves on ENOMEM. */
  submissionEntries: number
  /** Completion queue entries (uring). */
  completionEntries: number
  /** Commands the command buffer holds. */
  commandCapacity: number
  /** Completions per dispatch call. */
  batchSize: number
  /** Endpoints that may exist at one time; more are refused with -ENFILE. At most 1 << SLOT_BITS. */
  endpointsMax: number
  /** Buffers that may be provided for receives at one time. At most 32768. */
  receiveBuffers: number
  /** Microseconds that a gathered write may wait for others (stream engine). 1 to 1000000. */
  gatherUs: number
  /** Feature bits (as in Probe) to leave unused, for tests of the degraded paths. */
  disable: number
}

/** One end of a TCP connection, or a listener: getsockname(2), getpeername(2). */
export interface SocketName {
  /** As text, IPv6 with its zone. */
  address: string
  /** 1 to 65535. */
  port: number
  /** Of the address; an IPv4 peer of a listener on `::` has an IPv6 address of the form ::ffff:a.b.c.d. */
  family: 'IPv4' | 'IPv6'
}

/** What the kernel offers, by probe; keys are stable names shown to users. */
export interface Probe {
  /** uname release. */
  kernel: string
  /** 0, or the -errno with which io_uring_setup, or the self-test on the new ring, failed. */
  uringError: number
  /** The step that failed: '' | 'setup' | 'nop' | 'receive' | 'opcodes' | 'buffers'. */
  uringStep: string
  features: Record<
    | 'coopTaskrun'
    | 'singleIssuer'
    | 'deferTaskrun'
    | 'multishotAccept'
    | 'multishotReceive'
    | 'bufferRing'
    | 'syncCancel'
    | 'sendZeroCopy'
    | 'splice',
    boolean
  >
}

/** Addresses as the kernel takes them and as people read them. */
export interface NativeAddresses {
  /** Fills the words of an address. 0 or -errno. */
  parseAddress(family: number, address: string, port: number, words: Int32Array): number
  /** The opposite. 0 or -errno. */
  formatAddress(words: Int32Array, out: Partial<SocketName>): number
}

/** Of datagram sockets. */
export interface NativeDatagrams extends NativeAddresses {
  /** socket(2), close-on-exec. `family` is inet or inet6. An id or -errno. */
  openDatagram(family: number): number
  /** bind(2). flags: 1 = IPV6_V6ONLY, 2 = SO_REUSEPORT, 4 = SO_REUSEADDR. 0 or -errno. */
  bindDatagram(id: number, address: string, port: number, flags: number): number
  /** connect(2), which does not wait. '' ends it. 0 or -errno. */
  connectDatagram(id: number, address: string, port: number): number
  /**
   * Sends one datagram within the call, to where `words` say or to where the socket is connected. Its bytes, or -errno (-EAGAIN:
   * the kernel has no room now).
   */
  sendDatagramNow(
    id: number,
    buffer: number,
    offset: number,
    length: number,
    words: Int32Array | null,
  ): number
  /** Joins (1) or leaves (0) a group, on the interface with that address; '': the kernel's choice. 0 or -errno. */
  membership(id: number, group: string, networkInterface: string, join: number): number
  /** The interface that multicasts leave by. 0 or -errno. */
  multicastInterface(id: number, networkInterface: string): number
}

export interface NativeDriver extends NativeDatagrams {
  readonly commands: ArrayBuffer
  readonly completions: ArrayBuffer
  /** Takes the queued commands now and enters the kernel once if need be. Never blocks, never calls back. */
  submit(): void
  /** Whether this driver keeps the event loop alive: 1 or 0. Starts with 0. */
  setRef(on: number): void
  /** socket(2), close-on-exec. An id or -errno. */
  open(family: number): number
  /** Takes over the descriptor of a connected stream socket. An id, or -errno: then it stays the caller's. */
  adopt(fd: number): number
  /** An endpoint that reads from the regular file of a descriptor, which stays the caller's. An id or -errno. */
  openFile(fd: number): number
  /**
   * recv(2), within the call, into the beginning of a buffer. Bytes; 0 at the end of the stream; -EAGAIN when nothing is there; -errno.
   * No receive is in flight.
   */
  receiveNow(id: number, buffer: number, length: number): number
  /** A pipe for up to 256 KiB, for the three that follow. An id or -errno (-ENOSYS: splice(2) is refused here). */
  openPipe(): number
  /** splice(2) from a socket into a pipe that is empty. Bytes; 0 at the end of the stream; -EAGAIN when nothing is there; -ENOSYS: it is refused; -errno. */
  fillPipe(pipe: number, from: number, length: number): number
  /** splice(2) from a pipe that holds as many bytes into a socket. Bytes; -EAGAIN when there is no room; -errno. */
  drainPipe(pipe: number, to: number, length: number): number
  /** read(2) from a pipe into the beginning of a buffer. Bytes or -errno. */
  readPipe(pipe: number, buffer: number, length: number): number
  /**
   * An endpoint on another descriptor of a stream socket that is bound, to listen on. Closing it leaves the socket to its other
   * descriptors, what waits in the backlog included; their mode becomes this driver's. An id or -errno.
   */
  share(fd: number): number
  /**
   * bind(2). `address` is an IP literal (IPv6 may carry %zone) or a Unix path (a leading NUL names an abstract one). flags:
   * 1 = IPV6_V6ONLY, 2 = SO_REUSEPORT. SO_REUSEADDR is always set on TCP. 0 or -errno.
   */
  bind(id: number, address: string, port: number, flags: number): number
  /** Starts a connect. 0: its completion will come. -errno: refused, nothing is in flight. */
  connect(token: number, id: number, address: string, port: number): number
  /** listen(2). 0 or -errno. */
  listen(id: number, backlog: number): number
  /** getsockname(2), or with `peer` 1 getpeername(2). Fills `out`; for Unix sockets address is the path and port 0. 0 or -errno. */
  name(id: number, peer: number, out: Partial<SocketName>): number
  /** The descriptor, or -EBADF. It stays the driver's. */
  fd(id: number): number
  /** setsockopt(2), `option` of SocketOption. 0 or -errno. */
  setOption(id: number, option: number, value: number): number
  /** Buffer `index` is that memory from now on. 0 or -errno. */
  register(index: number, memory: ArrayBuffer): number
  /** Bytes of a send in flight that the kernel has not taken yet; 0 when there is none. */
  unsent(token: number): number
  /**
   * For bytes that are to follow a send when there is no time to wait for its completion: submits, and if no send is in
   * flight then, offers them without waiting. How many were taken, from the first on; 0 also when a send is in flight; -errno.
   */
  offer(id: number, bytes: Uint8Array): number
  /** Current counters, by name. */
  stats(): NativeStats
  /**
   * Cancels everything, waits until nothing is in flight (bounded, 2 s; for reads from files without a bound), closes every
   * descriptor and the ring. No further dispatch. 0, or the number of operations that would not end.
   */
  close(): number
}

/** Words of NativeStreamEngine.pieces and .entries. */
export const PIECE_HEADER_WORDS = 4
export const PIECE_WORDS = 4
export const PIECE_ENDS = 1 << 16
export const ENTRY_HEADER_WORDS = 4
export const ENTRY_WORDS = 3

/**
 * Receives and sends below libuv's own handles. A stream is named by an id; the handle and its descriptor stay Node's, and
 * whoever closes it detaches the stream first. Numbers that name no stream are refused with -EBADF.
 */
export interface NativeStreamEngine {
  /**
   * A batch: word 0 how many pieces, word 1 the cursor, which dispatch moves before it runs a callback, word 2 -errno once
   * the kernel has refused to go on and libuv receives. Piece i:
   * [id, result, offset, next]. result > 0: bytes at `offset` of the pool, there until dispatch returns; 0: end of the
   * stream; -errno. `next`: index of the stream's next piece in this batch, or 0, plus
   * PIECE_ENDS * (1 + errno) when the stream is known to end behind it, by errno or in good order (0). An `offset` below 0: a send that had been
   * told as done has failed.
   */
  readonly pieces: ArrayBuffer
  readonly pool: ArrayBuffer
  /**
   * Gathered writes: word 0 how many, word 1 at how many to flush, word 2 writes in this turn of the loop (below 0: none may
   * be gathered now), word 3 how many of the bytes are used. Entry i: [id, offset, length].
   */
  readonly entries: ArrayBuffer
  /** The bytes of the gathered writes. */
  readonly bytes: ArrayBuffer
  /** The stream of the handle with this descriptor. An id or -errno. */
  attach(fd: number, isUnix: number): number
  /** Sends what is gathered, stops receiving, forgets the stream. Answers as disarm. */
  detach(id: number): Uint8Array | number
  /** From the end of this turn on what arrives is received. 0 or -errno. */
  arm(id: number): number
  /**
   * Nothing is received any more. What had arrived and is in no batch yet, 0 if that is nothing, or -EBADF. pieces[3] says how the
   * stream has ended behind it: 0 it has not, 1 with an end, or -errno.
   */
  disarm(id: number): Uint8Array | number
  /** A piece with result -EAGAIN comes with the next batch. */
  wake(id: number): number
  /** The connection is reset when it is closed. */
  resetOnClose(id: number): number
  /** Bytes that the kernel certainly has room for, or -errno. */
  room(id: number): number
  /** The first write is gathered: it waits NativeOptions.gatherUs at most. 0 or -errno. */
  begin(): number
  /** Sends what is gathered, without waiting. */
  flush(): void
  /** Sends `length` of the bytes at once. How many the kernel took, or -errno. */
  send(id: number, offset: number, length: number): number
  /** Whether the engine keeps the event loop alive: 1 or 0. */
  setRef(on: number): void
  stats(): NativeStats
  /** Ends it; no further dispatch. The number of receives that would not end. */
  close(): number
}

/** Words of NativeDatagramEngine.pieces, and bytes of a slot of its pool. */
export const DATAGRAM_PIECE_HEADER_WORDS = 2
export const DATAGRAM_PIECE_WORDS = 2
export const DATAGRAM_SLOT_BYTES = 65536 + DATAGRAM_HEADER_BYTES

/** Receives for libuv's UDP handles. The handle and its descriptor stay Node's, and who closes it unwatches it first. */
export interface NativeDatagramEngine extends NativeAddresses {
  /**
   * A batch: word 0 how many pieces, word 1 the cursor, which dispatch moves before it runs a callback. Piece i: [id, result].
   * result > 0: as many bytes are in slot i of the pool until dispatch returns, a header (see Op.receiveDatagrams) and a datagram;
   * -errno: an error of the socket, which goes on.
   */
  readonly pieces: ArrayBuffer
  readonly pool: ArrayBuffer
  /** What arrives at a descriptor is received from now on. An id or -errno. */
  watch(fd: number): number
  /** Nothing is any more. 0 or -errno. */
  unwatch(id: number): number
  /** Whether the engine keeps the event loop alive: 1 or 0. */
  setRef(on: number): void
  stats(): NativeStats
  /** Ends it; no further dispatch. 0. */
  close(): number
}

/** What a driver has done so far, and has in flight. Counters only grow; they are of one thread. */
export interface NativeStats {
  /** Endpoints that exist. */
  endpoints: number
  /** Endpoints that were made so far: what was connected, accepted, listened on, adopted. */
  opened: number
  /** Operations in flight (a multishot operation counts once). */
  inFlight: number
  /** Operations submitted so far. */
  submissions: number
  /** Completions delivered to dispatch so far. */
  completions: number
  /** Dispatch calls so far. */
  batches: number
  /** Times the kernel was entered to submit or reap (uring), or epoll_wait was called (epoll). */
  enters: number
  /** Bytes received so far. What libuv receives for a socket of net is not in it. */
  bytesReceived: number
  /** Bytes sent so far. What libuv sends for a socket of net is not in it. */
  bytesSent: number
  /** Times the receive pool ran dry under an operation. */
  poolExhausted: number
  /** Times the completion queue overflowed (uring). */
  overflows: number
  /** Completions of the kernel that name no operation: dropped. Anything but 0 is a defect. */
  unexpectedCompletions: number
  /** Size of the submission queue (uring), after shrinking. */
  submissionEntries: number
  /** Size of the completion queue (uring), after shrinking. */
  completionEntries: number
  /** Feature bits in use, as names. */
  features: string[]
}

/** What a Driver needs of the addon. */
export interface DriverBinding {
  contractVersion: number
  /** Asks the kernel; costs a few system calls, keeps nothing. */
  probe(): Probe
  /**
   * Makes a driver on the calling thread's event loop. Returns it, or -errno.
   * `dispatch` is called with no arguments whenever completions are ready.
   */
  createDriver(
    kind: DriverKind,
    options: NativeOptions,
    dispatch: () => number,
  ): NativeDriver | number
  /** SO_SNDBUF and SO_RCVBUF in bytes, socket(7); 0 leaves one as it is. 0 or -errno. For tests of back-pressure. */
  setBufferBytes(fd: number, send: number, receive: number): number
  /** Another descriptor, close-on-exec, of a stream socket (F_DUPFD_CLOEXEC, fcntl(2)): the caller's. It or -errno. */
  duplicate(fd: number): number
  /** The native side's own values of the constants in this file, by name. */
  constants: Record<string, number> & { features: string[] }
}

/** The addon. */
export interface Binding extends DriverBinding {
  /**
   * Makes a stream engine on the calling thread's event loop: it, -errno, or what is not as expected in this libuv.
   */
  createEngine(
    kind: DriverKind,
    options: NativeOptions,
    dispatch: () => number,
  ): NativeStreamEngine | number | string
  /** Makes an engine for UDP handles on the calling thread's event loop, the same on either driver: it or -errno. */
  createDatagramEngine(
    kind: DriverKind,
    options: NativeOptions,
    dispatch: () => number,
  ): NativeDatagramEngine | number
  /** Sends what is gathered by the engines of all threads of the process. */
  sendAllGathered(): void
  /** Reports an exception as one that nobody caught, in the async context of now. */
  report(error: unknown): void
}

/** What the addon is in: two up from src/core, and from dist/src, where the bundle is. */
const folder = join(__dirname, '..', '..', 'native')

/** What was built here (native/build), else what the package brings for this platform (native/prebuilds). */
function findAddon(): string {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- it has no types
  const load = require('node-gyp-build') as { resolve(directory: string): string }
  try {
    return load.resolve(folder)
  } catch {
    const platform = `${process.platform}-${process.arch}`
    throw new Error(
      `uring-net: the native addon is not built for ${platform} (looked in ${folder})`,
    )
  }
}

/** Loads the addon. Throws with a clear message when it is missing or was built from other sources. */
export function loadBinding(): Binding {
  const path = process.env.URING_NET_ADDON ?? findAddon()
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- a .node file can only be required
  const binding = require(path) as Binding
  if (binding.contractVersion !== CONTRACT_VERSION) {
    throw new Error(
      `uring-net: the native addon at ${path} speaks contract ${binding.contractVersion}, this package ${CONTRACT_VERSION}; rebuild it`,
    )
  }
  return binding
}
