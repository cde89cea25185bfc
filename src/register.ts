/**
 * `node --import uring-net/register app.js`: from now on the sockets and servers of this thread that are built on net.Socket
 * and net.Server (net, http, https, http2, tls, fetch) run on the active driver. Changes members of two prototypes and no
 * export, so it does not matter how a program imports them. Prints nothing; with the driver 'node' it does nothing.
 */
import * as net from 'node:net'
import { installHandOver } from './adapters/hand-over'
import { installServerMembers } from './adapters/net-server'
import { installSocketMembers } from './adapters/socket-members'
import { takeTlsClients } from './adapters/tls-client'

installSocketMembers(net.Socket.prototype)
installServerMembers()
takeTlsClients()
installHandOver()
