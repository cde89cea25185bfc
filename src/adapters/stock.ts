/**
 * What this thread's grafts have in common: the engine, and what was found of Node's. Made once, when first imported; says
 * what is missing when there is none.
 */
import { active } from '../core/active'
import { StreamEngine } from '../core/stream-engine'
import { defaultOptions } from '../core/driver'
import type { Stock } from './graft'
import { findContextNames } from './node/async-context'
import { findHandles } from './node/handles'
import type { HandleClass } from './node/handles'
import { flushBeforeTheEnd } from './last-words'
import { captureNatives } from './node/natives'
import type { Natives } from './node/natives'

interface Found {
  stock: Stock
  /** Why the engine is not of the driver's kind. */
  shortage: Error | undefined
  TCP: HandleClass
  Pipe: HandleClass
  tcp: Natives
  pipe: Natives
}

type Kind = StreamEngine['kind']

/** One ring more may be too many for RLIMIT_MEMLOCK; epoll needs none (D5). */
function makeEngine(
  make: (kind: Kind) => StreamEngine,
  kind: Kind,
): { engine: StreamEngine; shortage?: Error } {
  try {
    return { engine: make(kind) }
  } catch (error) {
    const isShort = kind === 'uring' && (error as NodeJS.ErrnoException).code === 'ENOMEM'
    if (!isShort || process.env['URING_NET_DRIVER'] === 'uring') throw error
    return { engine: make('epoll'), shortage: error as Error }
  }
}

function find(): Found | Error | undefined {
  const { driver, binding } = active
  if (driver === undefined || binding === undefined) return undefined
  try {
    const { TCP, Pipe, onStreamRead, owner, userBuffer } = findHandles()
    findContextNames(TCP)
    const tcp = captureNatives(TCP)
    const pipe = captureNatives(Pipe)
    const make = (kind: Kind): StreamEngine => new StreamEngine(binding, kind, defaultOptions)
    const { engine, shortage } = makeEngine(make, driver.kind)
    flushBeforeTheEnd(engine)
    return { stock: { engine, onStreamRead, owner, userBuffer }, shortage, TCP, Pipe, tcp, pipe }
  } catch (error) {
    return error as Error
  }
}

const result = find()
const found = result instanceof Error ? undefined : result

/** Why sockets cannot run on the engine in this Node; undefined when they can, or are not to. */
export const missing: Error | undefined = result instanceof Error ? result : undefined

/** Why sockets have the epoll engine though the driver is uring; undefined when they have not. */
export const shortage: Error | undefined = found?.shortage

export const stock: Stock | undefined = found?.stock
export const tcp: Natives | undefined = found?.tcp
export const pipe: Natives | undefined = found?.pipe

class Nothing {}
/** Node's classes; classes without instances when there is no engine. */
export const TCP: HandleClass = found?.TCP ?? (Nothing as unknown as HandleClass)
export const Pipe: HandleClass = found?.Pipe ?? (Nothing as unknown as HandleClass)
