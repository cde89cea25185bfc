/**
 * This thread's driver: the kind is chosen once, when first imported; each engine is made when first needed. Owns the flush at
 * exit (W6). Throws at import when a driver was forced that cannot run.
 */
import type { Binding, DriverKind } from './binding'
import { Driver } from './driver'
import type { DriverStats } from './driver'
import { UringError } from './errors'
import { driverOptions, nativeOptions } from './options'
import type { DriverOptions } from './options'
import { makeChosen, selectDriver } from './select'
import type { DriverName, Selection } from './select'

let selection: Selection = selectDriver()

/** The choice as it is now: making an engine may still change it. */
export function activeSelection(): Selection {
  return selection
}

/** Makes an engine of the chosen kind. Undefined where node:net is passed through. */
export function makeActive<Engine>(
  make: (binding: Binding, kind: DriverKind) => Engine,
): Engine | undefined {
  const made = makeChosen(selection, make)
  ;({ selection } = made)
  return made.engine
}

let lowLevel: Driver | undefined

/** This thread's driver of the low-level API. Throws ERR_URING_DRIVER where node:net is passed through. */
export function requireDriver(): Driver {
  if (lowLevel !== undefined) return lowLevel
  const driver = makeActive((binding, kind) => new Driver(binding, kind, nativeOptions()))
  if (driver === undefined) {
    throw new UringError('ERR_URING_DRIVER', `uring-net/core needs a driver: ${selection.reason}`)
  }
  // What was accepted before process.exit() has to reach the kernel. Sends are attempted inside this call; nothing is waited
  // for.
  process.on('exit', () => driver.flush())
  lowLevel = driver
  return driver
}

/** The active driver, for programs and people. */
export interface ActiveDriver {
  /** 'uring', 'epoll', or 'node' when node:net is passed through. */
  readonly name: DriverName
  /** Why this one, in a sentence. */
  readonly reason: string
  /** Kernel features in use, by name. */
  readonly features: readonly string[]
  /** The sizes in use; see configure() of uring-net/core. */
  readonly options: Readonly<DriverOptions>
  /** Counters since load; empty for 'node'. */
  stats(): Partial<DriverStats>
}

/** The driver of the low-level API, which is made when this is first looked at. */
export const driver: ActiveDriver = {
  get name() {
    return made().name
  },
  get reason() {
    return made().reason
  },
  get features() {
    made()
    return lowLevel?.stats().features ?? []
  },
  get options() {
    made()
    return driverOptions()
  },
  stats() {
    made()
    return lowLevel?.stats() ?? {}
  },
}

/** Counters of the low-level API, if it is in use. */
export function lowLevelStats(): Partial<DriverStats> {
  return lowLevel?.stats() ?? {}
}

function made(): Selection {
  if (selection.name !== 'node') requireDriver()
  return selection
}
