/**
 * An acceptor as the `_handle` of a net.Server. Owns the acceptor; accepted connections belong to the net.Socket that
 * net.js builds around their handle. Nothing native attaches to a listening handle, but it is a native one: Node unwraps a
 * server that is sent to a child process without asking. Its own TCP handle is never opened, so that such a send fails
 * with EBADF if nobody has converted it (hand-over.ts).
 */
import { AsyncResource } from 'node:async_hooks'
import { chmodSync, statSync } from 'node:fs'
import { versions } from 'node:process'
import { Acceptor } from '../core/acceptor'
import type { AcceptorHandler } from '../core/acceptor'
import type { SocketName } from '../core/channel'
import type { Driver } from '../core/driver'
import { Errno } from '../core/errors'
import { internals, listener, openForNode } from './node-internals'
import type { NodeHandle, NodeInternals } from './node-internals'
import { PipeHandle, TcpHandle } from './socket-handles'

/** libuv before 1.51 (Node 20) adds to the mode of a path, later ones set it. */
const keepsMode = ((): boolean => {
  const [major, minor] = versions.uv.split('.').map(Number) as [number, number]
  return major === 1 && minor < 51
})()

/** Called with the handle of an accepted connection, or -errno of accept(2). */
export type OnConnection = (this: ServerHandle, status: number, handle?: object) => void

export abstract class ServerHandle extends internals.TCP implements AcceptorHandler {
  /** Set by net.js, which expects to be called with this handle as `this`. */
  onconnection: OnConnection | undefined

  protected readonly driver: Driver
  protected readonly acceptor: Acceptor
  readonly #resource: AsyncResource
  /** Node's handle for the same socket, which a cluster primary has sent; it goes when this one does. */
  readonly #sent: NodeHandle | undefined
  #isClosed = false

  constructor(driver: Driver, type: string, id: number, sent?: NodeHandle) {
    super(listener)
    this.driver = driver
    this.#sent = sent
    this.#resource = new AsyncResource(type, { requireManualDestroy: true })
    this.acceptor = new Acceptor(driver, id, this)
  }

  protected abstract handleFor(id: number): object

  protected get asyncId(): number {
    return this.#resource.asyncId()
  }

  listen(backlog: number): number {
    return this.acceptor.listen(backlog)
  }

  onAccept(id: number): void {
    // Made outside the scope: what a connection does later does not see the store of listen().
    const handle = this.handleFor(id)
    this.#resource.runInAsyncScope(() => this.onconnection?.(0, handle))
  }

  onAcceptError(errno: number): void {
    this.#resource.runInAsyncScope(() => this.onconnection?.(errno))
  }

  override close(callback?: () => void): void {
    if (this.#isClosed) return
    this.#isClosed = true
    let open = this.#sent === undefined ? 2 : 3
    const onClosed = (): void => {
      if (--open > 0) return
      this.#resource.emitDestroy()
      if (callback !== undefined) this.#resource.runInAsyncScope(callback, this)
    }
    this.acceptor.close(onClosed)
    this.#sent?.close(onClosed)
    super.close(onClosed)
  }

  /** Node's handle of the same kind over a descriptor of its own for the same socket; -errno when there is none. */
  copyForNode(): NodeHandle | number {
    if (this.#isClosed) return Errno.EBADF
    const fd = this.driver.duplicate(this.acceptor.id)
    return fd < 0 ? fd : openForNode(this.nodeClass, listener, fd)
  }

  protected abstract readonly nodeClass: NodeInternals['TCP']

  ref(): void {
    this.acceptor.setRef(true)
  }

  unref(): void {
    this.acceptor.setRef(false)
  }

  hasRef(): boolean {
    return this.acceptor.hasRef && !this.#isClosed
  }

  override get fd(): number {
    return this.acceptor.fd
  }
}

export class TcpServerHandle extends ServerHandle {
  protected readonly nodeClass = internals.TCP

  /** Takes over from a listening handle of Node's. The handle, or -errno. */
  static adopt(driver: Driver, sent: NodeHandle): TcpServerHandle | number {
    const id = driver.adoptCopy(sent.fd)
    return id < 0 ? id : new TcpServerHandle(driver, 'TCPSERVERWRAP', id, sent)
  }

  /** Opens and binds. The handle, or -errno. */
  static create(
    driver: Driver,
    family: 4 | 6,
    address: string,
    port: number,
    flags: number,
  ): TcpServerHandle | number {
    const id = driver.open(family === 4 ? 'inet' : 'inet6')
    if (id < 0) return id
    const handle = new TcpServerHandle(driver, 'TCPSERVERWRAP', id)
    const status = handle.acceptor.bind(address, port, flags)
    if (status === 0) return handle
    handle.close()
    return status
  }

  protected handleFor(id: number): object {
    return new TcpHandle(this.driver, id, this.asyncId)
  }

  getsockname(out: Partial<SocketName>): number {
    return this.acceptor.name(out)
  }
}

export class PipeServerHandle extends ServerHandle {
  protected readonly nodeClass = internals.Pipe
  /** Like Node's pipes it has no address, and net.js asks whether it could have one. */
  readonly getsockname = undefined
  #path = ''

  /** As TcpServerHandle.adopt. */
  static adopt(driver: Driver, sent: NodeHandle): PipeServerHandle | number {
    const id = driver.adoptCopy(sent.fd)
    return id < 0 ? id : new PipeServerHandle(driver, 'PIPESERVERWRAP', id, sent)
  }

  /** Opens and binds. The handle, or -errno. */
  static create(driver: Driver, path: string): PipeServerHandle | number {
    const id = driver.open('unix')
    if (id < 0) return id
    const handle = new PipeServerHandle(driver, 'PIPESERVERWRAP', id)
    const status = handle.acceptor.bind(path, 0, 0)
    if (status === 0) {
      handle.#path = path
      return handle
    }
    handle.close()
    return status
  }

  protected handleFor(id: number): object {
    return new PipeHandle(this.driver, id, this.asyncId)
  }

  /** uv_pipe_chmod: mode is UV_READABLE (1) and UV_WRITABLE (2). 0 or -errno. */
  fchmod(mode: number): number {
    try {
      const bits = (mode & 1 ? 0o444 : 0) | (mode & 2 ? 0o222 : 0)
      const kept = keepsMode ? statSync(this.#path).mode & 0o777 : 0
      chmodSync(this.#path, kept | bits)
      return 0
    } catch (error) {
      return (error as NodeJS.ErrnoException).errno ?? Errno.EINVAL
    }
  }
}
