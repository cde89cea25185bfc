/**
 * The driver that sockets and servers really run on: the active one, or none when this Node lacks what they need (D5).
 * Owns that last step of the choice; throws when a driver was forced.
 */
import { driver as active } from '../core/active'
import { UringError, systemError } from '../core/errors'
import { missing, shortage, stock } from './stock'

type Presented = typeof active
type Stats = ReturnType<Presented['stats']>

export const driver: Presented = missing === undefined ? withSockets() : passThrough(missing)

function withSockets(): Presented {
  if (stock === undefined) return active
  const { engine } = stock
  return {
    ...active,
    name: engine.kind,
    get reason() {
      const { failure } = engine
      if (shortage !== undefined) {
        return `io_uring is not used: no ring for sockets (${shortage.message}: raise RLIMIT_MEMLOCK)`
      }
      if (failure === 0) return active.reason
      const { message } = systemError(failure, 'io_uring_enter')
      return `${active.reason}; but it refuses now, and libuv serves the sockets: ${message}`
    },
    stats: () => sum(active.stats(), engine.stats()),
  }
}

/** What the low-level API and the sockets have done together. */
function sum(one: Stats, other: Stats): Stats {
  const result: Record<string, unknown> = { ...one }
  for (const [name, value] of Object.entries(other)) {
    if (typeof value === 'number') result[name] = value + ((result[name] as number) ?? 0)
  }
  return result as Stats
}

function passThrough({ message }: Error): Presented {
  const wish = process.env['URING_NET_DRIVER'] ?? 'auto'
  if (wish === 'uring' || wish === 'epoll') {
    throw new UringError(
      'ERR_URING_DRIVER',
      `uring-net: the ${wish} driver was asked for by URING_NET_DRIVER but cannot run: ${message}`,
    )
  }
  return { name: 'node', reason: message, features: [], stats: () => ({}) }
}
