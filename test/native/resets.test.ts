/** Who is told of a reset, and who of an end: the peer of a connection that is closed, and the receiver of one that was. */
import type * as net from 'node:net'
import type { DriverKind } from '../../src/core/binding'
import { check, closeRigs, collect, emitted, errno, kinds, makeRig } from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

/**
 * A connection whose other end is the driver's as well: read by hand, for node:net takes a reset behind bytes for an end.
 */
async function ownPair(rig: Rig): Promise<{ id: number; peer: number }> {
  const { id: listener, port } = rig.listen()
  const peer = rig.open('inet')
  check('connect', rig.driver.connect(peer, '127.0.0.1', port))
  const [accepted] = await Promise.all([
    rig.completion('accept', listener),
    rig.completion('connect', peer),
  ])
  return { id: check('accept', accepted.result), peer }
}

/** A connection with a send in flight that the peer, which does not read, leaves no room for. */
async function blockedPair(kind: DriverKind): Promise<{ rig: Rig; id: number; peer: net.Socket }> {
  const blockedBytes = 16 << 20
  const rig = makeRig(kind, { arenaBytes: blockedBytes })
  const { id, peer } = await rig.pair(false)
  peer.pause()
  rig.command('send', id, 0, blockedBytes)
  rig.driver.submit()
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
  // 1. The close is commanded with nothing unread, and a receive in flight that has to end first.
  // 2. Bytes arrive while the descriptor is still open: close(2) alone would answer them with RST.
  test('bytes that arrive before the last completion do not turn an orderly close into a reset', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.driver.submit()
    const seen = collect(peer)
    rig.command('close', id)
    rig.driver.submit()
    expect(rig.of('close', id)).toEqual([])
    peer.write('too late')
    expect((await seen).length).toBe(0)
    await rig.completion('close', id)
    peer.destroy()
  })

  test('the FIN follows a send that was queued before the close', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.driver.submit()
    const seen = collect(peer)
    rig.send(id, Buffer.from('last words'))
    rig.command('close', id)
    rig.driver.submit()
    peer.write('too late')
    expect((await seen).toString()).toBe('last words')
    await rig.completion('close', id)
    peer.destroy()
  })

  test.each([
    ['nothing', false],
    ['a send', true],
  ])(
    'with bytes unread it is a reset, as close(2) makes it, with %s in flight',
    async (_, sends) => {
      const rig = makeRig(kind)
      const { id, peer } = await ownPair(rig)
      expect(rig.driver.sendNow(peer, Buffer.from('unread'))).toBe(6)
      if (sends) rig.send(id, Buffer.from('last words'))
      rig.command('close', id)
      await rig.completion('close', id)
      rig.command('receive', peer)
      expect((await rig.last('receive', peer)).result).toBe(errno('ECONNRESET'))
      expect(rig.received(peer).toString()).toBe(sends ? 'last words' : '')
    },
  )
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
    rig.command('receive', id)
    expect((await rig.last('receive', id)).result).toBe(0)
  })

  test('an end is one also when a call that sent at once has failed', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await endAndReset(peer)
    expect(rig.driver.sendNow(id, Buffer.from('x'))).toBe(errno('EPIPE'))
    rig.command('receive', id)
    expect((await rig.last('receive', id)).result).toBe(0)
  })

  // The kernel tells of a reset once. Whoever sends first has it, and recv(2) then answers 0.
  test('a reset that a send has met is a reset for the receive', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await reset(peer)
    rig.send(id, Buffer.from('x'))
    expect((await rig.completion('send', id)).result).toBe(errno('ECONNRESET'))
    rig.command('receive', id)
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
  })

  test('a reset that a call that sent at once has met is a reset for the receive', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await reset(peer)
    expect(rig.driver.sendNow(id, Buffer.from('x'))).toBe(errno('ECONNRESET'))
    rig.command('receive', id)
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
  })

  test('a reset that cut a waiting send short is a reset for the receive', async () => {
    const { rig, id, peer } = await blockedPair(kind)
    await reset(peer)
    expect((await rig.completion('send', id)).result).toBeLessThan(0)
    rig.command('receive', id)
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
  })

  test('an end that a reset followed stays an end, when the reset cut a waiting send short', async () => {
    const { rig, id, peer } = await blockedPair(kind)
    await endAndReset(peer)
    const sent = await rig.completion('send', id)
    rig.command('receive', id)
    expect([(await rig.last('receive', id)).result, sent.result]).toEqual([0, errno('EPIPE')])
  })
})
