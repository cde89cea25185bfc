/**
 * What goes wrong when sockets of completion are made to look like sockets of readiness, by the numbers that checks name.
 * Each was seen in a real project. What cannot be seen from outside says so, and where it is tested instead.
 */
export interface Hazard {
  /** In kebab case. */
  name: string
  /** What happens, and what goes wrong. */
  what: string
  /** Why no check of the suite can look at it. */
  unseen?: string
}

const zeroCopy = 'uring-net sends no memory of the program; nothing of it reaches a socket'

const list: readonly Hazard[] = [
  // Acceptance and order
  {
    name: 'other-bytes-after-would-block',
    what: 'a writer that was refused comes back with another frame first; the wrapper sends the old one all the same',
  },
  { name: 'false-taken-for-refusal', what: 'the chunk whose write() returned false is dropped' },
  { name: 'refusal-that-keeps', what: 'a chunk that was refused is sent later' },
  { name: 'two-sends-in-flight', what: 'two sends of one socket are carried out in any order' },
  {
    name: 'short-send',
    what: 'the kernel takes a part, and the rest is forgotten or counted twice',
  },
  { name: 'short-send-in-a-chain', what: 'the next send of a chain runs although one was short' },
  {
    name: 'gathered-boundaries',
    what: 'a gathered write is cut inside a piece, or beyond IOV_MAX',
  },
  { name: 'http2-under-pressure', what: 'urgent frames overtake what was taken already' },
  { name: 'tls-record-sent-twice', what: 'a repeated or exchanged record is a bad MAC' },
  { name: 'last-byte-without-a-push', what: 'one small write stays until somebody calls again' },
  // Memory
  { name: 'changed-after-write', what: 'the program changes a chunk that still waits' },
  { name: 'changed-after-small-write', what: 'as before, where libuv has sent within the call' },
  { name: 'memory-transferred', what: 'the ArrayBuffer of a waiting chunk goes to another thread' },
  { name: 'memory-resized-or-shared', what: 'it shrinks, or another thread writes to it' },
  { name: 'memory-collected', what: 'nothing holds a waiting chunk any more' },
  { name: 'pool-used-again', what: 'a chunk that the program kept changes under its hands' },
  { name: 'zero-copy-told-twice', what: 'memory is freed between two answers', unseen: zeroCopy },
  { name: 'zero-copy-told-once', what: 'the second answer never comes', unseen: zeroCopy },
  { name: 'zero-copy-without-memory', what: 'the kernel may lock no page', unseen: zeroCopy },
  // Cancelling, destroying, numbers used again
  {
    name: 'destroyed-while-sending',
    what: 'callbacks are lost, or memory goes before the kernel is done',
  },
  {
    name: 'destroyed-while-queued',
    what: 'what no send has begun is forgotten, or sent afterwards',
  },
  { name: 'end-without-flush', what: 'the stream ends before what was written' },
  {
    name: 'cancel-races-the-end',
    what: 'an operation ends while it is cancelled, and counts twice or never',
  },
  { name: 'cancelled-with-data', what: 'bytes that came before the cancel are dropped' },
  { name: 'reading-again-too-early', what: 'resume() between a cancel and its answer is lost' },
  { name: 'cancelled-accept', what: 'a connection that was accepted meanwhile leaks' },
  { name: 'cancelled-with-a-buffer', what: 'a buffer that was picked for it never comes back' },
  { name: 'number-used-again-early', what: 'an operation reaches the next owner of a descriptor' },
  { name: 'number-used-again-late', what: 'an answer reaches the next owner of a slot' },
  { name: 'close-that-waits', what: 'a pending receive keeps a closed socket open' },
  { name: 'server-close-that-waits', what: 'connections are accepted after close()' },
  { name: 'cancel-lost-in-a-full-queue', what: 'what was to end goes on for ever' },
  { name: 'half-a-chain-in-a-full-queue', what: 'one of two operations is submitted' },
  // Half-close and order of closing
  { name: 'end-overtakes-data', what: 'the FIN leaves while a send waits' },
  { name: 'chain-broken-by-a-reset', what: 'what should have closed the socket never runs' },
  { name: 'half-open-reader', what: 'ending the own half ends the receiving too' },
  { name: 'peer-ends-first', what: 'allowHalfOpen is not kept, in one way or the other' },
  { name: 'closed-with-unread-bytes', what: 'the reset takes what was written with it' },
  { name: 'written-after-the-end', what: 'no error, or one for each, or bytes kept for ever' },
  { name: 'hole-after-an-error', what: 'the next chunk is sent although one was lost' },
  { name: 'reset-while-blocked', what: 'a part that was taken counts as success' },
  { name: 'end-and-destroy', what: 'events come in another order, twice, or never' },
  { name: 'closed-while-connecting', what: "'connect' after 'close', or a descriptor that leaks" },
  { name: 'connect-timeout', what: 'timeout and success are both told, or one as the other' },
  {
    name: 'timeout-with-progress',
    what: 'bytes of an operation that timed out are lost or repeated',
  },
  // Receiving
  { name: 'data-before-a-listener', what: 'what came early is lost, or its end is' },
  {
    name: 'paused-with-data-in-flight',
    what: "'data' after pause(), or lost, or in another order",
  },
  { name: 'reader-that-never-reads', what: 'memory grows as long as the peer sends' },
  {
    name: 'pool-is-empty',
    what: 'errors, stalls, an end that is lost, one connection that starves',
  },
  { name: 'pool-held-by-the-program', what: 'nobody receives while somebody keeps his chunks' },
  { name: 'receive-that-ends-by-itself', what: 'it is not armed again, or twice' },
  {
    name: 'buffers-filled-bit-by-bit',
    what: 'what one message is comes in pieces, or a buffer goes back early',
  },
  { name: 'two-receives', what: 'two receives of one socket exchange their bytes' },
  { name: 'empty-taken-for-the-end', what: 'an empty write or chunk ends the stream' },
  { name: 'hand-over', what: 'bytes behind a header are lost to the next reader' },
  // Loop, ring, threads
  { name: 'many-answers-at-once', what: 'more completions than the queue holds' },
  { name: 'wake-up-lost', what: 'the loop sleeps although something is to be done' },
  {
    name: 'calls-from-within-a-batch',
    what: 'a listener writes to, closes, destroys other sockets',
  },
  { name: 'throwing-listener', what: 'what came with it is lost, or the state is half changed' },
  {
    name: 'exit-in-flight',
    what: 'the process ends while the kernel uses its memory',
    unseen: 'takes the process with it: test/e2e/process, test/native/environment',
  },
  {
    name: 'worker-ends-in-flight',
    what: 'a thread ends while the kernel uses its memory',
    unseen:
      'a subject cannot be taken to another thread: test/native/environment, test/e2e/process',
  },
  { name: 'child-inherits', what: 'a child process keeps a socket of its parent open' },
  {
    name: 'kernel-refuses',
    what: 'no io_uring, no memory to lock, an operation that is missing',
    unseen: 'is what the other drivers are for: every check runs on each',
  },
  { name: 'idle', what: 'an idle socket without ref keeps the process, or wakes it' },
  { name: 'submission-refused', what: 'the kernel takes a part of what was submitted' },
]

/** By number, from 1. */
export const hazards: ReadonlyMap<number, Hazard> = new Map(
  list.map((hazard, at) => [at + 1, hazard]),
)
