/** Who is told of a reset, and who of an end: the peer of a connection that is closed, and the receiver of one that was. */
import type * as net from 'node:net'
import type { DriverKind } from '../../src/core/binding'
import { closeRigs, collect, emitted, errno, kinds, makeRig, written } from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

/** How the stream ends at a raw peer, and what came before: the end is 0 or -errno. */
async function endAt(rig: Rig, id: number): Promise<{ end: number; text: string }> {
  rig.start('receive', id)
  const { result } = await rig.last('receive', id)
  return { end: result, text: rig.received(id).toString() }
}

/** A connection with a send in flight that the peer, which does not read, leaves no room for. */
async function blockedPair(kind: DriverKind): Promise<{ rig: Rig; id: number; peer: net.Socket }> {
  const rig = makeRig(kind)
  const { id, peer } = await rig.pair(false)
  peer.pause()
  await rig.block(id)
  return { rig, id, peer }
}

/** The peer's FIN, then its RST, both arrived. */
async function endAndReset(peer: net.Socket): Promise<void> {
  const finished = emitted(peer, 'finish')
  peer.end()
  await finished
  await reset(peer)
}

/** The peer's RST, arrived. */
async function reset(peer: net.Socket): Promise<void> {
  const closed = emitted(peer, 'close')
  peer.resetAndDestroy()
  await closed
}

describe.each(kinds)('%s: closing', (kind) => {
  test('with nothing unread is an end', async () => {
    const rig = makeRig(kind)
    const other = makeRig('epoll')
    const { id, peer } = await rig.rawPair(other)
    rig.start('receive', id)
    other.send(peer, Buffer.from('read'))
    await rig.completion('receive', id)
    rig.close(id)
    await rig.completion('close', id)
    expect(await endAt(other, peer)).toEqual({ end: 0, text: '' })
  })

  test('asked to reset is a reset', async () => {
    const rig = makeRig(kind)
    const other = makeRig('epoll')
    const { id, peer } = await rig.rawPair(other)
    rig.close(id, 1)
    await rig.completion('close', id)
    expect(await endAt(other, peer)).toEqual({ end: errno('ECONNRESET'), text: '' })
  })

  test.each([
    ['nothing', false],
    ['a send', true],
  ])(
    'with bytes in the socket is a reset, as close(2) makes it, with %s in flight',
    async (_, sends) => {
      const rig = makeRig(kind)
      const other = makeRig('epoll')
      const { id, peer } = await rig.rawPair(other)
      expect(other.driver.offer(peer, Buffer.from('unread'))).toBe(6)
      if (sends) rig.send(id, Buffer.from('last words'))
      rig.close(id)
      await rig.completion('close', id)
      expect(await endAt(other, peer)).toEqual({
        end: errno('ECONNRESET'),
        text: sends ? 'last words' : '',
      })
    },
  )

  test.each([
    ['as many receives as were delivered', 0, 0],
    ['one receive less than were delivered', -1, errno('ECONNRESET')],
  ])('that knows of %s', async (_, difference, end) => {
    const rig = makeRig(kind)
    const other = makeRig('epoll')
    const { id, peer } = await rig.rawPair(other)
    rig.start('receive', id)
    for (const text of ['one', 'two', 'three']) {
      other.send(peer, Buffer.from(text))
      await rig.until(text, () => rig.received(id).toString().endsWith(text))
    }
    expect(rig.delivered(id)).toBe(3)
    rig.close(id, 0, 3 + difference)
    await rig.completion('close', id)
    expect(await endAt(other, peer)).toEqual({ end, text: '' })
  })

  // 1. The peer's bytes fill several buffers, and one batch carries several receives.
  // 2. The first of them closes: of the others nobody has heard.
  test('in the middle of a batch that brings more is a reset, after the rest of the batch', async () => {
    const rig = makeRig(kind, {}, { count: 16, bytes: 4 })
    const other = makeRig('epoll')
    const { id, peer } = await rig.rawPair(other)
    expect(other.driver.offer(peer, Buffer.from('12345678'))).toBe(8)
    rig.onEvent = ({ op }) => {
      if (op !== 'receive' || rig.delivered(id) > 1) return
      rig.close(id)
      rig.driver.submit()
    }
    rig.start('receive', id)
    await rig.completion('close', id)
    expect(rig.delivered(id)).toBe(2)
    expect(rig.opsOf(id).at(-1)).toBe('close')
    expect(await endAt(other, peer)).toEqual({ end: errno('ECONNRESET'), text: '' })
  })

  // A descriptor that the kernel still holds for a receive would keep its FIN back, and close(2) would answer bytes that
  // arrive meanwhile with a reset.
  test('is done when the command is submitted, whatever was in flight', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    await rig.block(id)
    const before = rig.driver.stats()
    rig.close(id)
    rig.driver.submit()
    const after = rig.driver.stats()
    expect([after.endpoints, after.inFlight]).toEqual([before.endpoints - 1, before.inFlight - 2])
    expect(rig.of('close', id)).toEqual([])
    await rig.completion('close', id)
    peer.destroy()
  })

  test('the FIN follows a send that was queued before the close', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.driver.submit()
    const seen = collect(peer)
    rig.send(id, Buffer.from('last words'))
    rig.close(id)
    rig.driver.submit()
    peer.write('too late')
    expect((await seen).toString()).toBe('last words')
    await rig.completion('close', id)
    peer.destroy()
  })
})

describe.each(kinds)('%s: receiving', (kind) => {
  test.each([
    ['nothing was sent', false],
    ['a send has failed', true],
  ])('an end that a reset followed stays an end, when %s', async (_, sends) => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await endAndReset(peer)
    if (sends) {
      rig.send(id, Buffer.from('x'))
      expect((await rig.completion('send', id)).result).toBe(errno('EPIPE'))
    }
    rig.start('receive', id)
    expect((await rig.last('receive', id)).result).toBe(0)
  })

  test('an end is one also when an offer has failed', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await endAndReset(peer)
    expect(rig.driver.offer(id, Buffer.from('x'))).toBe(errno('EPIPE'))
    rig.start('receive', id)
    expect((await rig.last('receive', id)).result).toBe(0)
  })

  // The kernel tells of a reset once. Whoever sends first has it, and recv(2) then answers 0.
  test('a reset that a send has met is a reset for the receive', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await reset(peer)
    rig.send(id, Buffer.from('x'))
    expect((await rig.completion('send', id)).result).toBe(errno('ECONNRESET'))
    rig.start('receive', id)
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
  })

  test('a reset that an offer has met is a reset for the receive', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await reset(peer)
    expect(rig.driver.offer(id, Buffer.from('x'))).toBe(errno('ECONNRESET'))
    rig.start('receive', id)
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
  })

  test('a reset that cut a waiting send short is a reset for the receive', async () => {
    const { rig, id, peer } = await blockedPair(kind)
    await reset(peer)
    expect((await rig.completion('send', id)).result).toBeLessThan(0)
    rig.start('receive', id)
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
  })

  test('an end that a reset followed stays an end, when the reset cut a waiting send short', async () => {
    const { rig, id, peer } = await blockedPair(kind)
    await endAndReset(peer)
    const sent = await rig.completion('send', id)
    rig.start('receive', id)
    expect([(await rig.last('receive', id)).result, sent.result]).toEqual([0, errno('EPIPE')])
  })

  test('bytes that came before a reset are received before it is told', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await written(peer, 'before')
    await reset(peer)
    rig.start('receive', id)
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
    expect(rig.received(id).toString()).toBe('before')
  })
})
