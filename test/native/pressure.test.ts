/** Small rings, many endpoints, features switched off: bounds are reached, nothing is lost. */
import { readFileSync, readdirSync } from 'node:fs'
import * as net from 'node:net'
import type { DriverKind, NativeOptions } from '../../src/core/binding'
import { check, closeRigs, emitted, errno, featureBit, kinds, makeRig, pattern } from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

const descriptors = () => readdirSync('/proc/self/fd').length
const residentBytes = () => Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096
const uring = kinds.filter((kind) => kind === 'uring')

/** `count` connections of the driver to itself: [accepted, connected] ids. */
async function connectMany(
  rig: Rig,
  count: number,
): Promise<{ accepted: number[]; own: number[] }> {
  const { id: listener, port } = rig.listen()
  const own = Array.from({ length: count }, () => rig.open('inet'))
  for (const id of own) check('connect', rig.driver.connect(id, '127.0.0.1', port))
  rig.onEvent = (event) => {
    if (event.op === 'accept' && !event.more) rig.command('accept', listener)
  }
  const accepts = () => rig.of('accept', listener).filter((event) => event.result > 0)
  await rig.until('every accept', () => accepts().length === count)
  await rig.until(
    'every connect',
    () => rig.events.filter((event) => event.op === 'connect').length === count,
  )
  rig.onEvent = () => {}
  return { accepted: accepts().map((event) => event.result), own }
}

/** What is kept, beyond the pool asked for, for receives that found it empty. */
const reserveBytes = 64 * 1024 + 64 * 4096

describe.each(kinds)('%s: small queues', (kind) => {
  const small: Partial<NativeOptions> = {
    submissionEntries: 8,
    completionEntries: 16,
    batchSize: 4,
    commandCapacity: 1000,
  }

  test('hundreds of cancels with a submission queue of eight end every target', async () => {
    const rig = makeRig(kind, small)
    const { accepted, own } = await connectMany(rig, 150)
    const all = [...accepted, ...own]
    for (const id of all) rig.command('receive', id)
    rig.driver.submit()
    for (const id of all) rig.command('cancel', id, 1)
    rig.driver.submit()
    await rig.until('every receive ended', () => rig.driver.stats().inFlight === 1)
    for (const id of all) {
      expect(rig.of('receive', id).map((event) => event.result)).toEqual([errno('ECANCELED')])
    }
  })

  test('hundreds of closes at once end every endpoint, each with one last completion', async () => {
    const before = descriptors()
    const rig = makeRig(kind, small)
    const { accepted, own } = await connectMany(rig, 150)
    const all = [...accepted, ...own]
    for (const id of all) rig.command('receive', id)
    rig.driver.submit()
    for (const id of all) rig.command('close', id)
    await rig.until('every close', () => rig.driver.stats().endpoints === 1)
    for (const id of all) {
      const ops = rig.events.filter((event) => event.id === id).map((event) => event.op)
      expect(ops.filter((op) => op === 'close')).toHaveLength(1)
      expect(ops.at(-1)).toBe('close')
    }
    rig.close()
    await new Promise((resolve) => setImmediate(resolve))
    expect(descriptors()).toBe(before)
  })

  test('more completions than the queue holds all arrive, in order for each endpoint', async () => {
    const rig = makeRig(kind, small)
    const { accepted, own } = await connectMany(rig, 100)
    for (const id of accepted) rig.command('receive', id)
    rig.driver.submit()
    rig.onEvent = (event) => {
      if (event.op === 'receive' && event.result > 0 && !event.more)
        rig.command('receive', event.id)
    }
    const bytes = pattern(5000)
    for (let at = 0; at < bytes.length; at += 1000) {
      // Straight to the sockets, so that the ring hears of a hundred receives before it is looked at.
      for (const id of own) rig.driver.sendNow(id, bytes.subarray(at, at + 1000))
    }
    await rig.until('every byte', () => rig.driver.stats().bytesReceived === 100 * bytes.length)
    await rig.until('every receive', () =>
      accepted.every((id) => rig.received(id).length === bytes.length),
    )
    for (const id of accepted) expect(rig.received(id).equals(bytes)).toBe(true)
    if (kind === 'uring') expect(rig.driver.stats().overflows).toBeGreaterThan(0)
  })
})

describe.each(kinds)('%s: many connections', (kind) => {
  test('thousands, one after another, leave descriptors and memory as they were', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    let served = 0
    rig.onEvent = (event) => {
      if (event.op === 'accept' && event.result > 0) rig.command('receive', event.result)
      else if (event.op === 'receive' && event.result > 0) rig.send(event.id, event.bytes)
      else if (event.op === 'receive') rig.command('close', event.id)
      else if (event.op === 'close') served++
      rig.events.length = 0
    }
    const one = async () => {
      const peer = net.connect(port, '127.0.0.1')
      peer.on('data', () => peer.end())
      peer.end('x')
      await emitted(peer, 'close')
    }
    const many = async (rounds: number) => {
      for (let i = 0; i < rounds; i++) await Promise.all(Array.from({ length: 20 }, one))
    }
    const settle = async () => {
      rig.onBatch = () => {}
      while (rig.driver.stats().endpoints > 1)
        await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await many(25)
    await settle()
    const [fdsBefore, bytesBefore] = [descriptors(), residentBytes()]
    await many(100)
    await settle()
    expect(served).toBe(2500)
    expect(descriptors()).toBe(fdsBefore)
    expect(residentBytes() - bytesBefore).toBeLessThan(64 << 20)
    expect(rig.driver.stats()).toMatchObject({ inFlight: 1, heapBytes: 0 })
    rig.command('close', listener)
  })

  test('an accepted connection that finds no slot is closed and reported', async () => {
    const rig = makeRig(kind, { endpointsMax: 2 })
    const { id: listener, port } = rig.listen()
    const first = net.connect(port, '127.0.0.1')
    await rig.event('first', (e) => e.op === 'accept' && e.result > 0)
    const second = net.connect(port, '127.0.0.1')
    second.on('error', () => {})
    second.resume()
    const gone = emitted(second, 'close')
    await rig.event('refusal', (e) => e.op === 'accept' && e.result === errno('ENFILE'))
    await gone
    expect(rig.of('accept', listener).every((event) => event.more)).toBe(true)
    first.destroy()
  })

  test('completions per dispatch keep to the batch size', async () => {
    const rig = makeRig(kind, { batchSize: 3 })
    const counts: number[] = []
    rig.onBatch = (count) => counts.push(count)
    const ids = Array.from({ length: 50 }, () => rig.open('inet'))
    for (const id of ids) rig.command('close', id)
    await rig.until('every close', () => rig.driver.stats().endpoints === 0)
    expect(Math.max(...counts)).toBe(3)
    expect(rig.events.map((event) => event.id)).toEqual(ids)
  })
})

describe.each(uring)('%s: degraded', (kind: DriverKind) => {
  const transfer = async (rig: Rig) => {
    const { id: listener, port } = rig.listen()
    rig.onEvent = (event) => {
      if (event.op === 'accept') {
        rig.command('receive', event.result)
        if (!event.more) rig.command('accept', listener)
      } else if (event.op === 'receive' && !event.more && event.result !== 0) {
        rig.command('receive', event.id)
      }
    }
    const bytes = pattern(1 << 20)
    for (let round = 0; round < 2; round++) {
      const peer = net.connect(port, '127.0.0.1')
      peer.end(bytes)
      const accepted = () => rig.of('accept', listener).filter((event) => event.result > 0)[round]
      await rig.until('accept', () => accepted() !== undefined)
      const id = accepted()!.result
      await rig.event('end', (e) => e.op === 'receive' && e.id === id && e.result === 0)
      expect(rig.received(id).equals(bytes)).toBe(true)
      rig.command('close', id)
      await rig.completion('close', id)
      peer.destroy()
    }
  }

  test.each([
    'coopTaskrun',
    'singleIssuer',
    'multishotAccept',
    'multishotReceive',
    'incrementalBuffers',
  ])('works without %s, and says so', async (name) => {
    const rig = makeRig(kind, { disable: featureBit(name) })
    expect(rig.driver.stats().features).not.toContain(name)
    await transfer(rig)
  })

  test('works without all of them', async () => {
    const rig = makeRig(kind, { disable: ~featureBit('bufferRing') >>> 0 })
    expect(rig.driver.stats().features).toEqual(['bufferRing'])
    await transfer(rig)
  })

  test('is refused without provided buffers', () => {
    expect(() => makeRig(kind, { disable: featureBit('bufferRing') })).toThrow(
      String(errno('EOPNOTSUPP')),
    )
  })

  test('a pool whose number of buffers is no power of two is used to the end', async () => {
    const rig = makeRig(kind, { poolBytes: 5 * 64 * 1024 })
    expect(rig.driver.pool.length).toBe(5 * 64 * 1024 + reserveBytes)
    await transfer(rig)
    const whole = makeRig(kind, { poolBytes: 50_000, disable: featureBit('incrementalBuffers') })
    expect(whole.driver.pool.length).toBe(4 * 16 * 1024 + reserveBytes)
    await transfer(whole)
  })
})
