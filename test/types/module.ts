/**
 * The types of the module, as `npm run lint` checks them: whoever has the type of node:net can be given this package.
 * Runs nothing.
 */
import type * as nodeNet from 'node:net'
import type * as uringNet from '../../src/index'
import type net from '../../src/index'

type Node = typeof nodeNet
type Ours = typeof uringNet

export declare function takesNode(module: Node): void
export declare const whole: Ours
export declare const byDefault: typeof net

takesNode(whole)
takesNode(byDefault)

// What this file would not notice otherwise: a member that is missing, or of another type.
export declare const lacking: Omit<Ours, 'connect'>
export declare const wrong: Omit<Ours, 'isIP'> & { isIP: (input: string) => string }
// @ts-expect-error -- connect is missing
takesNode(lacking)
// @ts-expect-error -- isIP gives a number
takesNode(wrong)

// The classes are classes: they make and name node:net's own types, and can be extended.
export declare const server: uringNet.Server
export declare const socket: uringNet.Socket
export const nodes: [nodeNet.Server, nodeNet.Socket] = [server, socket]
export declare class MySocket extends whole.Socket {
  mine: boolean
}
export const options: uringNet.TcpNetConnectOpts & nodeNet.TcpNetConnectOpts = { port: 1 }
