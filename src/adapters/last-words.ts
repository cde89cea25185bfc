/**
 * Calls of a program that end the process, or leave it to another, without the event loop: what is gathered is sent before
 * (W6). process.exit() needs nothing here; native code sees to it. Changes members of `process`; owns nothing.
 */
import type { StreamEngine } from '../core/stream-engine'

const names = ['abort', 'kill', 'execve'] as const

export function flushBeforeTheEnd(engine: StreamEngine): void {
  const members = process as unknown as Record<
    string,
    ((...args: unknown[]) => unknown) | undefined
  >
  for (const name of names) {
    const base = members[name]
    const own = Object.getOwnPropertyDescriptor(process, name)
    // What is disabled in a worker ends nothing.
    if (base === undefined || own === undefined || 'disabled' in base) continue
    const value = {
      [name](this: unknown, ...args: unknown[]) {
        engine.flushAll()
        return Reflect.apply(base, this, args)
      },
    }[name]!
    Object.defineProperty(value, 'length', { value: base.length, configurable: true })
    Object.defineProperty(process, name, { ...own, value })
  }
}
