/** Cancelling and closing: every operation ends exactly once, in order, and nothing received is lost. */
import * as net from 'node:net'
import { readFileSync } from 'node:fs'
import type { DriverKind } from '../../src/core/binding'
import { SocketOption } from '../../src/core/binding'
import { within } from '../deadlines'
import {
  blockedBytes,
  check,
  closeRigs,
  collect,
  descriptors,
  digest,
  emitted,
  errno,
  kinds,
  makeRig,
  pattern,
  written,
} from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

/** Connects that nobody answers: a full backlog makes the kernel drop further SYNs. All but the first. */
async function unansweredConnects(rig: Rig): Promise<number[]> {
  const listener = rig.open('inet')
  check('bind', rig.driver.bind(listener, '127.0.0.1', 0, 0))
  check('listen', rig.driver.listen(listener, 0))
  const { port } = rig.name(listener)
  const ids = Array.from({ length: 8 }, () => rig.open('inet'))
  for (const id of ids) check('connect', rig.connect(id, '127.0.0.1', port!))
  await rig.completion('connect', ids[0]!)
  return ids.slice(1)
}

/** Resolves when libuv has closed what was closed before. */
const closedByLoop = () => new Promise((resolve) => setImmediate(resolve))

describe.each(kinds)('%s: cancel', (kind) => {
  test('of a receive ends it with ECANCELED, and the next one gets the bytes that follow', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.cancel('receive', id)
    expect(await rig.last('receive', id)).toMatchObject({ result: errno('ECANCELED'), more: false })
    peer.end('after the cancel')
    rig.start('receive', id)
    await rig.event('end of stream', (e) => e.op === 'receive' && e.result === 0)
    expect(rig.received(id).toString()).toBe('after the cancel')
    peer.destroy()
  })

  // 1. The peer keeps sending. 2. Each completion cancels the receive, while more bytes arrive.
  // 3. Data that came first is delivered first. 4. The last completion arms the next receive.
  test('of receives again and again while bytes arrive loses none and reorders none', async () => {
    // Buffers for all that can arrive in one turn: a receive that finds none ends before the cancel.
    const rig = makeRig(kind, { receiveBuffers: 512 }, { count: 512, bytes: 65536 })
    const { id, peer } = await rig.pair()
    let cancelled = 0
    rig.onEvent = (event) => {
      if (event.op !== 'receive' || event.result === 0) return
      if (event.more) {
        rig.cancel('receive', id)
        return
      }
      if (event.result === errno('ECANCELED')) cancelled++
      rig.start('receive', id)
    }
    const bytes = pattern(8 << 20)
    for (let at = 0; at < bytes.length; at += 10_000) peer.write(bytes.subarray(at, at + 10_000))
    peer.end()
    await rig.event('end of stream', (e) => e.op === 'receive' && e.result === 0)
    expect(digest(rig.received(id))).toBe(digest(bytes))
    expect(cancelled).toBeGreaterThan(0)
    peer.destroy()
  })

  test('of a send tells how many bytes the peer will see', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    peer.pause()
    await rig.block(id)
    rig.cancel('send', id)
    const sent = await rig.completion('send', id)
    expect(sent.result).toBe(errno('ECANCELED'))
    rig.start('shutdown', id)
    const seen = await collect(peer.resume())
    expect(digest(seen)).toBe(digest(pattern(blockedBytes).subarray(0, sent.extra)))
    peer.destroy()
  })

  test('of a connect that nobody answers ends it', async () => {
    const rig = makeRig(kind)
    const [waiting, closed] = (await unansweredConnects(rig)).slice(-2) as [number, number]
    expect(rig.of('connect', waiting)).toHaveLength(0)
    rig.cancel('connect', waiting)
    expect((await rig.completion('connect', waiting)).result).toBe(errno('ECANCELED'))
    rig.close(closed)
    await rig.completion('close', closed)
    expect(rig.of('connect', closed)[0]!.result).toBe(errno('ECANCELED'))
  })

  test('of an accept leaves the connections that wait to the next one', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.cancel('accept', listener)
    expect((await rig.last('accept', listener)).result).toBe(errno('ECANCELED'))
    const peer = net.connect(port, '127.0.0.1')
    await emitted(peer, 'connect')
    await rig.turn()
    expect(rig.of('accept', listener)).toHaveLength(1)
    rig.start('accept', listener)
    await rig.event('connection', (e) => e.op === 'accept' && e.result > 0)
    peer.destroy()
  })

  test('of a wake, of what is over and of what never was does nothing', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const over = rig.send(id, Buffer.from('x'))
    await rig.completion('send', id)
    for (const token of [over, 1000, 0, -1, -(2 ** 31)]) rig.queue('cancel', token, 0)
    rig.queue('cancel', rig.start('wake', 0), 0)
    rig.start('receive', id)
    peer.end('x')
    await rig.event('end of stream', (e) => e.op === 'receive' && e.result === 0)
    expect(rig.events.filter((event) => event.result < 0)).toHaveLength(0)
    expect(rig.of('wake', 0)).toHaveLength(1)
    peer.destroy()
  })

  test('twice of the same operation ends it once', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.cancel('receive', id)
    rig.cancel('receive', id)
    rig.driver.submit()
    rig.cancel('receive', id)
    await rig.last('receive', id)
    await rig.turn()
    expect(rig.of('receive', id).map(({ result }) => result)).toEqual([errno('ECANCELED')])
    peer.destroy()
  })

  test('in the turn of the start: what can be done at once was done, what waits is cancelled', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const seen = collect(peer)
    rig.send(id, Buffer.from('sent'))
    rig.cancel('send', id)
    rig.start('receive', id)
    rig.cancel('receive', id)
    expect((await rig.completion('send', id)).result).toBe(4)
    expect((await rig.completion('receive', id)).result).toBe(errno('ECANCELED'))
    rig.start('shutdown', id)
    expect((await seen).toString()).toBe('sent')
    peer.destroy()
  })

  // 1. A send is submitted, and is through in the kernel. 2. It is cancelled before the driver has looked.
  // 3. Its token is that of the next operation, which the late cancel must not meet.
  test('that comes late does not meet the next operation of that token', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const token = rig.send(id, Buffer.from('x'))
    rig.driver.submit()
    rig.queue('cancel', token, 0)
    expect((await rig.completion('send', id)).result).toBe(1)
    expect(rig.start('receive', id)).toBe(token)
    await rig.turn()
    expect(rig.of('receive', id)).toEqual([])
    peer.write('y')
    expect((await rig.completion('receive', id)).result).toBe(1)
    peer.destroy()
  })

  test('does not end the other operations of the endpoint', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    await rig.block(id)
    rig.cancel('receive', id)
    await rig.last('receive', id)
    await rig.turn()
    expect(rig.of('send', id)).toEqual([])
    const seen = collect(peer)
    peer.resume()
    expect((await rig.completion('send', id)).result).toBe(blockedBytes)
    rig.close(id)
    expect(digest(await seen)).toBe(digest(pattern(blockedBytes)))
    peer.destroy()
  })
})

describe.each(kinds)('%s: close', (kind) => {
  test('with only a receive in flight shows the peer the end of stream', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    rig.close(id)
    expect((await seen).length).toBe(0)
    expect(await rig.completion('close', id)).toMatchObject({ result: 0 })
    expect(rig.opsOf(id)).toEqual(['receive', 'close'])
    expect(rig.of('receive', id)[0]!.result).toBe(errno('ECANCELED'))
    peer.destroy()
  })

  test('attempts what was queued just before, and then ends it', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    rig.send(id, Buffer.from('last '), Buffer.from('words'))
    rig.close(id)
    expect((await seen).toString()).toBe('last words')
    expect((await rig.completion('send', id)).result).toBe(10)
    await rig.completion('close', id)
    peer.destroy()
  })

  test('of a send that does not fit lets the peer have what was taken', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    peer.pause()
    rig.send(id, pattern(blockedBytes))
    rig.close(id)
    await rig.completion('close', id)
    const [sent] = rig.of('send', id)
    expect(sent!.result).toBe(errno('ECANCELED'))
    expect(sent!.extra).toBeGreaterThan(0)
    const seen = await collect(peer.resume())
    expect(digest(seen)).toBe(digest(pattern(blockedBytes).subarray(0, sent!.extra)))
    peer.destroy()
  })

  test('with everything in flight ends each operation once, the close last', async () => {
    const before = descriptors()
    const rig = makeRig(kind)
    const { id, peer, listener } = await rig.pair()
    const into = await rig.pair(false)
    const unanswered = (await unansweredConnects(rig)).at(-1)!
    peer.pause()
    await rig.block(id)
    rig.receiveInto(into.id, 100)
    await written(into.peer, 'a part')
    await rig.turn()
    const all = [id, into.id, unanswered, listener]
    for (const each of all) rig.close(each)
    for (const each of all) expect((await rig.completion('close', each)).result).toBe(0)
    expect(rig.opsOf(id).sort()).toEqual(['close', 'receive', 'send'])
    expect(rig.opsOf(into.id)).toEqual(['receiveInto', 'close'])
    expect(rig.of('receiveInto', into.id)[0]).toMatchObject({
      result: errno('ECANCELED'),
      extra: 6,
    })
    expect(rig.opsOf(unanswered)).toEqual(['connect', 'close'])
    expect(rig.opsOf(listener)).toEqual(['accept', 'accept', 'close'])
    for (const each of all) expect(rig.opsOf(each).at(-1)).toBe('close')
    peer.destroy()
    into.peer.destroy()
    expect(rig.end()).toBe(0)
    await Promise.all([peer, into.peer].map((each) => emitted(each, 'close')))
    await closedByLoop()
    expect(descriptors()).toBe(before)
  })

  test('with reset the peer sees ECONNRESET', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.resume()
    const failed = within(
      'error at the peer',
      new Promise<NodeJS.ErrnoException>((resolve) => peer.once('error', resolve)),
    )
    rig.close(id, 1)
    expect((await failed).code).toBe('ECONNRESET')
    await rig.completion('close', id)
  })

  test('a second one is refused, and changes nothing', async () => {
    const rig = makeRig(kind)
    for (const receive of [true, false]) {
      const { id, peer } = await rig.pair(receive)
      const seen = collect(peer)
      const token = rig.close(id)
      rig.close(id, 1)
      await rig.completion('close', id)
      await rig.turn()
      const closes = rig.of('close', id)
      expect(closes.find((event) => event.token === token)!.result).toBe(0)
      expect(closes.map(({ result }) => result).sort()).toEqual([errno('EBADF'), 0].sort())
      expect((await seen).length).toBe(0)
      peer.destroy()
    }
  })

  test('of an endpoint that was never connected', async () => {
    const rig = makeRig(kind)
    const id = rig.open('inet')
    rig.close(id)
    expect((await rig.completion('close', id)).result).toBe(0)
    expect(rig.driver.stats().endpoints).toBe(0)
  })

  test('of a listener refuses new connections at once, with an accept in flight', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.driver.submit()
    rig.close(listener)
    rig.driver.submit()
    const peer = net.connect(port, '127.0.0.1')
    const error = (await emitted(peer, 'error')) as NodeJS.ErrnoException
    expect(error.code).toBe('ECONNREFUSED')
    await rig.completion('close', listener)
    expect((await rig.last('accept', listener)).result).toBe(errno('ECANCELED'))
  })

  test('of a listener leaves no connection unheard of', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.driver.submit()
    const peers = Array.from({ length: 10 }, () => net.connect(port, '127.0.0.1'))
    const ends = peers.map((peer) => {
      peer.on('error', () => {}).resume()
      return emitted(peer, 'close')
    })
    await rig.completion('accept', listener)
    rig.close(listener)
    await rig.completion('close', listener)
    const accepted = rig.of('accept', listener).filter(({ result }) => result > 0)
    expect(rig.driver.stats().endpoints).toBe(accepted.length)
    for (const { result } of accepted) rig.close(result)
    // Those that nobody accepted were reset with the listener.
    await Promise.all(ends)
    expect(rig.driver.stats().endpoints).toBe(0)
  })

  test('a freed id stays refused, and its place comes back with another generation', async () => {
    const rig = makeRig(kind, { endpointsMax: 1 })
    const first = rig.open('inet')
    expect(rig.driver.open(4)).toBe(errno('ENFILE'))
    rig.close(first)
    await rig.completion('close', first)
    const second = rig.open('inet')
    expect(second).not.toBe(first)
    expect(second & 0xfffff).toBe(first & 0xfffff)
    expect(rig.driver.fd(first)).toBe(errno('EBADF'))
    expect(rig.driver.fd(second)).toBeGreaterThan(0)
  })

  test('generations wrap without ever giving an id that is not positive', async () => {
    const rig = makeRig(kind, { endpointsMax: 1 })
    const seen = new Set<number>()
    for (let round = 0; round < 2100; round++) {
      const id = rig.open('inet')
      expect(id).toBeGreaterThan(0)
      seen.add(id)
      rig.close(id)
      // Now and then what was closed is heard of: an id comes again after 2047 others.
      if (round % 100 === 0) await rig.turn()
      else rig.driver.submit()
    }
    expect(seen.size).toBe(2047)
    await rig.turn()
  })
})

/** Descriptors that this process may have. */
function descriptorsMax(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  return Number(limits.match(/Max open files\s+(\d+)/)![1])
}

describe.each(kinds)('%s: closing many', (kind: DriverKind) => {
  /** Times the kernel is entered to close `count` endpoints, each with a send in flight, in one submit. */
  async function entersToClose(count: number): Promise<number> {
    const rig = makeRig(kind, {
      endpointsMax: 2 * count + 10,
      commandCapacity: count + 1,
      batchSize: 1024,
    })
    const address = `\0uring-net-many-${process.pid}-${kind}-${count}`
    const listener = rig.open('unix')
    check('bind', rig.driver.bind(listener, address, 0, 0))
    check('listen', rig.driver.listen(listener, 1000))
    rig.start('accept', listener)
    let accepted = 0
    let connected = 0
    let cancelled = 0
    let closed = 0
    rig.onEvent = ({ op, result }) => {
      if (op === 'accept' && result > 0) accepted++
      if (op === 'connect' && result === 0) connected++
      if (op === 'send' && result === errno('ECANCELED')) cancelled++
      if (op === 'close' && result === 0) closed++
      rig.events.length = 0
    }
    const wave = 500
    const ids: number[] = []
    while (ids.length < count) {
      for (let i = 0; i < wave; i++) {
        const id = rig.open('unix')
        check('setOption', rig.driver.setOption(id, SocketOption.sendBufferBytes, 4096))
        check('connect', rig.connect(id, address, 0))
        ids.push(id)
      }
      const isThere = () => connected === ids.length && accepted === ids.length
      await rig.until('every connection', isThere)
    }
    const index = rig.lend(new ArrayBuffer(256 * 1024))
    for (const id of ids) rig.start('send', id, index, 0, 256 * 1024)
    await rig.turn()
    expect(rig.driver.stats().inFlight).toBe(count + 1)
    for (const id of ids) rig.close(id)
    const before = rig.driver.stats()
    rig.driver.submit()
    const after = rig.driver.stats()
    expect(after.endpoints).toBe(before.endpoints - count)
    expect(after.inFlight).toBe(1)
    await rig.until('every close', () => closed === count)
    expect(cancelled).toBe(count)
    expect(rig.end()).toBe(0)
    return after.enters - before.enters
  }

  test('4,000 endpoints with blocked sends take four times as much as 1,000', async () => {
    if (descriptorsMax() < 10_000) {
      console.warn('not tried: 10,000 descriptors are more than the limit')
      return
    }
    const few = await entersToClose(1000)
    const many = await entersToClose(4000)
    expect(few).toBeLessThanOrEqual(4 * 1000)
    expect(many).toBeLessThanOrEqual(4 * few + 100)
  })
})

describe.each(kinds)('%s: the end of the driver', (kind) => {
  test('ends everything in flight, frees every descriptor and detaches its memory', async () => {
    const before = descriptors()
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const into = await rig.pair(false)
    await unansweredConnects(rig)
    peer.pause()
    await rig.block(id)
    rig.receiveInto(into.id, 100)
    await rig.turn()
    expect(rig.end()).toBe(0)
    const { driver } = rig
    expect(driver.commands.byteLength).toBe(0)
    expect(driver.completions.byteLength).toBe(0)
    expect(driver.open(4)).toBe(errno('EBADF'))
    expect(driver.adopt(0)).toBe(errno('EBADF'))
    expect(driver.connect(1, id, '127.0.0.1', 1)).toBe(errno('EBADF'))
    expect(driver.register(0, new ArrayBuffer(1))).toBe(errno('EBADF'))
    expect(driver.offer(id, Buffer.from('x'))).toBe(errno('EBADF'))
    expect(driver.fd(id)).toBe(errno('EBADF'))
    expect(() => driver.submit()).not.toThrow()
    expect(() => driver.setRef(1)).not.toThrow()
    expect(driver.stats()).toMatchObject({ endpoints: 0, inFlight: 0 })
    expect(driver.close()).toBe(0)
    peer.destroy()
    into.peer.destroy()
    await Promise.all([peer, into.peer].map((each) => emitted(each, 'close')))
    await closedByLoop()
    expect(descriptors()).toBe(before)
  })

  test('nothing is dispatched after it', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.driver.submit()
    rig.start('wake', 0)
    rig.close(id)
    const before = rig.events.length
    rig.end()
    await closedByLoop()
    await closedByLoop()
    expect(rig.events).toHaveLength(before)
    peer.destroy()
  })

  test('lets the peer have what was queued', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const seen = collect(peer)
    rig.send(id, Buffer.from('last words'))
    expect(rig.end()).toBe(0)
    expect((await seen).toString()).toBe('last words')
    peer.destroy()
  })

  test('inside its own dispatch is safe', async () => {
    const rig = makeRig(kind)
    const { peer } = await rig.pair()
    const closed = new Promise<number>((resolve) => {
      rig.onEvent = () => resolve(rig.end())
    })
    peer.write('x')
    expect(await within('end', closed)).toBe(0)
    peer.destroy()
    await emitted(peer, 'close')
  })

  test('leaves the memory that it was given to JavaScript', async () => {
    const rig = makeRig(kind, {}, { count: 1, bytes: 4096 })
    const { peer } = await rig.pair()
    rig.keepsBuffers = true
    peer.write('stays')
    await rig.until('bytes', () => rig.kept.length === 1)
    const memory = rig.memory(0)
    rig.end()
    expect(memory.toString('latin1', 0, 5)).toBe('stays')
    peer.destroy()
  })
})
