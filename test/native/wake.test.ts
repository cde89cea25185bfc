/** A wake is a completion and nothing else: as many as were commanded, and never instead of anybody's turn. */
import { within } from '../deadlines'
import { closeRigs, kinds, makeRig } from './rig'

afterEach(closeRigs)

describe.each(kinds)('%s: wake', (kind) => {
  test('completes once for each command, in order, with nothing else to do', async () => {
    const rig = makeRig(kind)
    const tokens = [rig.start('wake', 0), rig.start('wake', 0), rig.start('wake', 0)]
    await rig.until('three wakes', () => rig.events.length >= 3)
    await rig.turn()
    expect(rig.events.slice(0, 3).map(({ token }) => token)).toEqual(tokens)
    const seen = rig.events.map(({ op, id, result, more }) => ({ op, id, result, more }))
    expect(seen).toEqual(Array(4).fill({ op: 'wake', id: 0, result: 0, more: false }))
  })

  test('commanded by a wake comes in a batch of its own, and timers get their turn', async () => {
    const rig = makeRig(kind)
    let isOver = false
    rig.onEvent = () => {
      if (!isOver) rig.start('wake', 0)
    }
    rig.start('wake', 0)
    // A loop that is late would run the timer before the first turn.
    await rig.until('a first', () => rig.events.length > 0)
    await within('a timer', new Promise((resolve) => setTimeout(resolve, 5)))
    isOver = true
    const batches = rig.events.map((event) => event.batch)
    expect(new Set(batches).size).toBe(batches.length)
    expect(batches.length).toBeGreaterThan(1)
  })

  test('without end does not keep what arrives away', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    let isOver = false
    rig.onEvent = ({ op }) => {
      if (op === 'wake' && !isOver) rig.start('wake', 0)
    }
    rig.start('wake', 0)
    peer.write('x')
    await rig.completion('receive', id)
    isOver = true
    peer.destroy()
  })

  test('comes soon also when the loop is about to wait for nothing else', async () => {
    const rig = makeRig(kind)
    // From an immediate: the next thing the loop does is to look how long it may sleep.
    await new Promise((resolve) => setImmediate(resolve))
    await rig.turn()
    expect(rig.events).toHaveLength(1)
  })
})

describe.each(kinds)('%s: batches', (kind) => {
  test('keep to their size, and to the order of what they carry', async () => {
    const rig = makeRig(kind, { batchSize: 3 })
    const counts: number[] = []
    rig.onBatch = (count) => counts.push(count)
    const tokens = Array.from({ length: 50 }, () => rig.start('wake', 0))
    await rig.until('every wake', () => rig.events.length === 50)
    expect(Math.max(...counts)).toBe(3)
    expect(rig.events.map(({ token }) => token)).toEqual(tokens)
  })

  test('are counted, and so are their completions', async () => {
    const rig = makeRig(kind)
    const before = rig.driver.stats()
    for (let i = 0; i < 10; i++) rig.start('wake', 0)
    await rig.until('every wake', () => rig.events.length === 10)
    await rig.turn()
    const after = rig.driver.stats()
    expect(after.completions - before.completions).toBe(11)
    expect(after.batches - before.batches).toBe(2)
  })
})
