/**
 * The parts of Node that a socket handle has to meet and that Node does not export: the JSStream class and a few
 * symbols. Finds them by behaviour, never by version number, and says what is missing when Node has changed. It changes
 * nothing in Node.
 */
import { closeSync } from 'node:fs'
import net from 'node:net'
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

/** Node's native TCP and Pipe handles. */
export interface NodeHandle {
  getAsyncId(): number
  /** Takes over a descriptor. 0 or -errno. */
  open(fd: number): number
  readonly fd: number
  close(callback?: () => void): void
}

/** What net.js puts into a write request. */
export interface WriteRequest {
  handle: object
  callback: (error?: Error | null) => void
  error?: string
  async?: boolean
}

export interface NodeInternals {
  JSStream: new () => JSStream
  /** `kind` 0 is a connection, 1 a server. */
  TCP: new (kind: number) => NodeHandle
  Pipe: new (kind: number) => NodeHandle
  /** What net.js has a handle call with what it reads. */
  onStreamRead: unknown
  /** What net.js has a write request call with its end (0 or -errno), with the request as `this`. */
  onWriteComplete: (this: WriteRequest, status: number) => void
  /** Property of a handle that names the socket it serves. */
  owner: symbol
  /** Method of net.Socket that gives a socket another handle. */
  reinitializeHandle: symbol
  /** Property of net.Socket: bytes of the write in flight, which _onTimeout compares. */
  lastWriteQueueSize: symbol
  /** Property of net.Socket: the onread buffer, or null. */
  userBuffer: symbol
}

/**
 * A member of one of Node's native modules, or undefined. process.binding warns once under --pending-deprecation and is
 * closed under --permission.
 */
function fromBinding(module: string, name: string): unknown {
  const isLoud =
    process.execArgv.includes('--pending-deprecation') ||
    process.env.NODE_PENDING_DEPRECATION === '1' ||
    (process.env.NODE_OPTIONS ?? '').includes('--pending-deprecation')
  if (isLoud) return undefined
  try {
    const { binding } = process as unknown as {
      binding(module: string): Record<string, unknown>
    }
    return binding.call(process, module)[name]
  } catch {
    return undefined
  }
}

type HandleClass = NodeInternals['TCP']

/** The class of the handle that net.js makes to listen on that address. */
function classOfListener(address: string, addressType: number): HandleClass {
  const { _createServerHandle: create } = net as unknown as {
    _createServerHandle(address: string, port: number, addressType: number): NodeHandle | number
  }
  const handle = create(address, addressType === -1 ? -1 : 0, addressType)
  if (typeof handle === 'number') throw new Error(`no handle can be made for it: ${handle}`)
  handle.close()
  return handle.constructor as HandleClass
}

function findTCP(): HandleClass {
  return (fromBinding('tcp_wrap', 'TCP') as HandleClass) ?? classOfListener('127.0.0.1', 4)
}

function findPipe(): HandleClass {
  const found = fromBinding('pipe_wrap', 'Pipe') as HandleClass
  return found ?? classOfListener(`\0uring-net ${process.pid} ${process.hrtime.bigint()}`, -1)
}

function findJSStream(): new () => JSStream {
  const found = fromBinding('js_stream', 'JSStream')
  if (found !== undefined) return found as new () => JSStream
  // The way through a TLSSocket over a Duplex is always open and always quiet, but loads tls.
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

/** net.js gives it to a request before it hands that to the handle, or (Node 26.10) to the object that the handle answers. */
function findOnWriteComplete(socket: net.Socket, handle: object): NodeInternals['onWriteComplete'] {
  let request: { oncomplete?: unknown } = {}
  const writeLatin1String = (given: object | null): object | number => {
    if (given === null) return request
    request = given
    return 0
  }
  Object.defineProperty(handle, 'writeLatin1String', { value: writeLatin1String })
  const { _writeGeneric: write } = socket as unknown as {
    _writeGeneric(isWritev: boolean, data: string, encoding: string, callback: () => void): void
  }
  write.call(socket, false, '', 'latin1', () => {})
  if (typeof request.oncomplete !== 'function') {
    throw new Error(`Node ${process.version} writes in a way that is not known`)
  }
  return request.oncomplete as NodeInternals['onWriteComplete']
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
    TCP: findTCP(),
    Pipe: findPipe(),
    onStreamRead: handle.onread,
    onWriteComplete: findOnWriteComplete(socket, handle),
    owner: symbolOf(handle, 'owner_symbol'),
    reinitializeHandle: symbolOf(socket, 'kReinitializeHandle'),
    lastWriteQueueSize: symbolOf(socket, 'lastWriteQueueSize'),
    userBuffer: symbolOf(socket, 'kBuffer'),
  }
}

/** What was found, or why not. */
const result: NodeInternals | Error = (() => {
  try {
    return find()
  } catch (error) {
    return error as Error
  }
})()

/** Why sockets and servers cannot run on a driver in this Node; undefined when they can. */
export const missing: Error | undefined = result instanceof Error ? result : undefined

/** What was found; stand-ins, to be extended but never used, when something is missing. */
export const internals: NodeInternals =
  result instanceof Error
    ? {
        JSStream: class {} as unknown as NodeInternals['JSStream'],
        TCP: class {} as unknown as NodeInternals['TCP'],
        Pipe: class {} as unknown as NodeInternals['Pipe'],
        onStreamRead: undefined,
        onWriteComplete: () => {},
        owner: Symbol('owner'),
        reinitializeHandle: Symbol('reinitializeHandle'),
        lastWriteQueueSize: Symbol('lastWriteQueueSize'),
        userBuffer: Symbol('userBuffer'),
      }
    : result

/** The kinds of Node's handles. */
export const connection = 0
export const listener = 1

/** A handle of Node's that owns `fd`, or -errno with `fd` closed. */
export function openForNode(
  handleClass: NodeInternals['TCP'],
  kind: number,
  fd: number,
): NodeHandle | number {
  const handle = new handleClass(kind)
  const status = handle.open(fd)
  if (status === 0) return handle
  handle.close()
  closeSync(fd)
  return status
}
