/**
 * Sockets and servers that go to another process: child.send(message, socket), process.send, cluster's own messages, and
 * stdio of a spawned process. Node takes their handle for one of its own without asking, so it is given one: a handle of
 * its own kind over a second descriptor for the same socket. Owns that handle until Node does, or until the message is
 * written.
 */
import type { ChildProcess } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import net from 'node:net'
import { systemError } from '../core/errors'
import type { NodeHandle } from './node-internals'
import { ServerHandle } from './server-handle'
import { driver } from './socket-driver'
import { StreamHandle } from './stream-handle'
import type { SocketInternals } from './stream-handle'
import { installTransfer } from './transfer'

type Callback = (error: Error | null) => void

interface SendOptions {
  keepOpen?: boolean
}

/** What a process and a ChildProcess have in common. */
interface Channel {
  /** Sends at once, or later through this property again when a handle's arrival has not been confirmed yet. */
  _send?(message: unknown, handle: unknown, options: unknown, callback: unknown): boolean
  /** There while messages wait. */
  _handleQueue?: unknown[] | null
}

interface SpawnOptions {
  stdio?: unknown
}

interface Spawning extends Channel {
  spawn(options: SpawnOptions): unknown
}

type OurHandle = StreamHandle | ServerHandle

function isOurs(handle: unknown): handle is OurHandle {
  return handle instanceof StreamHandle || handle instanceof ServerHandle
}

let isInstalled = false

/** From now on what this thread sends to other processes is converted. Once; does nothing without a driver. */
export function installHandOver(): void {
  if (isInstalled || driver === undefined) return
  isInstalled = true
  installTransfer()
  convertOn(process as unknown as Channel)
  // Those that are there already.
  const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles(): Channel[] }
  for (const handle of handles.call(process)) convertOn(handle)
  subscribe('child_process', (message) => {
    prepareSpawn((message as { process: ChildProcess }).process as unknown as Spawning)
  })
}

function convertOn(channel: Channel): void {
  const base = channel._send
  if (typeof base !== 'function') return
  channel._send = function (message, handle, options, callback) {
    // While messages wait, this one is put behind them and comes here again; but a bare handle is looked at before.
    if (handle == null || (this._handleQueue && !isOurs(handle))) {
      return base.call(this, message, handle, options, callback)
    }
    const send = (converted: unknown, done: unknown): boolean =>
      base.call(this, message, converted, options, done)
    return sendConverted(handle, (options ?? {}) as SendOptions, callback, send)
  }
}

function sendConverted(
  handle: unknown,
  { keepOpen = false }: SendOptions,
  callback: unknown,
  send: (converted: unknown, callback: unknown) => boolean,
): boolean {
  if (isOurs(handle)) {
    const copy = copyOf(handle)
    return send(copy, closing(copy, callback))
  }
  if (!(handle instanceof net.Socket) && !(handle instanceof net.Server)) {
    return send(handle, callback)
  }
  const holder = handle as unknown as { _handle: unknown }
  const ours = holder._handle
  if (!isOurs(ours)) return send(handle, callback)
  const copy = copyOf(ours)
  holder._handle = copy
  if (handle instanceof net.Socket && !keepOpen) {
    // Node detaches the copy from the socket, and closes it when its arrival is confirmed.
    const isSent = send(handle, callback)
    if (holder._handle === copy) holder._handle = ours
    else (ours as StreamHandle).giveUp()
    return isSent
  }
  try {
    return send(handle, closing(copy, callback))
  } finally {
    holder._handle = ours
  }
}

function copyOf(handle: OurHandle): NodeHandle {
  const copy = handle.copyForNode()
  if (typeof copy === 'number') throw systemError(copy, 'write')
  return copy
}

/** A callback that closes the handle: by then the message is written, and the socket on its way. */
function closing(handle: NodeHandle, callback: unknown): Callback {
  return (error) => {
    handle.close()
    if (typeof callback === 'function') (callback as Callback)(error)
  }
}

/** In `stdio`, sockets are given by their descriptors. */
function prepareSpawn(child: Spawning): void {
  const { spawn } = child
  const value = function (this: Spawning, options: SpawnOptions): unknown {
    const lent: SocketInternals[] = []
    const stdio = Array.isArray(options?.stdio)
      ? options.stdio.map((entry: unknown) => descriptorOf(entry, lent))
      : options?.stdio
    const result = spawn.call(this, lent.length > 0 ? { ...options, stdio } : options)
    // The child reads from them.
    for (const socket of lent) {
      socket.pause()
      ;(socket._handle as StreamHandle).readStopNow()
    }
    convertOn(this)
    return result
  }
  Object.defineProperty(child, 'spawn', { value, writable: true, configurable: true })
}

function descriptorOf(entry: unknown, lent: SocketInternals[]): unknown {
  if (!(entry instanceof net.Socket)) return entry
  const socket = entry as SocketInternals
  const handle = socket._handle
  if (!(handle instanceof StreamHandle) || handle.fd < 0) return entry
  lent.push(socket)
  return handle.fd
}
