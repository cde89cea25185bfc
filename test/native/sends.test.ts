/** Sends of several pieces, what is told of a send on its way, and bytes that are offered without waiting. */
import { SocketOption } from '../../src/core/binding'
import {
  blockedBytes,
  check,
  closeRigs,
  collect,
  digest,
  emitted,
  errno,
  kinds,
  makeRig,
  pattern,
} from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

/** `count` chunks of 1 to 7 bytes, and `rest` bytes as the last one; and all of it. */
function chunksOf(count: number, rest: number): { chunks: Buffer[]; all: Buffer } {
  const lengths = Array.from({ length: count }, (_, i) => (i % 7) + 1)
  const all = pattern(lengths.reduce((sum, length) => sum + length, 0) + rest, 6)
  const chunks: Buffer[] = []
  let at = 0
  for (const length of [...lengths, rest]) {
    chunks.push(all.subarray(at, at + length))
    at += length
  }
  return { chunks, all }
}

/** Everything that the peer of a raw pair receives until the end. */
async function readAll(rig: Rig, id: number): Promise<Buffer> {
  rig.onEvent = ({ op, id: to, result, more }) => {
    if (op === 'receive' && to === id && result !== 0 && !more) rig.start('receive', id)
  }
  rig.start('receive', id)
  await rig.event('end', (e) => e.op === 'receive' && e.id === id && e.result === 0)
  return rig.received(id)
}

describe.each(kinds)('%s: a gathered send', (kind) => {
  test('sends its pieces in order and completes once, with the number of all bytes', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    rig.send(id, Buffer.from('one '), Buffer.from('two '), Buffer.from('three'))
    expect(await rig.completion('send', id)).toMatchObject({ result: 13, more: false })
    rig.start('shutdown', id)
    expect((await seen).toString()).toBe('one two three')
    expect(rig.of('send', id)).toHaveLength(1)
    expect(rig.driver.stats().bytesSent).toBe(13)
    peer.destroy()
  })

  test('takes each piece from where in its memory the command says', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    const alphabet = new ArrayBuffer(26)
    new Uint8Array(alphabet).forEach((_, i, bytes) => (bytes[i] = 97 + i))
    const index = rig.lend(alphabet)
    // The token of the send is known when its first piece is queued: here that of a wake before it.
    const token = rig.start('wake', 0)
    await rig.until('the wake', () => !rig.isInFlight('wake', 0))
    rig.queue('piece', token, 0, index, 7, 2)
    rig.queue('piece', token, 0, index, 0, 1)
    rig.queue('piece', token, 0, index, 25, 1)
    expect(rig.start('send', id, index, 4, 3)).toBe(token)
    expect((await rig.completion('send', id)).result).toBe(7)
    rig.start('shutdown', id)
    expect((await seen).toString()).toBe('hiazefg')
    peer.destroy()
  })

  test.each([
    ['of more pieces than sendmsg(2) takes', 3000, 1],
    ['that ends with more than the peer takes', 10, blockedBytes],
    ['of more pieces than sendmsg(2) takes, and more bytes than the peer does', 3000, blockedBytes],
  ])('%s goes on until the last byte', async (_, count, rest) => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    const { chunks, all } = chunksOf(count, rest)
    rig.send(id, ...chunks)
    // The answer to a byte proves that the driver has had its turn.
    peer.write('x')
    await rig.completion('receive', id)
    if (rest === blockedBytes) expect(rig.of('send', id)).toEqual([])
    const seen = collect(peer)
    peer.resume()
    expect(await rig.completion('send', id)).toMatchObject({ result: all.length, more: false })
    rig.start('shutdown', id)
    expect(digest(await seen)).toBe(digest(all))
    peer.destroy()
  })

  test('of large pieces to a peer that stalls again and again arrives as it was', async () => {
    const rig = makeRig(kind)
    const other = makeRig('epoll')
    const { id, peer } = await rig.rawPair(other)
    const all = pattern(24 << 20, 9)
    const chunks = Array.from({ length: 12 }, (_, i) => all.subarray(i << 21, (i + 1) << 21))
    rig.send(id, ...chunks)
    const parts: Buffer[] = []
    for (let i = 0; i < 24; i++) {
      other.receiveInto(peer, 1 << 20)
      await other.until('a part', () => other.of('receiveInto', peer).length === i + 1)
      parts.push(other.events.at(-1)!.bytes)
    }
    expect(digest(Buffer.concat(parts))).toBe(digest(all))
    expect((await rig.completion('send', id)).result).toBe(all.length)
  })

  test('on one endpoint does not mix with that on another', async () => {
    const rig = makeRig(kind)
    const [one, two] = [await rig.pair(), await rig.pair()]
    const seen = [collect(one.peer), collect(two.peer)]
    const wakes = [rig.start('wake', 0), rig.start('wake', 0)] as const
    await rig.until('both wakes', () => !rig.isInFlight('wake', 0))
    const texts = new ArrayBuffer(4)
    Buffer.from(texts).write('abcd')
    const index = rig.lend(texts)
    // Free tokens come back last first.
    rig.queue('piece', wakes[1], 0, index, 0, 1)
    rig.queue('piece', wakes[0], 0, index, 2, 1)
    expect(rig.start('send', one.id, index, 1, 1)).toBe(wakes[1])
    expect(rig.start('send', two.id, index, 3, 1)).toBe(wakes[0])
    for (const { id } of [one, two]) {
      expect((await rig.completion('send', id)).result).toBe(2)
      rig.start('shutdown', id)
    }
    expect((await Promise.all(seen)).map(String)).toEqual(['ab', 'cd'])
    one.peer.destroy()
    two.peer.destroy()
  })

  test.each([
    ['bounds', errno('EINVAL')],
    ['endpoint', errno('EBADF')],
  ])('refused for its %s leaves no piece behind', async (what, error) => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    const index = rig.lend(new ArrayBuffer(10))
    const token = rig.start('wake', 0)
    await rig.until('the wake', () => !rig.isInFlight('wake', 0))
    rig.queue('piece', token, 0, index, 0, 10)
    const refused =
      what === 'bounds'
        ? rig.start('send', id, index, 5, 6)
        : rig.start('send', id + (1 << 20), index, 0, 1)
    expect(refused).toBe(token)
    const refusal = await rig.event('refusal', (event) => event.op === 'send')
    expect([refusal.token, refusal.result]).toEqual([token, error])
    expect(rig.send(id, Buffer.from('next'))).toBe(token)
    await rig.event('the next', (event) => event.op === 'send' && event.result === 4)
    rig.start('shutdown', id)
    expect((await seen).toString()).toBe('next')
    peer.destroy()
  })

  test('cancelled tells how many bytes the peer will see', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    peer.pause()
    const { chunks, all } = chunksOf(3000, blockedBytes)
    rig.send(id, ...chunks)
    rig.driver.submit()
    await rig.turn()
    rig.cancel('send', id)
    const sent = await rig.completion('send', id)
    expect(sent.result).toBe(errno('ECANCELED'))
    expect(sent.extra).toBeGreaterThan(3000)
    rig.start('shutdown', id)
    expect(digest(await collect(peer.resume()))).toBe(digest(all.subarray(0, sent.extra)))
    peer.destroy()
  })
})

describe.each(kinds)('%s: unsent', (kind) => {
  test('is 0 of a token that names no send in flight', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const token = rig.send(id, Buffer.from('x'))
    await rig.completion('send', id)
    expect([0, -1, 1000, token].map((each) => rig.driver.unsent(each))).toEqual([0, 0, 0, 0])
    peer.destroy()
  })

  test.each([
    ['one piece', 1],
    ['many pieces', 64],
  ])('tells how much of a send in %s the kernel has not taken', async (_, count) => {
    const rig = makeRig(kind)
    const other = makeRig('epoll')
    const { id, peer } = await rig.rawPair(other)
    // Or its buffer would grow to hold what it is not asked for.
    other.driver.setOption(peer, SocketOption.receiveBufferBytes, 1 << 18)
    const all = pattern(blockedBytes)
    const size = blockedBytes / count
    const chunks = Array.from({ length: count }, (_, i) => all.subarray(i * size, (i + 1) * size))
    const token = rig.send(id, ...chunks)
    rig.driver.submit()
    const first = rig.driver.unsent(token)
    expect(first).toBeGreaterThan(0)
    expect(first).toBeLessThanOrEqual(blockedBytes)
    const readBytes = 8 << 20
    other.receiveInto(peer, readBytes)
    await other.completion('receiveInto', peer)
    await rig.turn()
    // What goes to the kernel at one time counts when it is through.
    const atOnce = 512 * 1024
    expect(rig.driver.unsent(token)).toBeLessThanOrEqual(blockedBytes - readBytes + atOnce)
    expect(rig.driver.unsent(token)).toBeGreaterThan(0)
    other.receiveInto(peer, blockedBytes - readBytes)
    expect((await rig.completion('send', id)).result).toBe(blockedBytes)
    expect(rig.driver.unsent(token)).toBe(0)
  })
})

describe.each(kinds)('%s: offer', (kind) => {
  test('hands over bytes at once, behind the sends that were queued', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    expect(rig.driver.offer(id, Buffer.from('first '))).toBe(6)
    rig.send(id, Buffer.from('second '))
    expect(rig.driver.offer(id, Buffer.from('third'))).toBe(5)
    rig.start('shutdown', id)
    expect((await seen).toString()).toBe('first second third')
    expect(rig.of('send', id)).toMatchObject([{ result: 7 }])
    expect(rig.driver.stats().bytesSent).toBe(18)
    peer.destroy()
  })

  test('does not overtake a send that is on its way', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    rig.send(id, pattern(blockedBytes))
    expect(rig.driver.offer(id, Buffer.from('not now'))).toBe(0)
    const seen = collect(peer)
    peer.resume()
    await rig.completion('send', id)
    rig.start('shutdown', id)
    expect(digest(await seen)).toBe(digest(pattern(blockedBytes)))
    peer.destroy()
  })

  test('tells how many bytes were taken, and then that there is no room', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    const bytes = pattern(blockedBytes)
    let taken = 0
    for (;;) {
      const more = check('offer', rig.driver.offer(id, bytes.subarray(taken)))
      taken += more
      if (more === 0) break
    }
    expect(taken).toBeGreaterThan(0)
    expect(taken).toBeLessThan(bytes.length)
    const seen = collect(peer)
    peer.resume()
    // The rest is a send like any other.
    rig.send(id, bytes.subarray(taken))
    await rig.completion('send', id)
    rig.start('shutdown', id)
    expect(digest(await seen)).toBe(digest(bytes))
    peer.destroy()
  })

  test('that meets an error says so', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const closed = emitted(peer, 'close')
    peer.resetAndDestroy()
    await closed
    expect(rig.driver.offer(id, Buffer.from('x'))).toBe(errno('ECONNRESET'))
    expect(rig.driver.offer(id, Buffer.from('x'))).toBe(errno('EPIPE'))
    expect(rig.driver.offer(id + (1 << 20), Buffer.from('x'))).toBe(errno('EBADF'))
  })

  test('leaves the bytes to the caller, who may change them at once', async () => {
    const rig = makeRig(kind)
    const other = makeRig('epoll')
    const { id, peer } = await rig.rawPair(other)
    const bytes = Buffer.from('as it was')
    expect(rig.driver.offer(id, bytes)).toBe(9)
    bytes.fill('!')
    rig.close(id)
    expect((await readAll(other, peer)).toString()).toBe('as it was')
  })
})
