/**
 * The two flavours of a connection's handle: TCP, with addresses and options, and Unix sockets, which like Node's pipes have
 * neither. They own what was asked for before the descriptor existed; the rest is StreamHandle's.
 */
import type { Channel, SocketName } from '../core/channel'
import type { Driver } from '../core/driver'
import { Errno } from '../core/errors'
import { internals } from './node-internals'
import { StreamHandle } from './stream-handle'
import type { ConnectRequest } from './stream-handle'

/** A TCP connection. */
export class TcpHandle extends StreamHandle {
  protected readonly nodeClass = internals.TCP
  #noDelay = false
  #keepAlive: readonly [boolean, number] | undefined

  constructor(driver: Driver, id?: number, triggerAsyncId?: number) {
    super(driver, 'TCPWRAP', id, triggerAsyncId)
  }

  protected override opened(channel: Channel): void {
    if (this.#noDelay) channel.setNoDelay(true)
    if (this.#keepAlive) channel.setKeepAlive(...this.#keepAlive)
  }

  /** net.js leaves the port out when only a local address is asked for. */
  bind(address: string, port?: number): number {
    const status = this.open('inet')
    return status < 0 ? status : this.channel!.bind(address, port ?? 0, 0)
  }

  bind6(address: string, port: number | undefined, flags: number): number {
    const status = this.open('inet6')
    return status < 0 ? status : this.channel!.bind(address, port ?? 0, flags & 1)
  }

  connect(request: ConnectRequest, address: string, port: number): number {
    const status = this.open('inet')
    return status < 0 ? status : this.start(request, 'TCPCONNECTWRAP', address, port)
  }

  connect6(request: ConnectRequest, address: string, port: number): number {
    const status = this.open('inet6')
    return status < 0 ? status : this.start(request, 'TCPCONNECTWRAP', address, port)
  }

  setNoDelay(on: boolean): number {
    this.#noDelay = on
    return this.channel?.setNoDelay(on) ?? 0
  }

  setKeepAlive(on: boolean, seconds: number): number {
    this.#keepAlive = [on, seconds]
    return this.channel?.setKeepAlive(on, seconds) ?? 0
  }

  getsockname(out: Partial<SocketName>): number {
    return this.channel?.name(false, out) ?? Errno.EBADF
  }

  getpeername(out: Partial<SocketName>): number {
    return this.channel?.name(true, out) ?? Errno.EBADF
  }
}

/** A Unix socket connection. Like Node's pipes it has no addresses. */
export class PipeHandle extends StreamHandle {
  protected readonly nodeClass = internals.Pipe

  constructor(driver: Driver, id?: number, triggerAsyncId?: number) {
    super(driver, 'PIPEWRAP', id, triggerAsyncId)
  }

  connect(request: ConnectRequest, path: string): number {
    const status = this.open('unix')
    return status < 0 ? status : this.start(request, 'PIPECONNECTWRAP', path, 0)
  }
}
