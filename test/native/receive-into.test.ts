/** Receives into memory that the command names: how many bytes they wait for, and what they tell when they get fewer. */
import { closeRigs, digest, emitted, errno, kinds, makeRig, pattern, written } from './rig'

afterEach(closeRigs)

describe.each(kinds)('%s: receiveInto', (kind) => {
  test('waits for all it was asked for', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const bytes = pattern(300_000)
    rig.receiveInto(id, bytes.length)
    for (const [from, to] of [
      [0, 1],
      [1, 1000],
      [1000, bytes.length - 1],
    ] as const) {
      await written(peer, bytes.subarray(from, to))
      await rig.turn()
      await rig.turn()
      expect(rig.of('receiveInto', id)).toEqual([])
    }
    peer.write(bytes.subarray(bytes.length - 1))
    const event = await rig.completion('receiveInto', id)
    expect(event).toMatchObject({ result: bytes.length, more: false })
    expect(digest(event.bytes)).toBe(digest(bytes))
    expect(rig.driver.stats().bytesReceived).toBe(bytes.length)
    peer.destroy()
  })

  test('takes many megabytes as they come', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const bytes = pattern(16 << 20)
    rig.receiveInto(id, bytes.length)
    peer.write(bytes)
    const { result, bytes: received } = await rig.completion('receiveInto', id)
    expect(result).toBe(bytes.length)
    expect(digest(received)).toBe(digest(bytes))
    peer.destroy()
  })

  test('is content with the minimum, and takes what else is there', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await written(peer, 'twelve bytes')
    rig.receiveInto(id, 100, 10)
    expect((await rig.completion('receiveInto', id)).bytes.toString()).toBe('twelve bytes')
    peer.destroy()
  })

  test('with less than the minimum waits for the rest of it', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    rig.receiveInto(id, 100, 10)
    await written(peer, 'nine byte')
    await rig.turn()
    await rig.turn()
    expect(rig.of('receiveInto', id)).toEqual([])
    peer.write('s')
    expect((await rig.completion('receiveInto', id)).bytes.toString()).toBe('nine bytes')
    peer.destroy()
  })

  test('leaves what comes after its length to the next one', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    await written(peer, 'firstsecond')
    rig.receiveInto(id, 5)
    await rig.completion('receiveInto', id)
    rig.receiveInto(id, 6)
    await rig.until('both', () => rig.of('receiveInto', id).length === 2)
    expect(rig.of('receiveInto', id).map(({ bytes }) => bytes.toString())).toEqual([
      'first',
      'second',
    ])
    peer.destroy()
  })

  test('puts the bytes where it was told, and touches nothing else', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const memory = Buffer.alloc(20, '.')
    const index = rig.lend(memory.buffer.slice(memory.byteOffset, memory.byteOffset + 20))
    peer.write('inside')
    rig.start('receiveInto', id, index, 4, 6, 6)
    await rig.completion('receiveInto', id)
    expect(rig.memory(index).toString()).toBe('....inside..........')
    peer.destroy()
  })

  test('ends short at the end of the stream, and the next one has nothing', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    rig.receiveInto(id, 100)
    peer.end('all there is')
    expect((await rig.completion('receiveInto', id)).bytes.toString()).toBe('all there is')
    rig.receiveInto(id, 100)
    await rig.until('the next', () => rig.of('receiveInto', id).length === 2)
    expect(rig.of('receiveInto', id)[1]).toMatchObject({ result: 0, more: false })
    peer.destroy()
  })

  test('tells with an error how many bytes came before it', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    rig.receiveInto(id, 100)
    await written(peer, 'before')
    await rig.turn()
    peer.resetAndDestroy()
    const event = await rig.completion('receiveInto', id)
    expect([event.result, event.extra, event.bytes.toString()]).toEqual([
      errno('ECONNRESET'),
      6,
      'before',
    ])
  })

  test('tells of a reset that a send has met', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const closed = emitted(peer, 'close')
    peer.resetAndDestroy()
    await closed
    rig.send(id, Buffer.from('x'))
    expect((await rig.completion('send', id)).result).toBe(errno('ECONNRESET'))
    rig.receiveInto(id, 100)
    expect((await rig.completion('receiveInto', id)).result).toBe(errno('ECONNRESET'))
  })

  test('cancelled tells how many bytes came, and the next receive goes on behind them', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    rig.receiveInto(id, 100)
    await written(peer, 'before')
    await rig.turn()
    await rig.turn()
    rig.cancel('receiveInto', id)
    const event = await rig.completion('receiveInto', id)
    expect([event.result, event.extra, event.bytes.toString()]).toEqual([
      errno('ECANCELED'),
      6,
      'before',
    ])
    peer.write('after')
    rig.start('receive', id)
    expect((await rig.completion('receive', id)).bytes.toString()).toBe('after')
    peer.destroy()
  })

  test('uses none of the buffers that were provided', async () => {
    const rig = makeRig(kind, {}, { count: 1, bytes: 4096 })
    const { id, peer } = await rig.pair(false)
    peer.write('into memory')
    rig.receiveInto(id, 11)
    await rig.completion('receiveInto', id)
    expect(rig.memory(0).every((byte) => byte === 0)).toBe(true)
    peer.write('into a buffer')
    rig.start('receive', id)
    expect(await rig.completion('receive', id)).toMatchObject({ result: 13, extra: 0 })
    peer.destroy()
  })

  test('works without any buffer', async () => {
    const rig = makeRig(kind, {}, { count: 0, bytes: 0 })
    const { id, peer } = await rig.pair(false)
    peer.write('x')
    rig.receiveInto(id, 1)
    expect((await rig.completion('receiveInto', id)).result).toBe(1)
    peer.destroy()
  })

  test('is one of the receives, of which one is in flight at a time', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.receiveInto(id, 1)
    expect((await rig.completion('receiveInto', id)).result).toBe(errno('EALREADY'))
    rig.cancel('receive', id)
    await rig.last('receive', id)
    rig.receiveInto(id, 100)
    rig.start('receive', id)
    await rig.until('a refusal', () => rig.of('receive', id).length === 2)
    expect(rig.of('receive', id)[1]!.result).toBe(errno('EALREADY'))
    peer.destroy()
  })
})
