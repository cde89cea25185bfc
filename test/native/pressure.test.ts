/** Small rings, many endpoints, features switched off: bounds are reached, nothing is lost. */
import { readFileSync } from 'node:fs'
import * as net from 'node:net'
import type { DriverKind, NativeOptions } from '../../src/core/binding'
import {
  check,
  closeRigs,
  descriptors,
  digest,
  emitted,
  errno,
  featureBit,
  kinds,
  makeRig,
  pattern,
} from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

const residentBytes = () => Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096
const uring = kinds.filter((kind) => kind === 'uring')

/** `count` connections of the driver to itself: [accepted, connected] ids. */
async function connectMany(
  rig: Rig,
  count: number,
): Promise<{ accepted: number[]; own: number[] }> {
  const { id: listener, port } = rig.listen()
  const own = Array.from({ length: count }, () => rig.open('inet'))
  for (const id of own) check('connect', rig.connect(id, '127.0.0.1', port))
  rig.onEvent = (event) => {
    if (event.op === 'accept' && !event.more) rig.start('accept', listener)
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
    for (const id of all) rig.start('receive', id)
    rig.driver.submit()
    for (const id of all) rig.cancel('receive', id)
    rig.driver.submit()
    await rig.until('every receive ended', () =>
      all.every((id) => rig.of('receive', id).length === 1),
    )
    for (const id of all) {
      expect(rig.of('receive', id).map((event) => event.result)).toEqual([errno('ECANCELED')])
    }
    expect(rig.driver.stats().inFlight).toBe(1)
  })

  test('hundreds of closes at once end every endpoint, each with one last completion', async () => {
    const before = descriptors()
    const rig = makeRig(kind, small)
    const { accepted, own } = await connectMany(rig, 150)
    const all = [...accepted, ...own]
    for (const id of all) rig.start('receive', id)
    rig.driver.submit()
    for (const id of all) rig.close(id)
    await rig.until('every close', () => all.every((id) => rig.of('close', id).length === 1))
    for (const id of all) {
      const ops = rig.opsOf(id)
      expect(ops.filter((op) => op === 'close')).toHaveLength(1)
      expect(ops.at(-1)).toBe('close')
    }
    expect(rig.driver.stats().endpoints).toBe(1)
    rig.end()
    await new Promise((resolve) => setImmediate(resolve))
    expect(descriptors()).toBe(before)
  })

  test('gathered sends in their hundreds keep their pieces and their order', async () => {
    const rig = makeRig(kind, small, { count: 64, bytes: 4096 })
    const { accepted, own } = await connectMany(rig, 100)
    for (const id of accepted) rig.start('receive', id)
    rig.onEvent = ({ op, id, result, more }) => {
      if (op === 'receive' && result !== 0 && !more) rig.start('receive', id)
      if (op === 'send') rig.close(id)
    }
    own.forEach((id, i) => {
      const pieces = Array.from({ length: 7 }, (_, part) => Buffer.from(`${i} ${part};`))
      rig.send(id, ...pieces)
    })
    const ended = () =>
      accepted.every((id) => rig.of('receive', id).some(({ result }) => result === 0))
    await rig.until('every end', ended)
    const texts = accepted.map((id) => rig.received(id).toString())
    const expected = own.map((_, i) =>
      Array.from({ length: 7 }, (_, part) => `${i} ${part};`).join(''),
    )
    expect(texts.sort()).toEqual(expected.sort())
  })

  // 1. The peers send in one call of theirs, in which the driver is not looked at.
  // 2. The completion queue, of sixteen, is full long before the last one.
  test('more completions than the queue holds all arrive, in order for each endpoint', async () => {
    const rig = makeRig(kind, { ...small, receiveBuffers: 1024 }, { count: 1024, bytes: 4096 })
    const other = makeRig('epoll')
    const count = 100
    const { id: listener, port } = rig.listen()
    const peers = Array.from({ length: count }, () => other.open('inet'))
    for (const id of peers) check('connect', other.connect(id, '127.0.0.1', port))
    // A full queue may end what goes on by itself.
    rig.onEvent = ({ op, id, result, more }) => {
      if ((op === 'accept' || op === 'receive') && result > 0 && !more) rig.start(op, id)
      if (op === 'receive' && result === errno('ENOBUFS')) rig.start(op, id)
    }
    const isAccepted = () => rig.of('accept', listener).length === count
    await rig.until('every accept', isAccepted)
    await other.until('every connect', () => other.events.length === count)
    const accepted = rig.of('accept', listener).map(({ result }) => result)
    for (const id of accepted) rig.start('receive', id)
    rig.driver.submit()
    const bytes = pattern(5000)
    for (let at = 0; at < bytes.length; at += 1000) {
      const part = other.lend(new Uint8Array(bytes.subarray(at, at + 1000)).buffer)
      for (const id of peers) other.start('send', id, part, 0, 1000)
      other.driver.submit()
      await other.until('every send', () => peers.every((id) => !other.isInFlight('send', id)))
    }
    await rig.until('every receive', () =>
      accepted.every((id) => rig.received(id).length === bytes.length),
    )
    for (const id of accepted) expect(digest(rig.received(id))).toBe(digest(bytes))
    expect(rig.driver.stats().bytesReceived).toBe(count * bytes.length)
    if (kind === 'uring') expect(rig.driver.stats().overflows).toBeGreaterThan(0)
  })
})

describe.each(kinds)('%s: many connections', (kind) => {
  test('thousands, one after another, leave descriptors and memory as they were', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    let served = 0
    rig.onEvent = (event) => {
      if (event.op === 'accept' && event.result > 0) rig.start('receive', event.result)
      else if (event.op === 'receive' && event.result > 0) rig.send(event.id, event.bytes)
      else if (event.op === 'receive' && event.result === 0) rig.close(event.id)
      else if (event.op === 'receive') rig.start('receive', event.id)
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
    await many(25)
    await rig.until('every close', () => served === 500)
    const [fdsBefore, bytesBefore] = [descriptors(), residentBytes()]
    await many(100)
    await rig.until('every close', () => served === 2500)
    await rig.turn()
    expect(descriptors()).toBe(fdsBefore)
    expect(residentBytes() - bytesBefore).toBeLessThan(64 << 20)
    expect(rig.driver.stats()).toMatchObject({ inFlight: 1, endpoints: 1 })
    rig.close(listener)
  })

  test('an accepted connection that finds no place is closed and reported', async () => {
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
    // With a place again, accepting has never stopped.
    const { result } = rig.of('accept', listener)[0]!
    rig.close(result)
    await rig.completion('close', result)
    const third = net.connect(port, '127.0.0.1')
    await rig.until(
      'third',
      () => rig.of('accept', listener).filter((e) => e.result > 0).length === 2,
    )
    first.destroy()
    third.destroy()
  })
})

describe.each(uring)('%s: degraded', (kind: DriverKind) => {
  const transfer = async (rig: Rig) => {
    const { id: listener, port } = rig.listen()
    rig.onEvent = (event) => {
      if (event.op === 'accept') {
        rig.start('receive', event.result)
        if (!event.more) rig.start('accept', listener)
      } else if (event.op === 'receive' && !event.more && event.result !== 0) {
        rig.start('receive', event.id)
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
      expect(digest(rig.received(id))).toBe(digest(bytes))
      rig.close(id)
      await rig.completion('close', id)
      peer.destroy()
    }
  }

  test.each([
    ['coopTaskrun', ['coopTaskrun']],
    ['singleIssuer', ['singleIssuer']],
    ['both', ['coopTaskrun', 'singleIssuer']],
  ])('works without %s, and says so', async (_, names) => {
    const disable = names.reduce((bits, name) => bits | featureBit(name), 0)
    const rig = makeRig(kind, { disable })
    for (const name of names) expect(rig.driver.stats().features).not.toContain(name)
    await transfer(rig)
  })

  test('is refused without provided buffers', () => {
    expect(() => makeRig(kind, { disable: featureBit('bufferRing') })).toThrow(
      String(errno('EOPNOTSUPP')),
    )
  })

  test('tells the sizes of its queues', () => {
    const rig = makeRig(kind, { submissionEntries: 16, completionEntries: 64 })
    expect(rig.driver.stats()).toMatchObject({ submissionEntries: 16, completionEntries: 64 })
  })
})
