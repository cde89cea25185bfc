/**
 * What this thread's grafts have in common: the engine, and what was found of Node's. Made once, when first imported; says
 * what is missing when there is none.
 */
import { makeActive } from '../core/active'
import { StreamEngine } from '../core/stream-engine'
import { nativeOptions } from '../core/options'
import { BulkTurns } from './bulk-turns'
import { graftOf, isFullRead } from './graft'
import type { OnStreamRead, Stock } from './graft'
import { findContextNames } from './node/async-context'
import { findHandles } from './node/handles'
import type { HandleClass, NodeHandle } from './node/handles'
import { flushBeforeTheEnd } from './last-words'
import { captureNatives } from './node/natives'
import type { Natives } from './node/natives'

interface Found {
  stock: Stock
  TCP: HandleClass
  Pipe: HandleClass
  tcp: Natives
  pipe: Natives
}

/** Whether Node refuses all sockets, for want of --allow-net (Node 25 and later). Leave can be given up, and not got back. */
function isRefused(): boolean {
  const { permission } = process as unknown as { permission?: { has(scope: string): boolean } }
  const isKnown = process.allowedNodeEnvironmentFlags.has('--allow-net')
  return permission !== undefined && isKnown && !permission.has('net')
}

function find(): Found | Error | undefined {
  if (isRefused()) return undefined
  const options = nativeOptions()
  try {
    const { TCP, Pipe, owner, userBuffer, ...others } = findHandles()
    const onStreamRead = others.onStreamRead as OnStreamRead
    findContextNames(TCP)
    const tcp = captureNatives(TCP)
    const pipe = captureNatives(Pipe)
    const engine = makeActive((binding, kind) => new StreamEngine(binding, kind, options))
    if (engine === undefined) return undefined
    flushBeforeTheEnd(engine)
    const bulkTurns = new BulkTurns()
    const onReadInTurns = function (this: NodeHandle, memory: unknown): unknown {
      const answer = onStreamRead.call(this, memory)
      if (isFullRead(memory)) graftOf(this)?.onFullRead()
      return answer
    }
    const stock = { engine, bulkTurns, onStreamRead, onReadInTurns, owner, userBuffer }
    return { stock, TCP, Pipe, tcp, pipe }
  } catch (error) {
    return error as Error
  }
}

const result = find()
const found = result instanceof Error ? undefined : result

/** Why sockets cannot run on the engine in this Node; undefined when they can, or are not to. */
export const missing: Error | undefined = result instanceof Error ? result : undefined

export const stock: Stock | undefined = found?.stock
export const tcp: Natives | undefined = found?.tcp
export const pipe: Natives | undefined = found?.pipe

class Nothing {}
/** Node's classes; classes without instances when there is no engine. */
export const TCP: HandleClass = found?.TCP ?? (Nothing as unknown as HandleClass)
export const Pipe: HandleClass = found?.Pipe ?? (Nothing as unknown as HandleClass)
