/**
 * The driver that sockets and servers really run on: the active one, or none when this Node lacks what they need (D5).
 * Owns that last step of the choice; throws when a driver was forced.
 */
import { activeSelection, lowLevelStats } from '../core/active'
import type { ActiveDriver } from '../core/active'
import { UringError, systemError } from '../core/errors'
import { driverOptions } from '../core/options'
import { missing, stock } from './stock'
import { datagramStats } from './udp-members'

type Stats = ReturnType<ActiveDriver['stats']>

export const driver: ActiveDriver = missing === undefined ? withSockets() : passThrough(missing)

function withSockets(): ActiveDriver {
  const { name, reason: chosenFor } = activeSelection()
  return {
    name,
    get reason() {
      const failure = stock?.engine.failure ?? 0
      if (failure === 0) return chosenFor
      const { message } = systemError(failure, 'io_uring_enter')
      return `${chosenFor}; but it refuses now, and libuv serves the sockets: ${message}`
    },
    features: stock?.engine.stats().features ?? [],
    options: driverOptions(),
    stats,
  }
}

/** What the low-level API and the sockets have done together. */
function stats(): Stats {
  if (stock === undefined) return lowLevelStats()
  const sum: Record<string, unknown> = { ...stock.engine.stats() }
  for (const part of [datagramStats(), lowLevelStats()]) {
    for (const [name, value] of Object.entries(part)) {
      if (typeof value === 'number') sum[name] = value + ((sum[name] as number) ?? 0)
    }
  }
  return sum as Stats
}

function passThrough({ message }: Error): ActiveDriver {
  const wish = process.env['URING_NET_DRIVER'] ?? 'auto'
  if (wish === 'uring' || wish === 'epoll') {
    throw new UringError(
      'ERR_URING_DRIVER',
      `uring-net: the ${wish} driver was asked for by URING_NET_DRIVER but cannot run: ${message}`,
    )
  }
  return {
    name: 'node',
    reason: message,
    features: [],
    options: driverOptions(),
    stats: () => ({}),
  }
}
