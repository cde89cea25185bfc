/** node:net on this Node: the oracle. What it does is right, whatever it is. */
import * as net from 'node:net'
import { tcpPairs } from './pairs'
import type { Subject } from '../subject'

/** Chunks that Writable holds, behind a blocked one or while corked, are kept by reference. */
export const writableKeepsReferences = {
  'W2-3': 'Writable keeps what waits behind a blocked chunk by reference, on node:net as well',
  'W2-4': 'Writable keeps corked chunks by reference, on node:net as well',
  'W2-8': "Writable keeps end()'s chunk by reference while others wait, on node:net as well",
}

/** libuv's write, too, reads the caller's memory when the kernel has room for the rest. */
export const libuvKeepsReferences = {
  ...writableKeepsReferences,
  'W2-7': 'net.js keeps what is written while it connects by reference',
  'W2-2': 'libuv reads the rest of a chunk from the memory of the caller when there is room for it',
}

export const nodeNet: Subject = {
  name: 'node:net',
  capabilities: { socket: true, halfOpen: true, kernel: true, reset: true, module: true },
  makePair: tcpPairs(net, net),
  net,
  knownFailures: libuvKeepsReferences,
}
