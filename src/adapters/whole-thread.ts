/**
 * Puts all sockets and servers of this thread on the active driver, if there is one. Changes members of prototypes and no
 * export; owns the order in which that is done.
 */
import net from 'node:net'
import { installHandOver } from './hand-over'
import { installServerMembers } from './net-server'
import { installSocketMembers } from './socket-members'
import { takeTlsClients } from './tls-client'

export function takeWholeThread(): void {
  installSocketMembers(net.Socket.prototype)
  installServerMembers()
  takeTlsClients()
  installHandOver()
}
