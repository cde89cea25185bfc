/**
 * The contract between TypeScript and the native drivers, and the only place that loads the addon.
 *
 * Both drivers (io_uring and epoll) implement this one interface. Nothing here knows what a stream is: the native side
 * knows endpoints (a descriptor with its operations in flight), bytes, and -errno.
 *
 * ## Endpoints
 * An endpoint is named by an `id`: `generation << 20 | slot`, a positive 31-bit integer. The slot is reused only after
 * its `closed` completion, with the next generation. Every call and command that carries an unknown or stale id is
 * refused with -EBADF and changes nothing.
 *
 * ## Commands (TypeScript to native)
 * `commands` is an Int32Array in memory that the native side owns. Word 0 is the number of commands queued; command i
 * occupies COMMAND_WORDS words from COMMAND_HEADER_WORDS + i * COMMAND_WORDS: `[opcode, id, a, b]`.
 * The native side takes them in order, once in every loop turn (before the loop sleeps) and whenever `submit()` is
 * called, and sets word 0 to zero. A command that cannot be carried out yields a completion of the same opcode with
 * -errno (-EBADF stale id, -EINVAL bad offset/length/opcode, -EALREADY an operation of that kind is already in flight).
 *
 * ## Completions (native to TypeScript)
 * `completions` is an Int32Array. Word 0 is the number of completions in the batch, word 1 the cursor: the dispatch
 * function stores the index of the next completion there BEFORE it runs any callback. Completion i occupies
 * COMPLETION_WORDS words from COMPLETION_HEADER_WORDS + i * COMPLETION_WORDS: `[opcode | flags << 8, id, result, extra]`.
 * The native side calls the dispatch function in a callback scope. When it throws, the exception goes to
 * 'uncaughtException' and dispatch is called again.
 * Dispatch answers one of Dispatched.
 * In a batch, wakes, completions of shutdowns, of sends that succeeded, were cancelled or were refused, and those of
 * endpoints being closed come first, wakes and shutdowns in the order of their commands; of sends that failed
 * after the receives (a reset ends both, and the receive is what tells of it). `closed` completions have batches of their
 * own, in the closing phase of the loop. Word 2 is the number of those that come first, or 0. A send mostly completes
 * when it is submitted, and under libuv it would have completed before anything else was read: dispatch, having delivered
 * them and finding commands queued, answers Dispatched.submit. Word 3 counts the turns of the event loop; in one turn it
 * may be called several times.
 *
 * ## Who owns the bytes
 * Receive pool: the native side owns it. The bytes of a receive completion may be read until the dispatch call that
 * carried it has moved on to the end of the batch; whoever wants them longer copies them.
 * Send arena: TypeScript allots ranges. A range named by a send command belongs to the kernel until the send's one
 * completion; native memory outlives every operation that names it, whatever TypeScript does.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Raised with every change of the layout or meaning of anything in this file; the addon reports its own. */
export const CONTRACT_VERSION = 4

/** Chunks that one sendNow takes. */
export const CHUNKS_MAX = 65536

export const COMMAND_HEADER_WORDS = 4
export const COMMAND_WORDS = 4
export const COMPLETION_HEADER_WORDS = 4
export const COMPLETION_WORDS = 4

/** An id's low bits are the slot; the rest is the generation. */
export const SLOT_BITS = 20

/** Operation codes, in commands and completions alike. At most one operation of each kind is in flight per endpoint. */
export const Op = {
  /**
   * Command [receive, id, reserve]: arm a receive that delivers until it terminates. With reserve = 1, for who found the
   * pool empty: one receive into a buffer that is kept for this, so that fast senders cannot starve others of it.
   * Completion: result > 0 bytes at receive-pool offset `extra`; 0 end of stream; -errno. Flag MORE: still armed.
   * A completion without MORE is the last one of the operation: whoever wants more bytes arms again (also after
   * -ENOBUFS, when the pool ran dry; pool buffers are returned when the batch ends).
   */
  receive: 1,
  /**
   * Command [send, id, offset, length]: send that range of the arena, all of it (short sends are continued natively).
   * Completion, exactly one: result = length, or -errno with `extra` = bytes the kernel took before. -ECANCELED when
   * cancelled.
   */
  send: 2,
  /** Command [shutdown, id]: shutdown(SHUT_WR). Refused with -EBUSY while a send is in flight. Completion: 0 or -errno. */
  shutdown: 3,
  /** Command [accept, id]: arm an accept that delivers until it terminates. Completion: result = id of the new endpoint, or -errno. Flag MORE. */
  accept: 4,
  /** Started by NativeDriver.connect(). Completion: 0 or -errno. */
  connect: 5,
  /**
   * Command [cancel, id, opcode]: ask that the operation of that kind end. A request: it has no completion of its own;
   * the target's last completion tells what happened (data that came first is delivered first). Nothing happens if no
   * such operation is in flight.
   */
  cancel: 6,
  /**
   * Command [close, id, how]: cancel everything in flight (after a send queued before it had its first attempt), wait
   * for every last completion, then close the descriptor. `how` is one of CloseHow; a second command may still change it.
   * A listening endpoint stops taking connections at once. Completion: exactly one, always the last of this id, result 0.
   * It comes in the closing phase of the loop's turn, after immediates, as the callback of uv_close.
   * After the command only `closed` may be expected for certain; last completions of cancelled operations precede it.
   */
  close: 7,
  /** Command [wake, 0]: nothing but a completion, in the loop's next turn at the latest. Completion: result 0. */
  wake: 8,
} as const

/** What dispatch answers. */
export const Dispatched = {
  /** The batch is delivered. */
  done: 0,
  /**
   * Commands are to be submitted; what the submission itself completes (shutdowns, wakes, refusals) comes before the rest
   * of the batch. Nothing is received for it.
   */
  submit: 1,
} as const

/** How an endpoint is closed. */
export const CloseHow = {
  orderly: 0,
  /** SO_LINGER 0 first: the peer sees RST. */
  reset: 1,
  /**
   * Bytes were received that nobody has read. With libuv they would have been in the kernel yet, and close(2) would have
   * reset the connection (RFC 2525, 2.17): done likewise.
   */
  unread: 2,
} as const

/** Completion flag: the operation stays in flight; further completions follow. */
export const FLAG_MORE = 1

/** Address families as `NativeDriver.open` takes them. */
export const Family = { inet: 4, inet6: 6, unix: 1 } as const

export type DriverKind = 'uring' | 'epoll'

export interface NativeOptions {
  /** Bytes of send arena; rounded up to a page. */
  arenaBytes: number
  /** Bytes of receive pool; rounded up to whole buffers. On uring 320 KiB of reserve and spill come on top. */
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
  /** Microseconds that a gathered write may wait for others (stream engine). 1 to 1000000. */
  gatherUs: number
  /** Bytes that sendNow may hold in heap blocks at one time; more is refused with -ENOBUFS. */
  heapBytesMax: number
  /** Feature bits (as in Probe) to leave unused, for tests of the degraded paths. */
  disable: number
}

/** Filled by NativeDriver.name(). */
export interface SocketName {
  address: string
  port: number
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
    | 'incrementalBuffers'
    | 'syncCancel'
    | 'sendZeroCopy',
    boolean
  >
}

export interface NativeDriver {
  readonly commands: Int32Array
  readonly completions: Int32Array
  readonly arena: Uint8Array
  readonly pool: Uint8Array
  /** Takes the queued commands now and enters the kernel once if need be. Never blocks, never calls back. */
  submit(): void
  /**
   * Takes the queued commands now, without entering the kernel for what can wait for the turn's submission. A connection
   * that is closed with nothing under way ends its stream in here, as close(2) would.
   */
  take(): void
  /** Whether this driver keeps the event loop alive. Starts false. */
  setRef(on: boolean): void
  /** socket(2), close-on-exec. Returns an id or -errno. */
  open(family: number): number
  /** bind(2). `address` is an IP literal (IPv6 may carry %zone) or a Unix path (a leading NUL names an abstract one). flags: 1 = IPV6_V6ONLY, 2 = SO_REUSEPORT. SO_REUSEADDR is always set on TCP. 0 or -errno. */
  bind(id: number, address: string, port: number, flags: number): number
  /** Starts a connect. 0: its completion will come. -errno: refused, nothing in flight. */
  connect(id: number, address: string, port: number): number
  /** listen(2). 0 or -errno. */
  listen(id: number, backlog: number): number
  /** getsockname(2) (peer false) or getpeername(2). Fills `out`; for Unix sockets address is the path and port 0. 0 or -errno. */
  name(id: number, peer: boolean, out: Partial<SocketName>): number
  /** The descriptor, or -EBADF. It stays the driver's, and nobody duplicates it. */
  fd(id: number): number
  /**
   * Sends from the caller's memory without waiting, when no send is in flight (else -EALREADY); several chunks one after
   * the other, at most CHUNKS_MAX, together at most 2^31 - 1 bytes and at least one.
   * Returns their length when the kernel took all of it (no completion follows). Otherwise the rest has been copied to a
   * heap block of the driver and a send is in flight for it: returns the bytes taken so far, 0 <= n < length, and the
   * send completion follows with result = length - n. -errno: nothing is in flight; nothing of it will be sent beyond
   * what was (poison the stream).
   */
  sendNow(id: number, bytes: Uint8Array | readonly Uint8Array[]): number
  /**
   * The same from a range of the arena, which stays the caller's if `length` is returned and otherwise belongs to the
   * kernel until the send completion.
   */
  sendBlock(id: number, offset: number, length: number): number
  /** Bytes of the send in flight that the kernel has not taken yet; 0 when there is none. -EBADF. */
  unsent(id: number): number
  /**
   * For bytes that are to follow the send in flight when there is no time to wait for its completion: submits, and if
   * the kernel has then taken that send whole (or none was in flight), offers `bytes` without waiting. Returns how many
   * were taken, from the first on; 0 also when the send in flight is blocked; -errno.
   */
  offer(id: number, bytes: Uint8Array): number
  /** A new ArrayBuffer over a range of the arena, for leases; the memory outlives it. -EINVAL on a bad range. */
  view(offset: number, length: number): ArrayBuffer | number
  /** Detaches an ArrayBuffer made by view(): every typed array over it becomes empty. */
  detach(view: ArrayBuffer): void
  /** Current counters, by name. */
  stats(): NativeStats
  /**
   * Cancels everything, waits (bounded, 1 s) until nothing is in flight, closes every descriptor and the ring, and
   * detaches commands, completions, arena and pool. Memory the kernel may still write is leaked, never freed.
   * No further dispatch calls. Returns 0, or the number of operations that would not end.
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
  /** Nothing is received any more. What had arrived and is in no batch yet; if that is nothing: 0, 1 after the end, or -errno. */
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

export interface NativeStats {
  /** Endpoints that exist. */
  endpoints: number
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
  /** Bytes received and sent so far. */
  bytesReceived: number
  bytesSent: number
  /** Times the receive pool ran dry under an operation. */
  poolExhausted: number
  /** Times the completion queue overflowed (uring). */
  overflows: number
  /** Bytes in sendNow heap blocks now. */
  heapBytes: number
  /** Ring sizes in use (uring), after shrinking. */
  submissionEntries: number
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
  /** Sends what is gathered by the engines of all threads of the process. */
  sendAllGathered(): void
  /** Reports an exception as one that nobody caught, in the async context of now. */
  report(error: unknown): void
}

/** Where the addon may lie, from src/core or dist/core alike. */
const addonPaths = [
  join(__dirname, '..', '..', 'native', 'build', 'Release', 'uring_net.node'),
  join(__dirname, '..', '..', '..', 'native', 'build', 'Release', 'uring_net.node'),
]

/** Loads the addon. Throws with a clear message when it is missing or was built from other sources. */
export function loadBinding(): Binding {
  const override = process.env.URING_NET_ADDON
  const path = override ?? addonPaths.find((candidate) => existsSync(candidate))
  if (path === undefined) {
    throw new Error(`uring-net: the native addon is not built (looked in ${addonPaths.join(', ')})`)
  }
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- a .node file can only be required
  const binding = require(path) as Binding
  if (binding.contractVersion !== CONTRACT_VERSION) {
    throw new Error(
      `uring-net: the native addon at ${path} speaks contract ${binding.contractVersion}, this package ${CONTRACT_VERSION}; rebuild it`,
    )
  }
  return binding
}
