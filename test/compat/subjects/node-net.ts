/** node:net on this Node: the oracle. What it does is right, whatever it is. */
import * as net from 'node:net'
import { tcpPairs } from './pairs'
import type { Subject } from '../subject'

export const nodeNet: Subject = {
  name: 'node:net',
  capabilities: { socket: true, halfOpen: true, kernel: true, reset: true, module: true },
  makePair: tcpPairs(net, net),
  net,
}
