/**
 * The driver that sockets and servers really run on: the active one, or none when this Node lacks what they need (D5).
 * Owns that last step of the choice; throws when a driver was forced.
 */
import { driver as active } from '../core/active'
import { UringError } from '../core/errors'
import { missing } from './node-internals'

export const driver: typeof active = missing === undefined ? active : passThrough(missing)

function passThrough({ message }: Error): typeof active {
  const wish = process.env['URING_NET_DRIVER'] ?? 'auto'
  if (wish === 'uring' || wish === 'epoll') {
    throw new UringError(
      'ERR_URING_DRIVER',
      `uring-net: the ${wish} driver was asked for by URING_NET_DRIVER but cannot run: ${message}`,
    )
  }
  return { name: 'node', reason: message, features: [], stats: () => ({}) }
}
