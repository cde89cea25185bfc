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

/** Sends one byte, and another one for each that is sent, until there are `count`. */
function sendInTurn(rig: Rig, id: number, count: number): void {
  let sent = 0
  const next = (): void => rig.send(id, Buffer.from([97 + (sent % 26)]), sent++)
  rig.onEvent = (event) => {
    if (event.op === 'send' && event.id === id && sent < count) next()
  }
  next()
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
  rig.command('receive', id)
  return { id, peer }
}

const opsOf = (rig: Rig, id: number) =>
  rig.events.filter((event) => event.id === id).map((event) => event.op)

describe.each(kinds)('%s: submitting between', (kind) => {
  // 1. One batch carries the first send's completion and the peer's byte.
  // 2. Each send's completion commands the next send, and dispatch asks for it to be submitted.
  // 3. Only then the byte is delivered: under libuv the writes would all have come first.
  test('a send commanded by a send’s completion is complete before the receives of the batch', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    submitBetween(rig)
    const seen = collect(peer)
    sendInTurn(rig, id, 4)
    await rig.completion('receive', id)
    expect(opsOf(rig, id)).toEqual(['send', 'send', 'send', 'send', 'receive'])
    expect(rig.of('send', id).map((event) => event.result)).toEqual([1, 1, 1, 1])
    rig.command('shutdown', id)
    expect((await seen).toString()).toBe('abcd')
    peer.destroy()
  })

  test('without being asked, the same send comes after the receives', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    sendInTurn(rig, id, 2)
    await rig.until('both sends', () => rig.of('send', id).length === 2)
    expect(opsOf(rig, id)).toEqual(['send', 'receive', 'send'])
    peer.destroy()
  })

  test('sends that never end do not keep the rest of the batch away', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    submitBetween(rig)
    peer.resume()
    sendInTurn(rig, id, 1000)
    await rig.completion('receive', id)
    const before = opsOf(rig, id).indexOf('receive')
    expect(before).toBeGreaterThan(2)
    expect(before).toBeLessThan(32)
    await rig.until('all the sends', () => rig.of('send', id).length === 1000)
    peer.destroy()
  })

  test('every completion is counted once, however often its batch was put off', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await pairWithByte(rig)
    submitBetween(rig)
    peer.resume()
    sendInTurn(rig, id, 20)
    await rig.until('all the sends', () => rig.of('send', id).length === 20)
    // Dispatch is inside a batch while the promise settles: the count is right when it is over.
    await new Promise((resolve) => setImmediate(resolve))
    expect(rig.driver.stats().completions).toBe(rig.events.length)
    peer.destroy()
  })

  test('a shutdown comes first, as the sends do, whatever was there before it', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    rig.command('wake', 0)
    rig.command('shutdown', id)
    await rig.event('wake', (event) => event.op === 'wake')
    expect(rig.events.slice(-2).map((event) => event.op)).toEqual(['shutdown', 'wake'])
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
    await within('a timer', new Promise((resolve) => setTimeout(resolve, 5)))
    isOver = true
    const batches = rig.events.map((event) => event.batch)
    expect(new Set(batches).size).toBe(batches.length)
    expect(batches.length).toBeGreaterThan(1)
  })
})
