/**
 * The page's event stream (HTML standard, server-sent events): greets each subscriber with everything, then pushes
 * samples and check results. A subscriber that does not read is skipped, never buffered for.
 */
import type { ServerResponse } from 'node:http'
import { release } from 'node:os'
import { driver } from '../../src/index'
import type { Response } from './echo'
import { describeFeatures } from './features'
import type { Meter, Sample } from './meter'
import type { CheckResult } from './self-check'
import type { Listener } from './servers'

const UNSENT_BYTES_MAX = 256 * 1024

export interface Live {
  subscribe(response: Response): void
  /** Must be called once before the first subscriber is greeted. */
  start(listeners: Listener[], meter: Meter, checks: readonly CheckResult[]): void
  pushSample(sample: Sample): void
  pushCheck(index: number, result: CheckResult): void
  close(): void
}

export function createLive(): Live {
  const subscribers = new Set<ServerResponse>()
  let greet: (() => unknown) | undefined
  const push = (event: string, value: unknown) => {
    if (subscribers.size === 0) return
    const text = format(event, value)
    for (const response of subscribers) {
      if (response.writableLength < UNSENT_BYTES_MAX) response.write(text)
    }
  }
  return {
    subscribe(response) {
      const stream = response as ServerResponse
      stream.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
      stream.write('retry: 1000\n\n')
      if (greet) stream.write(format('hello', greet()))
      subscribers.add(stream)
      stream.on('error', () => {})
      stream.on('close', () => subscribers.delete(stream))
    },
    start(listeners, meter, checks) {
      greet = () => ({
        driver: { name: driver.name, reason: driver.reason },
        features: describeFeatures(driver.features),
        kernel: release(),
        node: process.version,
        pid: process.pid,
        listeners: listeners.map(({ name, title, url }) => ({ name, title, url })),
        history: meter.history,
        checks,
      })
    },
    pushSample: (sample) => push('sample', sample),
    pushCheck: (index, result) => push('check', { index, result }),
    close() {
      for (const response of subscribers) response.end()
    },
  }
}

function format(event: string, value: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(value)}\n\n`
}
