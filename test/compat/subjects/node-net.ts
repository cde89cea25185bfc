/** node:net on this Node: the oracle. What it does is right, whatever it is. */
import * as net from 'node:net'
import { tcpPairs } from './pairs'
import type { Subject } from '../subject'

/** libuv's write reads the caller's memory when the kernel has room for the rest. */
export const libuvKeepsReferences = {
  'W2-2': 'libuv reads the rest of a chunk from the memory of the caller when there is room for it',
}

export const nodeNet: Subject = {
  name: 'node:net',
  capabilities: { socket: true, halfOpen: true, kernel: true, reset: true, module: true },
  makePair: tcpPairs(net, net),
  net,
  knownFailures: libuvKeepsReferences,
}
