/**
 * Puts all sockets and servers of this thread on the active driver, if there is one. Changes members of prototypes and no
 * export; owns the order in which that is done.
 */
import net from 'node:net'
import { installHandleMembers, graftAllSockets } from './handle-members'
import { installServerMembers } from './net-server'
// Throws when a driver was asked for that sockets cannot run on here.
import './driver-info'
import { patchSocket } from './patch-socket'
import { installUdpMembers } from './udp-members'

export function patchGlobals(): void {
  graftAllSockets()
  installHandleMembers()
  patchSocket(net.Socket.prototype)
  installServerMembers()
  installUdpMembers()
}
