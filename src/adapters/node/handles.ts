/**
 * Node's native TCP and Pipe handles, and what net.js hangs on them. Finds them by behaviour, never by version number, and
 * says what is missing when Node has changed. It changes nothing in Node.
 */
import net from 'node:net'

/** Node's TCP and Pipe handles, as far as we call them. */
export interface NodeHandle {
  readonly fd: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly isStreamBase: boolean
  reading: boolean
  onread: unknown
  getAsyncId(): number
  asyncReset(resource?: object): void
  open(fd: number): number
  close(callback?: () => void): void
  reset?(callback?: () => void): number
  readStart(): number
  readStop(): number
  ref(): void
  unref(): void
  hasRef(): boolean
  shutdown(request: object): number
  useUserBuffer(buffer: Uint8Array): void
}

export type HandleClass = new (kind: number) => NodeHandle

/** The kind of a handle for a connection. */
export const connection = 0

/** The members of net.Socket that handles and sockets use of each other; Node keeps them out of its types. */
export interface SocketInternals extends net.Socket {
  _handle: NodeHandle | null
  _pendingData: unknown
  _pendingEncoding: string
  /** http's parser, while it reads from the socket. */
  parser?: object | null
  _unrefTimer(): void
  _readableState: { sync: boolean; endEmitted: boolean }
  [key: symbol]: unknown
}

export interface Handles {
  TCP: HandleClass
  Pipe: HandleClass
  /** What net.js has a handle call with what it reads. */
  onStreamRead: unknown
  /** Property of a handle that names the socket it serves. */
  owner: symbol
  /** Property of net.Socket: the onread buffer, or null. */
  userBuffer: symbol
}

/**
 * A member of one of Node's native modules, or undefined. process.binding warns once under --pending-deprecation and is
 * closed under --permission.
 */
export function fromBinding(module: string, name: string): unknown {
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

/** The class of the handle that net.js makes to listen on that address. */
function classOfListener(address: string, addressType: number): HandleClass {
  const { _createServerHandle: create } = net as unknown as {
    _createServerHandle(address: string, port: number, addressType: number): NodeHandle | number
  }
  const handle = create(address, addressType === -1 ? -1 : 0, addressType)
  if (typeof handle === 'number') throw new Error(`no handle can be made for it: ${handle}`)
  // While it closes it is listed as an active resource, were it not for this.
  handle.unref()
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

export function symbolOf(holder: object, description: string): symbol {
  for (let object: object | null = holder; object; object = Object.getPrototypeOf(object)) {
    const found = Object.getOwnPropertySymbols(object).find((s) => s.description === description)
    if (found !== undefined) return found
  }
  throw new Error(`Node ${process.version} has no ${description} where it is expected`)
}

/** Throws when this Node lacks something. */
export function findHandles(): Handles {
  const handle: Partial<NodeHandle> = {}
  const options = { handle, manualStart: true } as unknown as net.SocketConstructorOpts
  const socket = new net.Socket(options)
  if (typeof handle.onread !== 'function') {
    throw new Error(`Node ${process.version} reads in a way that is not known`)
  }
  if (typeof (net.Server.prototype as { _listen2?: unknown })._listen2 !== 'function') {
    throw new Error(`Node ${process.version} has no Server.prototype._listen2`)
  }
  return {
    TCP: findTCP(),
    Pipe: findPipe(),
    onStreamRead: handle.onread,
    owner: symbolOf(handle, 'owner_symbol'),
    userBuffer: symbolOf(socket, 'kBuffer'),
  }
}
