/**
 * What the suite is pointed at. A subject hands out connected pairs; `a` is the end that is judged, `b` the peer whose word
 * counts as what was on the wire. Owns no sockets: a pair's owner is the check that asked for it, until stop().
 */
import type { Socket } from 'node:net'
import type * as net from 'node:net'

/** What a subject says of itself. What is not declared is not assumed: see Check.needs and Check.opposite. */
export interface Capabilities {
  /** `a` is a net.Socket: addresses, counters, timeouts, noDelay, keepAlive, ref and unref, readyState, `connecting`. */
  socket?: boolean
  /** Ends one half without the other (allowHalfOpen). */
  halfOpen?: boolean
  /** A write's callback means that the kernel has its last byte, and `a` stands on a descriptor of its own. */
  kernel?: boolean
  /** TCP: resets are seen by the peer. */
  reset?: boolean
  /** `net` is given: servers and clients can be made. */
  module?: boolean
  /** Bytes pass through TLS: resets and half-open ends differ. */
  tls?: boolean
  /** What cannot be sent yet is copied within write(). A net.Socket keeps it by reference, as every Writable. */
  copies?: boolean
}

export type Capability = keyof Capabilities

export interface PairOptions {
  /** Of both ends; default true, so that nothing ends by itself. */
  allowHalfOpen?: boolean
  /** Of `a`, in bytes. */
  highWaterMark?: number
  /** Kernel buffers of a few KiB, where the subject can set them: then little is needed to fill a connection. */
  smallBuffers?: boolean
}

export interface Pair {
  a: Socket
  b: Socket
  /** Ends both, whatever state they are in. Called once, and waited for. */
  stop(): Promise<void> | void
}

export interface Subject {
  /** As reports show it. */
  name: string
  capabilities: Capabilities
  /** A connected pair; both ends unread, without listeners of the subject's own that consume bytes. */
  makePair(options?: PairOptions): Promise<Pair>
  /** For checks of servers and clients. `peer` is the module whose sockets are believed, node:net's mostly. */
  net?: typeof net
  /** Checks that this subject cannot pass, by id, each with the reason. They are run, and have to fail. */
  knownFailures?: Record<string, string>
  /** The same of checks that this subject fails on most runs and passes on some, when the timing is lucky. */
  racyFailures?: Record<string, string>
}
