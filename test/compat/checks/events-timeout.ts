/**
 * E1: setTimeout(). Clocks cannot be avoided here: they are short, and what a stall of the machine could have caused is
 * measured again.
 */
import * as assert from 'node:assert/strict'
import type { Check, CheckContext } from '../check'

const area = 'events'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** How often `work` is begun with less than `mostMs` between two beginnings; otherwise tries again, three times in all. */
async function steadily(
  times: number,
  ms: number,
  mostMs: number,
  context: CheckContext,
  /** False: what was sent last has not arrived, for which the kernel itself may be too busy. */
  work: () => boolean,
  reset: () => void,
): Promise<boolean> {
  for (let attempt = 0; attempt < 3; attempt++) {
    let last = performance.now()
    let isSteady = true
    reset()
    for (let i = 0; i < times; i++) {
      if (!work()) isSteady = false
      await pause(ms)
      const now = performance.now()
      if (now - last > mostMs) isSteady = false
      last = now
    }
    if (isSteady) return true
    context.note('the machine stalled: measured again')
  }
  return false
}

export const timeoutChecks: readonly Check[] = [
  {
    id: 'E1-10',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "'timeout' is told once after silence, not before, and changes nothing else",
    intent: 'the program decides what an idle connection means',
    hazards: [],
    needs: ['socket'],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair()
      seenA.read()
      seenB.read()
      const start = performance.now()
      let calls = 0
      assert.equal(
        a.setTimeout(40, () => calls++),
        a,
        'setTimeout() does not return its socket',
      )
      assert.equal(a.timeout, 40, '`timeout` is not what was set')
      await context.within(seenA.seen('timeout'), "'timeout' after silence")
      const after = performance.now() - start
      assert.ok(after >= 35, `'timeout' came after ${Math.round(after)} ms of 40`)
      await context.silence()
      assert.ok(!a.destroyed && a.writable, "'timeout' has closed the socket")
      assert.deepEqual(seenA.events, ['timeout'], "'timeout' came again, or something with it")
      assert.equal(calls, 1, "setTimeout()'s callback")
      a.write('x')
      b.write('y')
      await context.within(seenB.received(1), "data of a after 'timeout'")
      await context.within(seenA.received(1), "data after 'timeout'")
    },
  },
  {
    id: 'E1-11',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "traffic in either direction puts 'timeout' off",
    intent: 'a long download is not idle',
    hazards: [],
    needs: ['socket'],
    async run(context) {
      for (const way of ['received', 'written']) {
        const { a, b, seenA, seenB } = await context.pair()
        seenA.read()
        seenB.read()
        a.setTimeout(80)
        let before = 0
        let sent = 0
        const isSteady = await steadily(
          8,
          20,
          50,
          context,
          () => {
            const isReceived = way === 'received'
            const isLate = isReceived && seenA.length < sent
            sent++
            ;(isReceived ? b : a).write('x')
            return !isLate
          },
          () => {
            a.setTimeout(80)
            before = seenA.events.length
            sent = seenA.length
          },
        )
        const told = seenA.events.slice(before)
        if (isSteady) assert.deepEqual(told, [], `'timeout' came although data was being ${way}`)
        await context.within(seenA.seen('timeout'), "'timeout' once the traffic stops")
      }
    },
  },
  {
    id: 'E1-12',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'setTimeout(0) takes it back, and a socket that is gone has none',
    intent: 'WebSocket libraries take the HTTP timeout back on upgrade',
    hazards: [],
    needs: ['socket'],
    async run(context) {
      const [off, gone] = [await context.pair(), await context.pair()]
      off.a.setTimeout(20)
      off.a.setTimeout(0)
      gone.a.setTimeout(20)
      gone.a.destroy()
      await context.silence()
      assert.deepEqual(off.seenA.events, [], "'timeout' came after setTimeout(0)")
      const told = gone.seenA.events.filter((event) => event === 'timeout')
      assert.deepEqual(told, [], "'timeout' came after destroy()")
    },
  },
  {
    id: 'E1-13',
    rule: 'E1',
    strength: 'recommended',
    area,
    requirement: "a large write that is getting on puts 'timeout' off",
    intent: 'a slow client downloads: the server must not call it idle while bytes leave',
    hazards: [45],
    needs: ['socket', 'kernel'],
    async run(context) {
      const { a, b, seenA, seenB } = await context.pair()
      // Far more than the kernel takes, so that a part of it is always left.
      a.write(Buffer.alloc(32 * 1024 * 1024))
      let room = 0
      let lastData = 0
      let hasStalled = false
      let from = 0
      b.on('data', (chunk: Buffer) => {
        if (performance.now() - lastData > 60) hasStalled = true
        lastData = performance.now()
        seenB.take(chunk)
        if (seenB.length >= room) b.pause()
      })
      const isSteady = await steadily(
        12,
        20,
        60,
        context,
        () => {
          room = seenB.length + 600_000
          b.resume()
          return true
        },
        () => {
          a.setTimeout(120)
          from = seenA.events.length
          lastData = performance.now()
          hasStalled = false
        },
      )
      const told = seenA.events.slice(from).filter((event) => event === 'timeout')
      const isJust = isSteady && !hasStalled && a.writableLength > 0
      if (isJust) assert.deepEqual(told, [], "'timeout' came although a write was getting on")
    },
  },
]
