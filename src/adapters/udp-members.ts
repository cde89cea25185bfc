/**
 * The members of Node's UDP handles that graft the engine below them. Owns which handle has which graft, and this thread's engine,
 * which is made when the first socket receives.
 */
import { activeSelection } from '../core/active'
import { DatagramEngine } from '../core/datagram-engine'
import { Errno } from '../core/errors'
import { nativeOptions } from '../core/options'
import { DatagramGraft } from './datagram-graft'
import { findUdp } from './node/udp-handles'
import { replaceMembers } from './node/members'
import type { UdpHandle } from './node/udp-handles'
import { Pipe, stock } from './stock'

const key = Symbol('uring-net.datagramGraft')

function graftOf(handle: object): DatagramGraft | undefined {
  return (handle as { [key]?: DatagramGraft })[key]
}

let engine: DatagramEngine | undefined

/** Undefined when there is no descriptor or memory for one: libuv receives then, and the next socket tries again. */
function requireEngine(): DatagramEngine | undefined {
  const { binding, name } = activeSelection()
  if (engine !== undefined || binding === undefined || name === 'node') return engine
  try {
    engine = new DatagramEngine(binding, name, nativeOptions())
  } catch (error) {
    if (!('errno' in (error as Error))) throw error
  }
  return engine
}

/** Counters of the thread's UDP sockets, if any has received. */
export function datagramStats(): Partial<ReturnType<DatagramEngine['stats']>> {
  return engine?.stats() ?? {}
}

/** What the two serializations of child_process write with. */
const channelWrites = ['writeUtf8String', 'writeBuffer'] as const

type Channel = Record<(typeof channelWrites)[number], (...args: unknown[]) => unknown>

/** A handle may be sent to another process, by a pipe that is a channel (child_process). */
function shareWhatIsSent(channels: Channel): void {
  const members = channelWrites.map((name) => {
    const base = channels[name]
    const write = function (this: Channel, ...args: unknown[]): unknown {
      const [, , sent] = args
      if (typeof sent === 'object' && sent !== null) graftOf(sent)?.share()
      return base.apply(this, args)
    }
    return [name, write]
  })
  replaceMembers(channels, Object.fromEntries(members) as Record<string, unknown>)
}

/** From now on the UDP sockets of this thread receive by the engine. Does nothing without one for streams. */
export function installUdpMembers(): void {
  if (stock === undefined) return
  const { UDP, natives } = findUdp()
  const { owner } = stock
  const members: Record<string, unknown> = {
    recvStart(this: UdpHandle) {
      const own = graftOf(this)
      return own === undefined ? natives.recvStart.call(this) : own.recvStart(requireEngine())
    },
    recvStop(this: UdpHandle) {
      const own = graftOf(this)
      return own === undefined ? natives.recvStop.call(this) : own.recvStop()
    },
    /** A descriptor of somebody else's. libuv refuses what it receives from already. */
    open(this: UdpHandle, fd: number) {
      if (engine?.receivesFrom(fd) === true) return Errno.EEXIST
      graftOf(this)?.share()
      return natives.open.call(this, fd)
    },
    close(this: UdpHandle, callback?: () => void) {
      graftOf(this)?.stop()
      return natives.close.call(this, callback)
    },
    ref(this: UdpHandle) {
      graftOf(this)?.setRef(true)
      return natives.ref.call(this)
    },
    unref(this: UdpHandle) {
      graftOf(this)?.setRef(false)
      return natives.unref.call(this)
    },
  }
  const prototype = UDP.prototype as object
  replaceMembers(prototype, members)
  shareWhatIsSent(Pipe.prototype as Channel)
  // dgram.js names the socket right after it has made the handle: the context is that of both.
  Object.defineProperty(prototype, owner, {
    configurable: true,
    set(this: UdpHandle, value: unknown) {
      const graft = new DatagramGraft(natives, this)
      Object.defineProperty(this, key, { value: graft })
      // Who asks may give it to a child. The prototype's own cannot be replaced.
      Object.defineProperty(this, 'fd', {
        configurable: true,
        get() {
          graft.share()
          return graft.fd
        },
      })
      Object.defineProperty(this, owner, {
        value,
        writable: true,
        configurable: true,
        enumerable: true,
      })
    },
  })
}
