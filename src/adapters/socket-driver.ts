/**
 * The driver that sockets and servers are made on; undefined when they are left to node:net. Follows what is presented, and
 * chooses nothing itself: like that, it throws at import when a driver was forced that sockets cannot run on.
 */
import { active } from '../core/active'
import { driver as presented } from './presented-driver'

export const driver = presented.name === 'node' ? undefined : active.driver
