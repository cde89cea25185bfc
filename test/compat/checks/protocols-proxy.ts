/** Two judged ends joined by pipes, as in every proxy: each is the other's reader and writer at the same time. */
import type { Check } from '../check'
import { assertWire, payload } from '../wire'

const area = 'protocols'
const length = 500_000

export const proxyChecks: readonly Check[] = [
  {
    id: 'R1-54',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      'two ends piped into each other carry both directions whole, past a stalled reader, and past the end of the other direction',
    intent: 'a proxy must not cut off the answer when the request has ended',
    hazards: [36, 37, 47],
    needs: ['halfOpen'],
    async run(context) {
      const left = await context.pair({ smallBuffers: true })
      const right = await context.pair({ smallBuffers: true })
      left.a.pipe(right.a)
      right.a.pipe(left.a)
      left.b.end(payload(length, 1))
      // Back-pressure has to go through both.
      await context.silence()
      right.seenB.read()
      await context.within(right.seenB.seen('end'), 'the end of the request behind the proxy')
      assertWire(right.seenB.bytes, payload(length, 1), 'the request through the proxy')
      left.seenB.read()
      right.b.write(payload(length / 2, 2))
      await context.within(left.seenB.received(100), 'the answer after the end of the request')
      left.b.pause()
      await context.silence()
      left.b.resume()
      right.b.end(payload(length / 2, 2, length / 2))
      await context.within(left.seenB.seen('end'), 'the end of the answer before the proxy')
      assertWire(left.seenB.bytes, payload(length, 2), 'the answer through the proxy')
    },
  },
]
