/**
 * This thread's driver: chosen once, when first imported. Owns the flush at exit (W6). Throws at import when a driver was
 * forced that cannot run.
 */
import type { DriverStats } from './driver'
import { selectDriver } from './select'
import type { DriverName, Selection } from './select'

export const active: Selection = selectDriver()

const native = active.driver
if (native !== undefined) {
  // What was written before process.exit() has to reach the kernel, as libuv's write inside write() does. Sends are
  // attempted inside this call; nothing is waited for.
  process.on('exit', () => native.flush())
}

/** The active driver, for programs and people. */
export const driver: {
  /** 'uring', 'epoll', or 'node' when node:net is passed through. */
  readonly name: DriverName
  /** Why this one, in a sentence. */
  readonly reason: string
  /** Kernel features in use, by name. */
  readonly features: readonly string[]
  /** Counters since load; empty for 'node'. */
  stats(): Partial<DriverStats>
} = {
  name: active.name,
  reason: active.reason,
  features: native?.native.stats().features ?? [],
  stats: () => native?.stats() ?? {},
}
