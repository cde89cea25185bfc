/**
 * What the core tests share: a driver on a scripted kernel, and a handler that writes down what it is told. It decides
 * nothing about what is right.
 */
import type { NativeOptions } from '../../src/core/binding'
import type { Block } from '../../src/core/block'
import { Channel } from '../../src/core/channel'
import type { ChannelHandler, SendRequest, ShutdownRequest } from '../../src/core/channel'
import { Driver } from '../../src/core/driver'
import { ScriptedKernel } from './scripted-kernel'

/** Small enough that exhausting them is cheap. */
const smallOptions: Partial<NativeOptions> = {
  receiveBuffers: 64,
  commandCapacity: 64,
  batchSize: 32,
}

export function makeDriver(options: Partial<NativeOptions> = {}): {
  kernel: ScriptedKernel
  driver: Driver
} {
  const kernel = new ScriptedKernel()
  const driver = new Driver(kernel, 'uring', { ...smallOptions, ...options })
  return { kernel, driver }
}

/** Writes down every callback as one line, and gives received blocks back at once. */
export class Recorder implements ChannelHandler {
  readonly events: string[] = []
  /** Runs after a line was written; may call back into the channel, or throw. */
  onEvent: (event: string) => void = () => {}
  readonly #driver: Driver

  constructor(driver: Driver) {
    this.#driver = driver
  }

  note(event: string): void {
    this.events.push(event)
    this.onEvent(event)
  }

  onBlock(block: Block, length: number): void {
    const text = block.bytes.toString('latin1', 0, length)
    this.#driver.blocks.releaseReceived(block)
    this.note(`bytes ${text}`)
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

  /** As ChannelHandler; none unless a test sets it. */
  onFlush: () => void = () => {}

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
  const seen = new Recorder(driver)
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
