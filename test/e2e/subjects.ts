/**
 * The implementations that end-to-end tests run on: uring-net on each driver, and node:net, the oracle. Each driver gets
 * a module registry of its own, so that one process holds all of them. URING_NET_DRIVER narrows the choice.
 */
import * as nodeNet from 'node:net'
import type * as uringNet from '../../src/index'

export type DriverName = 'uring' | 'epoll'

const chosen = process.env['URING_NET_DRIVER']
export const drivers: DriverName[] =
  chosen === 'uring' || chosen === 'epoll' ? [chosen] : ['uring', 'epoll']

const loaded = new Map<DriverName, typeof uringNet>()

/** uring-net on that driver. Throws when it cannot run here. */
export function load(driver: DriverName): typeof uringNet {
  let library = loaded.get(driver)
  if (library === undefined) {
    const before = process.env['URING_NET_DRIVER']
    process.env['URING_NET_DRIVER'] = driver
    jest.isolateModules(() => {
      // eslint-disable-next-line @typescript-eslint/no-require-imports -- a registry of its own
      library = require('../../src/index') as typeof uringNet
    })
    if (before === undefined) delete process.env['URING_NET_DRIVER']
    else process.env['URING_NET_DRIVER'] = before
    if (library!.driver.name !== driver) throw new Error(`the ${driver} driver does not run here`)
    loaded.set(driver, library!)
  }
  return library!
}

/** What both node:net and uring-net offer. */
export type NetModule = Pick<typeof nodeNet, 'createServer' | 'connect' | 'Socket' | 'Server'>

export interface Subject {
  name: string
  server: NetModule
  client: NetModule
}

function ours(driver: DriverName): NetModule {
  return load(driver) as unknown as NetModule
}

/** Every driver on both ends, and mixed with node:net. */
export function subjects(): Subject[] {
  return drivers.flatMap((driver) => [
    { name: `${driver} to ${driver}`, server: ours(driver), client: ours(driver) },
    { name: `node:net to ${driver}`, server: ours(driver), client: nodeNet },
    { name: `${driver} to node:net`, server: nodeNet, client: ours(driver) },
  ])
}

/** node:net first, then each driver: for tests that compare with the oracle. */
export function implementations(): { name: string; net: NetModule }[] {
  return [
    { name: 'node:net', net: nodeNet },
    ...drivers.map((driver) => ({ name: driver as string, net: ours(driver) })),
  ]
}
