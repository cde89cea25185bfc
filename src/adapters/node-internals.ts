/**
 * The parts of Node that a socket handle has to meet and that Node does not export: the JSStream class and a few
 * symbols. Finds them by behaviour, never by version number, and says what is missing when Node has changed. It changes
 * nothing in Node.
 */
import * as net from 'node:net'
import { Duplex } from 'node:stream'

/** Node's native stream whose two ends are JavaScript: TLS, HTTP/2 and the HTTP parser attach to it as to a TCP handle. */
export interface JSStream {
  /** Takes what the handle reads. Must be a function whenever something is emitted: Node aborts otherwise. */
  onread: unknown
  /** Gives bytes to whoever is attached; copies them. */
  readBuffer(bytes: Uint8Array): void
  emitEOF(): void
  /** Ends a write that onwrite took. Exactly once. */
  finishWrite(request: object, status: number): void
  finishShutdown(request: object, status: number): void
  useUserBuffer(buffer: Uint8Array): void
  getAsyncId(): number
}

export interface NodeInternals {
  JSStream: new () => JSStream
  /** Property of a handle that names the socket it serves. */
  owner: symbol
  /** Method of net.Socket that gives a socket another handle. */
  reinitializeHandle: symbol
  /** Property of net.Socket: bytes of the write in flight, which _onTimeout compares. */
  lastWriteQueueSize: symbol
  /** Property of net.Socket: the onread buffer, or null. */
  userBuffer: symbol
}

function findJSStream(): new () => JSStream {
  // process.binding warns once under --pending-deprecation and is closed under --permission; the way through a
  // TLSSocket over a Duplex is open in both, but loads tls.
  const isQuiet =
    !process.execArgv.includes('--pending-deprecation') &&
    process.env.NODE_PENDING_DEPRECATION !== '1' &&
    !(process.env.NODE_OPTIONS ?? '').includes('--pending-deprecation')
  if (isQuiet) {
    try {
      const { binding } = process as unknown as {
        binding(name: string): { JSStream: new () => JSStream }
      }
      return binding.call(process, 'js_stream').JSStream
    } catch {
      // closed: the other way
    }
  }
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- only loaded when needed
  const tls = require('node:tls') as typeof import('node:tls')
  const socket = new tls.TLSSocket(new Duplex()) as unknown as {
    _handle: { _parent: { constructor: new () => JSStream } }
  }
  return socket._handle._parent.constructor
}

function symbolOf(holder: object, description: string): symbol {
  for (let object: object | null = holder; object; object = Object.getPrototypeOf(object)) {
    const found = Object.getOwnPropertySymbols(object).find((s) => s.description === description)
    if (found !== undefined) return found
  }
  throw new Error(`Node ${process.version} has no ${description} where it is expected`)
}

function find(): NodeInternals {
  const JSStreamClass = findJSStream()
  class Probe extends JSStreamClass {}
  const handle = new Probe()
  handle.onread = () => {}
  const options = { handle, manualStart: true } as unknown as net.SocketConstructorOpts
  const socket = new net.Socket(options)
  const { readBuffer, finishWrite, emitEOF } = handle
  if (!(handle instanceof JSStreamClass) || !readBuffer || !finishWrite || !emitEOF) {
    throw new Error(`Node ${process.version} has a JSStream that cannot be extended`)
  }
  if (typeof (net.Server.prototype as { _listen2?: unknown })._listen2 !== 'function') {
    throw new Error(`Node ${process.version} has no Server.prototype._listen2`)
  }
  return {
    JSStream: JSStreamClass,
    owner: symbolOf(handle, 'owner_symbol'),
    reinitializeHandle: symbolOf(socket, 'kReinitializeHandle'),
    lastWriteQueueSize: symbolOf(socket, 'lastWriteQueueSize'),
    userBuffer: symbolOf(socket, 'kBuffer'),
  }
}

/** What was found, or why not. */
export const internals: NodeInternals | Error = (() => {
  try {
    return find()
  } catch (error) {
    return error as Error
  }
})()
