/**
 * The core and the adapters over its connections, on each driver: one module registry for each, as in subjects.ts, since
 * the driver is chosen when the core is first imported. Owns nothing but the loading.
 */
import type * as duplex from '../../src/adapters/duplex'
import type * as readiness from '../../src/adapters/readiness'
import type * as core from '../../src/core/index'
import type { DriverName } from './subjects'

/* eslint-disable @typescript-eslint/no-require-imports -- only require() takes a registry's modules at a given time */

export interface Adapters {
  connect: typeof core.connect
  listen: typeof core.listen
  driver: typeof core.driver
  toDuplex: typeof duplex.toDuplex
  toReadiness: typeof readiness.toReadiness
}

/** Throws when the driver cannot run here. */
export function loadAdapters(driver: DriverName): Adapters {
  const before = process.env['URING_NET_DRIVER']
  process.env['URING_NET_DRIVER'] = driver
  let adapters: Adapters
  try {
    jest.isolateModules(() => {
      const { connect, listen, driver } = require('../../src/core/index') as typeof core
      const { toDuplex } = require('../../src/adapters/duplex') as typeof duplex
      const { toReadiness } = require('../../src/adapters/readiness') as typeof readiness
      adapters = { connect, listen, driver, toDuplex, toReadiness }
    })
  } finally {
    if (before === undefined) delete process.env['URING_NET_DRIVER']
    else process.env['URING_NET_DRIVER'] = before
  }
  return adapters!
}
