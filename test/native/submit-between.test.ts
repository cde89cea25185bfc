/** What dispatch may ask for in the middle of a batch, and wakes: what is commanded there comes back when it should. */
import type * as net from 'node:net'
import { Dispatched } from '../../src/core/binding'
import { closeRigs, collect, errno, kinds, makeRig, within } from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

/** As TypeScript does: having delivered what comes first, has the commands it led to submitted. */
function submitBetween(rig: Rig): void {
  rig.interrupt = (index) => {
    const { commands, completions } = rig.driver
    const isBetween = index > 0 && index === completions[2]
    return isBetween && commands[0]! > 0 ? Dispatched.submit : Dispatched.done
  }
}

/** Commands a wake, and another one for each that comes, until there are `count`. */
function wakeInTurn(rig: Rig, count: number): void {
  let commanded = 0
  const next = (): void => {
    commanded++
    rig.command('wake', 0)
  }
  rig.onEvent = (event) => {
    if (event.op === 'wake' && commanded < count) next()
  }
  next()
}

/** Sends a byte; its completion commands a shutdown, and that one's a wake. */
function finishInTurn(rig: Rig, id: number): void {
  rig.onEvent = (event) => {
    if (event.op === 'send') rig.command('shutdown', id)
    if (event.op === 'shutdown') rig.command('wake', 0)
  }
  rig.send(id, Buffer.from('a'))
}

/**
 * A connection with a byte waiting, known to the driver and not received: a receive and a send commanded now complete in
 * one batch. That it is known shows in a second connection, whose byte was sent after it.
 */
async function pairWithByte(rig: Rig): Promise<{ id: number; peer: net.Socket }> {
  const { id, peer } = await rig.pair(false)
  const witness = await rig.pair()
  rig.driver.submit()
  peer.write('x')
  witness.peer.write('y')
  await rig.completion('receive', witness.id)
  witness.peer.destroy()
  await rig.last('receive', witness.id)
  // Here the driver is still in its poll callback, which reads no second time. What is commanded after an immediate is
  // taken by the next turn, which does.
  await new Promise((resolve) => setImmediate(resolve))
  rig.events.length = 0
  rig.command('receive', id)
  return { id, peer }
}

const opsOf = (rig: Rig) => rig.events.map((event) => event.op)

describe.each(kinds)('%s: submitting between', (kind) => {
  // 1. One batch carries the send's completion and the peer's byte.
  // 2. The send's completion commands a shutdown, whose completion commands a wake; dispatch asks for each to be submitted.
  // 3. Only then the byte is delivered: under libuv what the write led to would have come first.
  test('what a send’s completion commanded is complete before the receives of the batch', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    submitBetween(rig)
    const seen = collect(peer)
    finishInTurn(rig, id)
    await rig.completion('receive', id)
    expect(opsOf(rig)).toEqual(['send', 'shutdown', 'wake', 'receive'])
    expect(rig.events.map((event) => event.result)).toEqual([1, 0, 0, 1])
    expect((await seen).toString()).toBe('a')
    peer.destroy()
  })

  test('without being asked, the same comes after the receives', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    finishInTurn(rig, id)
    await rig.event('wake', (event) => event.op === 'wake')
    expect(opsOf(rig)).toEqual(['send', 'receive', 'shutdown', 'wake'])
    peer.destroy()
  })

  test('bytes that arrive in between wait for the next batch', async () => {
    const rig = makeRig(kind)
    const other = await rig.pair()
    const { id, peer } = await pairWithByte(rig)
    submitBetween(rig)
    const interrupt = rig.interrupt
    let isWritten = false
    rig.interrupt = (index) => {
      const answer = interrupt(index)
      if (answer === Dispatched.submit && !isWritten) {
        // libuv tries a write at once, so the driver's end has the byte when write() returns.
        isWritten = true
        other.peer.write('y')
      }
      return answer
    }
    finishInTurn(rig, id)
    await rig.completion('receive', other.id)
    expect(isWritten).toBe(true)
    expect(opsOf(rig)).toEqual(['send', 'shutdown', 'wake', 'receive', 'receive'])
    expect(rig.of('receive', id)).toMatchObject([{ result: 1 }])
    const [first, second] = [rig.completion('receive', id), rig.completion('receive', other.id)]
    expect((await second).batch).toBeGreaterThan((await first).batch)
    peer.destroy()
    other.peer.destroy()
  })

  test('wakes that never end do not keep the rest of the batch away', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    submitBetween(rig)
    wakeInTurn(rig, 1000)
    await rig.completion('receive', id)
    const before = opsOf(rig).indexOf('receive')
    expect(before).toBeGreaterThan(2)
    expect(before).toBeLessThan(32)
    await rig.until('all the wakes', () => rig.of('wake', 0).length === 1000)
    peer.destroy()
  })

  test('every completion is counted once, however often its batch was put off', async () => {
    const rig = makeRig(kind)
    const { peer } = await pairWithByte(rig)
    const { completions } = rig.driver.stats()
    submitBetween(rig)
    wakeInTurn(rig, 20)
    await rig.until('all of them', () => rig.of('wake', 0).length === 20)
    // Dispatch is inside a batch while the promise settles: the count is right when it is over.
    await new Promise((resolve) => setImmediate(resolve))
    expect(rig.driver.stats().completions - completions).toBe(rig.events.length)
    peer.destroy()
  })

  test('a shutdown and a wake come first, as the sends do, whatever was there before them', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    rig.command('accept', id)
    rig.command('wake', 0)
    rig.command('shutdown', id)
    await rig.until('all of them', () => rig.events.length === 4)
    expect(opsOf(rig).slice(0, 2)).toEqual(['wake', 'shutdown'])
    expect(opsOf(rig).slice(2).sort()).toEqual(['accept', 'receive'])
    peer.destroy()
  })
})

describe.each(kinds)('%s: wake', (kind) => {
  test('completes once for each command, with nothing else to do', async () => {
    const rig = makeRig(kind)
    for (let i = 0; i < 3; i++) rig.command('wake', 0)
    await rig.until('three wakes', () => rig.events.length >= 3)
    rig.command('wake', 0)
    await rig.until('a fourth', () => rig.events.length >= 4)
    const seen = rig.events.map(({ op, id, result, more }) => ({ op, id, result, more }))
    expect(seen).toEqual(Array(4).fill({ op: 'wake', id: 0, result: 0, more: false }))
  })

  test('is refused for an endpoint', async () => {
    const rig = makeRig(kind)
    const id = rig.open('inet')
    rig.command('wake', id)
    expect(await rig.completion('wake', id)).toMatchObject({ result: errno('EINVAL') })
  })

  test('commanded by a wake comes in a batch of its own, and timers get their turn', async () => {
    const rig = makeRig(kind)
    let isOver = false
    rig.onEvent = () => {
      if (!isOver) rig.command('wake', 0)
    }
    rig.command('wake', 0)
    // A loop that is late would run the timer before the first turn.
    await rig.until('a first', () => rig.events.length > 0)
    await within('a timer', new Promise((resolve) => setTimeout(resolve, 5)))
    isOver = true
    const batches = rig.events.map((event) => event.batch)
    expect(new Set(batches).size).toBe(batches.length)
    expect(batches.length).toBeGreaterThan(1)
  })
})
