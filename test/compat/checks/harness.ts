/** H: the suite checks itself before it judges anybody. */
import * as assert from 'node:assert/strict'
import type { Check } from '../check'
import { assertWire, payload } from '../wire'

export const harnessChecks: readonly Check[] = [
  {
    id: 'H-1',
    rule: 'H',
    strength: 'required',
    area: 'harness',
    requirement: 'makePair() hands out two fresh, connected, unread ends, other ones each time',
    intent: 'everything else is measured with them',
    hazards: [],
    async run(context) {
      const [first, second] = [await context.pair(), await context.pair()]
      assert.notEqual(first.a, second.a, 'the same end was handed out twice')
      assert.notEqual(first.b, second.b, 'the same peer was handed out twice')
      for (const { a, b } of [first, second]) {
        for (const end of [a, b]) {
          assert.equal(end.destroyed, false, 'an end is destroyed already')
          assert.equal(end.readableFlowing, null, 'an end is being read already')
        }
      }
      const [there, back] = [payload(100, 1), payload(100, 2)]
      first.seenA.read()
      first.seenB.read()
      first.a.write(there)
      first.b.write(back)
      await context.within(first.seenB.received(100), 'bytes of a at b')
      await context.within(first.seenA.received(100), 'bytes of b at a')
      assertWire(first.seenB.bytes, there)
      assertWire(first.seenA.bytes, back)
      assert.equal(second.seenA.length + second.seenB.length, 0, 'bytes strayed to another pair')
    },
  },
]
