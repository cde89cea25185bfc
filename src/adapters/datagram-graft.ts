/**
 * What one of Node's own UDP handles has below it: receiving by the engine, many datagrams at a time. Owns the name by which the
 * engine knows the socket. All else, sending above all, is Node's own path.
 */
import type { DatagramEngine, DatagramReader } from '../core/datagram-engine'
import type { Peer } from '../core/peers'
import { HandleContext } from './node/async-context'
import type { UdpHandle, UdpNatives } from './node/udp-handles'

export class DatagramGraft implements DatagramReader {
  /** 0: libuv receives, or nobody does. */
  id = 0
  readonly #natives: UdpNatives
  readonly #handle: UdpHandle
  readonly #context: HandleContext
  #engine: DatagramEngine | undefined
  /** Other processes may receive from the socket, and what is received here is taken from them: one at a time, by libuv. */
  #isShared: boolean
  #isRef = true
  /** It is counted as keeping the event loop alive. */
  #isAlive = false

  /** To be made in the context that the handle is made in. */
  constructor(natives: UdpNatives, handle: UdpHandle) {
    this.#natives = natives
    this.#handle = handle
    this.#context = new HandleContext(handle, false)
    // One that came from another process is open already.
    this.#isShared = this.fd >= 0
  }

  get fd(): number {
    return this.#natives.getDescriptor.call(this.#handle)
  }

  /** Without an engine, or when that cannot watch the socket, libuv receives. */
  recvStart(engine: DatagramEngine | undefined): number {
    if (this.id !== 0) return 0
    // libuv binds a socket that is not, and has no descriptor yet.
    const isOurs = !this.#isShared && this.fd >= 0 && engine !== undefined
    const id = isOurs ? engine.native.watch(this.fd) : 0
    if (id <= 0) return this.#natives.recvStart.call(this.#handle)
    this.id = id
    this.#engine = engine
    engine!.register(this)
    this.#updateAlive()
    return 0
  }

  recvStop(): number {
    this.stop()
    return this.#natives.recvStop.call(this.#handle)
  }

  /** Nothing is received any more. The handle may be closed. */
  stop(): void {
    if (this.id === 0) return
    this.#engine!.unregister(this)
    this.id = 0
    this.#updateAlive()
  }

  /** From now on others may receive from it, too. What is received by now is delivered. */
  share(): void {
    if (this.#isShared) return
    this.#isShared = true
    if (this.id === 0) return
    this.#engine!.whenDelivered(() => {
      // Closed meanwhile.
      if (this.id === 0) return
      this.stop()
      this.#natives.recvStart.call(this.#handle)
    })
  }

  setRef(isRef: boolean): void {
    this.#isRef = isRef
    this.#updateAlive()
  }

  #updateAlive(): void {
    const isAlive = this.id !== 0 && this.#isRef
    if (isAlive === this.#isAlive) return
    this.#isAlive = isAlive
    if (isAlive) this.#engine!.retain()
    else this.#engine!.release()
  }

  onDatagram(bytes: Buffer, { address, family, port }: Peer): void {
    this.#context.run(this.#tell, this, bytes.length, bytes, { address, family, port })
  }

  onError(status: number): void {
    this.#context.run(this.#tell, this, status)
  }

  /** What throws is reported in here, in the handle's context, as over libuv. */
  #tell(
    status: number,
    bytes?: Buffer,
    from?: { address: string; family: string; port: number },
  ): void {
    try {
      this.#handle.onmessage(status, this.#handle, bytes, from)
    } catch (error) {
      this.#engine!.report(error)
    }
  }
}
