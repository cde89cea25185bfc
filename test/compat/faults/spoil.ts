/**
 * Where faults take hold: the push() by which every received chunk, and null for the end, enters a socket; the ends of a
 * pair; the servers and clients of a module. Deviates in nothing by itself.
 */
import type * as net from 'node:net'
import type { Socket } from 'node:net'
import type { Subject } from '../subject'

export type Push = (chunk: Buffer | null) => boolean

/** The oracle with something done to each `a`; `open` are those of the pairs that have not been stopped. */
export function spoilPairs(
  oracle: Subject,
  spoil: (a: Socket, b: Socket, open: ReadonlySet<Socket>) => void,
): Subject {
  const open = new Set<Socket>()
  return {
    ...oracle,
    async makePair(options) {
      const pair = await oracle.makePair(options)
      open.add(pair.a)
      spoil(pair.a, pair.b, open)
      return {
        ...pair,
        stop: () => {
          open.delete(pair.a)
          return pair.stop()
        },
      }
    },
  }
}

/** Puts `deviate` before the push() of a socket. */
export function onPush(a: Socket, deviate: (chunk: Buffer | null, push: Push) => boolean): void {
  const push: Push = a.push.bind(a)
  a.push = (chunk: Buffer | null) => deviate(chunk, push)
}

/** Puts `deviate` before the emit() of an emitter; false swallows the event. */
export function onEmit<T extends net.Socket | net.Server>(
  emitter: T,
  deviate: (name: string | symbol, values: unknown[], emit: () => boolean) => boolean,
): void {
  const emit = emitter.emit.bind(emitter) as (name: string | symbol, ...v: unknown[]) => boolean
  emitter.emit = ((name: string | symbol, ...values: unknown[]) =>
    deviate(name, values, () => emit(name, ...values))) as T['emit']
}

/** Puts `deviate` before the destroy() of a socket. */
export function onDestroy(
  a: Socket,
  deviate: (error: NodeJS.ErrnoException | undefined, destroy: (error?: Error) => void) => void,
): void {
  const destroy = a.destroy.bind(a)
  a.destroy = (error?: Error) => {
    deviate(error as NodeJS.ErrnoException | undefined, (given) => void destroy(given))
    return a
  }
}

export interface NetSpoils {
  server?: (server: net.Server) => void
  serverOptions?: (options: net.ServerOpts) => net.ServerOpts
  client?: (client: Socket) => void
  connectOptions?: (options: net.NetConnectOpts) => net.NetConnectOpts
  /** Around net.connect(). */
  connecting?: (connect: () => Socket) => Socket
}

/** The oracle with something done to what its module makes. Pairs stay as they are. */
export function spoilNet(oracle: Subject, spoils: NetSpoils): Subject {
  const { net: module } = oracle
  if (module === undefined) return oracle
  const { server, serverOptions, client, connectOptions, connecting } = spoils
  const createServer = (...given: unknown[]): net.Server => {
    const hasOptions = typeof given[0] === 'object' && given[0] !== null
    const options = (hasOptions ? given[0] : {}) as net.ServerOpts
    const listener = given.find((value) => typeof value === 'function') as
      ((socket: Socket) => void) | undefined
    const made = module.createServer(serverOptions?.(options) ?? options, listener)
    server?.(made)
    return made
  }
  const connect = (...given: unknown[]): Socket => {
    const [first] = given
    if (typeof first === 'object' && first !== null && connectOptions !== undefined) {
      given[0] = connectOptions(first as net.NetConnectOpts)
    }
    const call = module.connect as (...values: unknown[]) => Socket
    const make = (): Socket => call(...given)
    const made = connecting === undefined ? make() : connecting(make)
    client?.(made)
    return made
  }
  class SpoiledSocket extends module.Socket {
    constructor(options?: net.SocketConstructorOpts) {
      super(options)
      client?.(this)
    }
  }
  const spoiled = { ...module, createServer, connect, createConnection: connect }
  return { ...oracle, net: { ...spoiled, Socket: SpoiledSocket } as unknown as typeof net }
}
