/**
 * The sockets of a cluster: one for each thread, all bound to one port with SO_REUSEPORT, so that the kernel spreads
 * connections over those that listen. Owned by the thread that called serve(), where no crash of another reaches them: what
 * waits in a backlog waits there for the next thread. Binds; never listens and never accepts.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { SocketName } from '../core/binding'
import type { Driver } from '../core/driver'
import { systemError } from '../core/errors'
import { isName } from './options'

/** As NativeDriver.bind() takes it. */
const reusePort = 2

/** Where IPv6 is missing, all addresses are those of IPv4. As in Node. */
const withoutIpv6 = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL'])

export class Sockets {
  readonly port: number
  readonly #driver: Driver
  readonly #ids: number[]

  private constructor(driver: Driver, ids: number[], port: number) {
    this.#driver = driver
    this.#ids = ids
    this.port = port
  }

  /** Rejects with the system error of listen(), or of the look-up. */
  static async bind(
    driver: Driver,
    count: number,
    host: string | undefined,
    port: number,
  ): Promise<Sockets> {
    if (host !== undefined) {
      const address = isName(host) ? (await lookup(host)).address : host
      return Sockets.#bindTo(driver, count, address, port)
    }
    try {
      return Sockets.#bindTo(driver, count, '::', port)
    } catch (error) {
      if (!withoutIpv6.has((error as NodeJS.ErrnoException).code ?? '')) throw error
      return Sockets.#bindTo(driver, count, '0.0.0.0', port)
    }
  }

  static #bindTo(driver: Driver, count: number, address: string, wanted: number): Sockets {
    const ids: number[] = []
    let port = wanted
    try {
      for (let i = 0; i < count; i++) {
        const id = driver.open(isIP(address) === 4 ? 'inet' : 'inet6')
        if (id < 0) throw systemError(id, 'listen', address, port)
        ids.push(id)
        const status = driver.native.bind(id, address, port, reusePort)
        if (status < 0) throw systemError(status, 'listen', address, port)
        // With port 0 the first one's is that of all.
        port = nameOf(driver, id).port
      }
    } catch (error) {
      closeAll(driver, ids)
      throw error
    }
    return new Sockets(driver, ids, port)
  }

  /** The descriptor of that thread's socket. It stays ours. */
  fd(thread: number): number {
    return this.#driver.native.fd(this.#ids[thread]!)
  }

  /** Leaves the sockets to the threads that listen on them. */
  close(): void {
    closeAll(this.#driver, this.#ids.splice(0))
  }
}

function nameOf(driver: Driver, id: number): SocketName {
  const out: Partial<SocketName> = {}
  const status = driver.native.name(id, 0, out)
  if (status < 0) throw systemError(status, 'getsockname')
  return out as SocketName
}

function closeAll(driver: Driver, ids: readonly number[]): void {
  for (const id of ids) driver.discard(id)
  driver.submit()
}
