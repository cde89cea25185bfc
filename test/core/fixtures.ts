/**
 * What the core tests share: a driver on a scripted kernel, and a handler that writes down what it is told. It decides
 * nothing about what is right.
 */
import { Channel } from '../../src/core/channel'
import type { ChannelHandler, SendRequest, ShutdownRequest } from '../../src/core/channel'
import type { NativeOptions } from '../../src/core/binding'
import { Driver } from '../../src/core/driver'
import { ScriptedKernel } from './scripted-binding'

/** Small enough that exhausting them is cheap: 4 pages of arena, 16 KiB of receive pool. */
const smallOptions: Partial<NativeOptions> = {
  arenaBytes: 4 * 65536,
  poolBytes: 16384,
  commandCapacity: 64,
  batchSize: 32,
}

export function makeDriver(options: Partial<NativeOptions> = {}): {
  kernel: ScriptedKernel
  driver: Driver
} {
  const kernel = new ScriptedKernel()
  const driver = new Driver(kernel, 'uring', { ...smallOptions, ...options })
  kernel.guard(driver.arena)
  return { kernel, driver }
}

/** Writes down every callback as one line. */
export class Recorder implements ChannelHandler {
  readonly events: string[] = []
  /** Runs after a line was written; may call back into the channel, or throw. */
  onEvent: (event: string) => void = () => {}

  note(event: string): void {
    this.events.push(event)
    this.onEvent(event)
  }

  onBytes(memory: Buffer, offset: number, length: number): void {
    this.note(`bytes ${memory.toString('latin1', offset, offset + length)}`)
  }

  onEnd(): void {
    this.note('end')
  }

  onReceiveError(status: number): void {
    this.note(`receive error ${status}`)
  }

  sending(name: string): SendRequest {
    return { onSent: (status, taken) => this.note(`sent ${name} ${status} ${taken}`) }
  }

  shuttingDown(name = ''): ShutdownRequest {
    return { onShutdown: (status) => this.note(`shutdown${name} ${status}`) }
  }

  readonly closed = (): void => this.note('closed')

  /** The lines since the last call. */
  drain(): string[] {
    return this.events.splice(0)
  }
}

export interface ChannelFixture {
  kernel: ScriptedKernel
  driver: Driver
  id: number
  channel: Channel
  seen: Recorder
}

export function makeChannel(options: Partial<NativeOptions> = {}): ChannelFixture {
  const { kernel, driver } = makeDriver(options)
  const id = kernel.endpoint()
  const seen = new Recorder()
  return { kernel, driver, id, seen, channel: new Channel(driver, id, seen) }
}

/** Lets promises settle that need nothing but microtasks. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A seeded generator of whole numbers 0 <= n < below (mulberry32), so that a failing seed can be run again. */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
