/** Cancelling and closing: every operation ends exactly once, in order, and nothing received is lost. */
import * as net from 'node:net'
import { readdirSync } from 'node:fs'
import { CloseHow } from '../../src/core/binding'
import { check, closeRigs, collect, emitted, errno, kinds, makeRig, pattern } from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

const descriptors = () => readdirSync('/proc/self/fd').length

/** Sends that no peer will ever take all of. */
const blockedBytes = 16 << 20

function viewOf(rig: Rig, offset: number, length: number): ArrayBuffer {
  const view = rig.driver.view(offset, length)
  if (typeof view === 'number') throw new Error(`view: ${view}`)
  return view
}

function block(rig: Rig, id: number): void {
  rig.command('send', id, 0, blockedBytes)
  rig.driver.submit()
}

describe.each(kinds)('%s: cancel', (kind) => {
  test('closed twice, an endpoint says so once, with no error, whatever was in flight', async () => {
    const rig = makeRig(kind)
    for (const receive of [true, false]) {
      const { id, peer } = await rig.pair(receive)
      rig.command('close', id)
      rig.command('close', id, CloseHow.unread)
      const closed = await rig.completion('close', id)
      rig.command('wake', 0)
      await rig.event('a wake after it', ({ op, batch }) => op === 'wake' && batch > closed.batch)
      expect(rig.of('close', id).map(({ result }) => result)).toEqual([0])
      peer.destroy()
    }
  })

  test('a cancelled receive ends with ECANCELED, and the next one gets the bytes that follow', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.command('cancel', id, 1)
    expect(await rig.last('receive', id)).toMatchObject({ result: errno('ECANCELED'), more: false })
    peer.end('after the cancel')
    rig.command('receive', id)
    await rig.event('end of stream', (e) => e.op === 'receive' && e.result === 0)
    expect(rig.received(id).toString()).toBe('after the cancel')
    peer.destroy()
  })

  // 1. The peer keeps sending. 2. Each completion cancels the receive, while more bytes arrive.
  // 3. Data that came first is delivered first. 4. The last completion arms the next receive.
  test('receives cancelled again and again while bytes arrive lose none and reorder none', async () => {
    // Room for all that can arrive in one turn: a receive that finds the pool dry ends before the cancel.
    const rig = makeRig(kind, { poolBytes: 16 << 20 })
    const { id, peer } = await rig.pair()
    let isArmed = true
    let cancelled = 0
    rig.onEvent = (event) => {
      if (event.op !== 'receive' || event.result === 0) return
      if (event.more) {
        rig.command('cancel', id, 1)
        return
      }
      expect(isArmed).toBe(true)
      if (event.result === errno('ECANCELED')) cancelled++
      rig.command('receive', id)
    }
    const bytes = pattern(8 << 20)
    for (let at = 0; at < bytes.length; at += 10_000) peer.write(bytes.subarray(at, at + 10_000))
    peer.end()
    await rig.event('end of stream', (e) => e.op === 'receive' && e.result === 0)
    isArmed = false
    expect(rig.received(id).equals(bytes)).toBe(true)
    expect(cancelled).toBeGreaterThan(0)
    peer.destroy()
  })

  test('a receive cannot be armed again before the cancelled one has ended', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.command('cancel', id, 1)
    rig.command('receive', id)
    const refused = await rig.event('refusal', (e) => e.result === errno('EALREADY'))
    expect(refused).toMatchObject({ op: 'receive', id })
    await rig.event('cancelled', (e) => e.result === errno('ECANCELED'))
    expect(rig.of('receive', id)).toHaveLength(2)
    peer.destroy()
  })

  test('a cancelled send tells how many bytes the peer will see', async () => {
    const rig = makeRig(kind, { arenaBytes: blockedBytes })
    const { id, peer } = await rig.pair(false)
    peer.pause()
    rig.driver.arena.set(pattern(blockedBytes))
    block(rig, id)
    rig.command('cancel', id, 2)
    const sent = await rig.completion('send', id)
    expect(sent.result).toBe(errno('ECANCELED'))
    rig.command('shutdown', id)
    const ended = collect(peer)
    peer.resume()
    const seen = await ended
    expect(seen.length).toBe(sent.extra)
    expect(seen.equals(pattern(blockedBytes).subarray(0, sent.extra))).toBe(true)
    peer.destroy()
  })

  test('a connect that nobody answers can be cancelled', async () => {
    const rig = makeRig(kind)
    // A full backlog makes the kernel drop further SYNs, so that this connect stays unanswered.
    const listener = rig.open('inet')
    check('bind', rig.driver.bind(listener, '127.0.0.1', 0, 0))
    check('listen', rig.driver.listen(listener, 0))
    const port = rig.name(listener).port!
    const ids = Array.from({ length: 8 }, () => rig.open('inet'))
    for (const id of ids) check('connect', rig.driver.connect(id, '127.0.0.1', port))
    await rig.completion('connect', ids[0]!)
    const waiting = ids.at(-1)!
    expect(rig.of('connect', waiting)).toHaveLength(0)
    rig.command('cancel', waiting, 5)
    expect((await rig.completion('connect', waiting)).result).toBe(errno('ECANCELED'))
    rig.command('close', ids.at(-2)!)
    await rig.completion('close', ids.at(-2)!)
    expect(rig.of('connect', ids.at(-2)!)[0]!.result).toBe(errno('ECANCELED'))
  })

  test('a cancelled accept can be armed again and takes the connection that waited', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.command('cancel', listener, 4)
    expect((await rig.last('accept', listener)).result).toBe(errno('ECANCELED'))
    const peer = net.connect(port, '127.0.0.1')
    await emitted(peer, 'connect')
    expect(rig.of('accept', listener)).toHaveLength(1)
    rig.command('accept', listener)
    await rig.event('connection', (e) => e.op === 'accept' && e.result > 0)
    peer.destroy()
  })

  test('cancelling what is not in flight does nothing', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    for (const op of [1, 2, 3, 4, 5]) rig.command('cancel', id, op)
    rig.command('receive', id)
    peer.end('x')
    await rig.last('receive', id)
    expect(rig.events.filter((event) => event.op === 'cancel')).toHaveLength(0)
    expect(rig.events.filter((event) => event.result < 0)).toHaveLength(0)
    peer.destroy()
  })
})

describe.each(kinds)('%s: close', (kind) => {
  test('with only a receive pending shows the peer the end of stream', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    rig.command('close', id)
    expect((await seen).length).toBe(0)
    expect(await rig.completion('close', id)).toMatchObject({ result: 0 })
    const own = rig.events.filter((event) => event.id === id)
    expect(own.map((event) => event.op)).toEqual(['receive', 'close'])
    expect(own[0]!.result).toBe(errno('ECANCELED'))
    peer.destroy()
  })

  test('a send queued just before is attempted first', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    rig.send(id, Buffer.from('last words'))
    rig.command('close', id)
    expect((await seen).toString()).toBe('last words')
    expect((await rig.completion('send', id)).result).toBe(10)
    await rig.completion('close', id)
    peer.destroy()
  })

  test('with everything in flight ends each operation once, the close last', async () => {
    const before = descriptors()
    const rig = makeRig(kind, { arenaBytes: blockedBytes })
    const own = descriptors()
    const { id, peer, listener } = await rig.pair()
    peer.pause()
    block(rig, id)
    rig.command('close', id)
    rig.command('close', listener)
    await rig.completion('close', id)
    await rig.completion('close', listener)
    const ops = rig.events.filter((event) => event.id === id).map((event) => event.op)
    expect([...ops].sort()).toEqual(['close', 'receive', 'send'])
    expect(ops.at(-1)).toBe('close')
    const listening = rig.events.filter((event) => event.id === listener)
    expect(listening.map((event) => event.op)).toEqual(['accept', 'accept', 'close'])
    expect(rig.driver.stats()).toMatchObject({ endpoints: 0, inFlight: 0 })
    peer.destroy()
    await emitted(peer, 'close')
    // The reserve descriptor came with the first listener and goes with the driver.
    expect(descriptors()).toBeLessThanOrEqual(own + 1)
    expect(rig.close()).toBe(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(descriptors()).toBe(before)
  })

  test('with reset the peer sees ECONNRESET', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.resume()
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => peer.once('error', resolve))
    rig.command('close', id, 1)
    expect((await failed).code).toBe('ECONNRESET')
    await rig.completion('close', id)
  })

  test('of a listener refuses new connections at once, with an accept in flight', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.driver.submit()
    rig.command('close', listener)
    rig.driver.submit()
    const peer = net.connect(port, '127.0.0.1')
    const error = (await emitted(peer, 'error')) as NodeJS.ErrnoException
    expect(error.code).toBe('ECONNREFUSED')
    await rig.completion('close', listener)
    expect((await rig.last('accept', listener)).result).toBe(errno('ECANCELED'))
  })

  test('a freed id stays refused, and its slot comes back with another generation', async () => {
    const rig = makeRig(kind, { endpointsMax: 1 })
    const first = rig.open('inet')
    expect(rig.driver.open(4)).toBe(errno('ENFILE'))
    rig.command('close', first)
    await rig.completion('close', first)
    const second = rig.open('inet')
    expect(second).not.toBe(first)
    expect(second & 0xfffff).toBe(first & 0xfffff)
    expect(rig.driver.fd(first)).toBe(errno('EBADF'))
    expect(rig.driver.fd(second)).toBeGreaterThan(0)
  })

  test('generations wrap without ever giving an id that is not positive', async () => {
    const rig = makeRig(kind, { endpointsMax: 1 })
    let id = rig.open('inet')
    for (let round = 0; round < 2100; round++) {
      rig.command('close', id)
      await rig.until('closed', () => rig.driver.stats().endpoints === 0)
      rig.events.length = 0
      id = rig.open('inet')
    }
    expect(id).toBeGreaterThan(0)
  })

  test('of the driver ends everything, frees every descriptor and detaches its memory', async () => {
    const before = descriptors()
    const rig = makeRig(kind, { arenaBytes: blockedBytes })
    const { id, peer } = await rig.pair()
    peer.pause()
    block(rig, id)
    const lease = viewOf(rig, 4096, 100)
    const bytes = new Uint8Array(lease)
    bytes.fill(7)
    expect(rig.driver.arena[4096]).toBe(7)
    expect(rig.close()).toBe(0)
    expect(rig.driver.arena.length).toBe(0)
    expect(rig.driver.pool.length).toBe(0)
    expect(rig.driver.commands.length).toBe(0)
    expect(rig.driver.completions.length).toBe(0)
    // A lease outlives the driver.
    expect(bytes[99]).toBe(7)
    expect(rig.driver.open(4)).toBe(errno('EBADF'))
    expect(rig.driver.sendNow(id, Buffer.from('x'))).toBe(errno('EBADF'))
    expect(() => rig.driver.submit()).not.toThrow()
    expect(rig.driver.stats().endpoints).toBe(0)
    peer.destroy()
    await emitted(peer, 'close')
    await new Promise((resolve) => setImmediate(resolve))
    expect(descriptors()).toBe(before)
  })

  test('of the driver inside its own dispatch is safe', async () => {
    const rig = makeRig(kind)
    const { peer } = await rig.pair()
    const closed = new Promise<number>((resolve) => {
      rig.onEvent = () => resolve(rig.close())
    })
    peer.write('x')
    expect(await closed).toBe(0)
    peer.destroy()
    await emitted(peer, 'close')
  })
})

describe.each(kinds)('%s: views', (kind) => {
  test('a detached view is empty and the arena keeps its bytes', () => {
    const rig = makeRig(kind)
    const view = viewOf(rig, 100, 50)
    const bytes = new Uint8Array(view)
    bytes.fill(9)
    rig.driver.detach(view)
    expect(bytes.length).toBe(0)
    expect([...rig.driver.arena.subarray(99, 102)]).toEqual([0, 9, 9])
    rig.driver.detach(view)
    rig.driver.detach(new ArrayBuffer(8))
    expect(new ArrayBuffer(8).byteLength).toBe(8)
  })
})
