/** D4: whatever TypeScript hands over wrongly is refused with -errno and changes nothing. */
import {
  CHUNKS_MAX,
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  CONTRACT_VERSION,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  CloseHow,
  Dispatched,
  FLAG_MORE,
  Family,
  Op,
  SLOT_BITS,
} from '../../src/core/binding'
import { binding, closeRigs, errno, kinds, makeRig, options } from './rig'

afterEach(closeRigs)

/** The addon as code that does not keep to the types sees it. */
type Untyped = Record<string, (...args: unknown[]) => unknown>

const garbage = [undefined, null, 'x', NaN, Infinity, 1.5, -1, 2 ** 31, 2 ** 53, {}, [], 1n, true]

test('the addon and binding.ts agree on every number', () => {
  const { constants } = binding as unknown as { constants: Record<string, unknown> }
  expect(binding.contractVersion).toBe(CONTRACT_VERSION)
  const expected: Record<string, unknown> = {
    CHUNKS_MAX,
    COMMAND_HEADER_WORDS,
    COMMAND_WORDS,
    COMPLETION_HEADER_WORDS,
    COMPLETION_WORDS,
    SLOT_BITS,
    FLAG_MORE,
    features: Object.keys(binding.probe().features),
  }
  for (const [group, values] of Object.entries({ Op, Family, Dispatched, CloseHow })) {
    for (const [name, value] of Object.entries(values)) expected[`${group}.${name}`] = value
  }
  // An orderly close is the absence of any other.
  delete expected['CloseHow.orderly']
  expect(CloseHow.orderly).toBe(0)
  expect(constants).toEqual(expected)
})

test('createDriver refuses options that are missing, not integers or out of range', () => {
  const create = (binding as unknown as Untyped)['createDriver']!
  const invalid = errno('EINVAL')
  const nothing = () => {}
  expect(create('kqueue', options, nothing)).toBe(invalid)
  expect(create(1, options, nothing)).toBe(invalid)
  expect(create('epoll', undefined, nothing)).toBe(invalid)
  for (const wrong of [undefined, null, 4, {}]) {
    expect(create('epoll', options, wrong)).toBe(invalid)
  }
  for (const name of Object.keys(options)) {
    for (const value of [undefined, null, '1', NaN, -1, 1.5, 2 ** 60, {}]) {
      expect(create('epoll', { ...options, [name]: value }, nothing)).toBe(invalid)
    }
  }
  expect(create('epoll', { ...options, endpointsMax: (1 << SLOT_BITS) + 1 }, nothing)).toBe(invalid)
})

test('a descriptor or sizes that are no numbers are refused', () => {
  const { setBufferBytes } = binding as unknown as Untyped
  for (const wrong of [undefined, null, 'x', {}, [], 1n, true]) {
    expect(setBufferBytes!(wrong, 1, 1)).toBe(errno('EINVAL'))
    expect(setBufferBytes!(1, wrong, 1)).toBe(errno('EINVAL'))
    expect(setBufferBytes!(1, 1, wrong)).toBe(errno('EINVAL'))
  }
  expect(setBufferBytes!()).toBe(errno('EINVAL'))
  expect(setBufferBytes!(-1, 4096, 4096)).toBe(errno('EBADF'))
})

describe.each(kinds)('%s: validation', (kind) => {
  test('every call with an unknown id or garbage returns -errno', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const driver = rig.driver as unknown as Untyped
    const stale = id + (1 << SLOT_BITS)
    const calls: Record<string, (id: unknown) => unknown[]> = {
      bind: (id) => [id, '127.0.0.1', 0, 0],
      connect: (id) => [id, '127.0.0.1', 1],
      listen: (id) => [id, 1],
      name: (id) => [id, false, {}],
      fd: (id) => [id],
      sendNow: (id) => [id, Buffer.from('x')],
      offer: (id) => [id, Buffer.from('x')],
    }
    for (const [name, argumentsFor] of Object.entries(calls)) {
      for (const wrong of [0, stale, id + 1, (1 << 30) + 5]) {
        expect([name, driver[name]!(...argumentsFor(wrong))]).toEqual([name, errno('EBADF')])
      }
      for (const wrong of garbage) {
        expect(driver[name]!(...argumentsFor(wrong))).toBeLessThan(0)
      }
      expect(driver[name]!()).toBeLessThan(0)
    }
    for (const wrong of garbage) {
      expect(driver['open']!(wrong)).toBeLessThan(0)
      expect(driver['bind']!(id, wrong, 0, 0)).toBeLessThan(0)
      expect(driver['connect']!(id, wrong, 0)).toBeLessThan(0)
      expect(
        driver['bind']!(rig.open('inet'), '127.0.0.1', 0, wrong === -1 ? 8 : wrong),
      ).toBeLessThan(0)
      expect(() => driver['setRef']!(wrong)).not.toThrow()
      expect(() => driver['detach']!(wrong)).not.toThrow()
    }
    expect(rig.driver.connect(rig.open('inet'), '127.0.0.1', 65536)).toBe(errno('EINVAL'))
    expect(rig.driver.connect(rig.open('inet'), 'localhost', 1)).toBe(errno('EINVAL'))
    expect(rig.driver.connect(rig.open('inet'), '127.0.0.1\0x', 1)).toBe(errno('EINVAL'))
    expect(rig.driver.connect(rig.open('unix'), 'x'.repeat(200), 0)).toBe(errno('EINVAL'))
    expect(rig.driver.connect(rig.open('unix'), '/a\0b', 0)).toBe(errno('EINVAL'))
    rig.driver.setRef(true)
    peer.destroy()
  })

  test('sendNow and view keep to the memory they are given', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const { driver } = rig
    const invalid = errno('EINVAL')
    const bytes = Buffer.alloc(10)
    const sendNow = driver.sendNow as unknown as (...args: unknown[]) => unknown
    const views = [new Uint16Array(4), new DataView(bytes.buffer), bytes.buffer]
    for (const wrong of [...garbage, ...views, [[1]]]) {
      expect(sendNow(id, wrong)).toBe(invalid)
      expect(sendNow(id, [Buffer.from('x'), wrong])).toBe(invalid)
    }
    const detached = new Uint8Array(4)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    for (const nothing of [detached, Buffer.alloc(0)]) {
      expect(sendNow(id, nothing)).toBe(invalid)
      expect(sendNow(id, [nothing, nothing])).toBe(invalid)
    }
    expect(sendNow(id, new Array(65_537).fill(Buffer.from('x')))).toBe(invalid)
    // Memory that is taken away while the array is read.
    const victim = new Uint8Array(1 << 20)
    const hostile = [victim, bytes]
    Object.defineProperty(hostile, 1, {
      get: () => {
        structuredClone(victim.buffer, { transfer: [victim.buffer] })
        return bytes
      },
    })
    expect(sendNow(id, hostile)).toBe(bytes.length)
    for (const [offset, length] of [
      [0, options.arenaBytes + 1],
      [options.arenaBytes, 1],
      [-1, 1],
      [0, -1],
      [2 ** 31 - 1, 2 ** 31 - 1],
    ] as const) {
      expect(driver.view(offset, length) as unknown).toBe(invalid)
    }
    peer.destroy()
  })

  test('commands that make no sense are refused, each with its own completion, and the next is taken', async () => {
    const rig = makeRig(kind)
    const { id, peer, listener } = await rig.pair()
    const wrong: [number, number, number, number, number][] = [
      [Op.send, id, -1, 1, errno('EINVAL')],
      [Op.send, id, 0, 0, errno('EINVAL')],
      [Op.send, id, 0, -5, errno('EINVAL')],
      [Op.send, id, options.arenaBytes, 1, errno('EINVAL')],
      [Op.send, id, 0, options.arenaBytes + 1, errno('EINVAL')],
      [Op.send, id, 2 ** 31 - 1, 2 ** 31 - 1, errno('EINVAL')],
      [Op.receive, id, 0, 0, errno('EALREADY')],
      [Op.accept, id, 0, 0, errno('EINVAL')],
      [Op.accept, listener, 0, 0, errno('EALREADY')],
      [Op.connect, id, 0, 0, errno('EINVAL')],
      [Op.cancel, id, 0, 0, errno('EINVAL')],
      [Op.cancel, id, 99, 0, errno('EINVAL')],
      [Op.close, id, 7, 0, errno('EINVAL')],
      [0, id, 0, 0, errno('EINVAL')],
      [Op.wake, id, 0, 0, errno('EINVAL')],
      [9, id, 0, 0, errno('EINVAL')],
      [-1, id, 0, 0, errno('EINVAL')],
      [256, id, 0, 0, errno('EINVAL')],
      [258, id, 1, 0, errno('EINVAL')],
      [2 ** 31 - 1, id, 0, 0, errno('EINVAL')],
      [Op.receive, 0, 0, 0, errno('EBADF')],
      [Op.receive, -1, 0, 0, errno('EBADF')],
      [Op.close, id + (1 << SLOT_BITS), 0, 0, errno('EBADF')],
      [Op.cancel, 2 ** 31 - 1, 1, 0, errno('EBADF')],
    ]
    const before = rig.events.length
    for (const [opcode, to, a, b] of wrong) rig.command(opcode, to, a, b)
    await rig.until('every refusal', () => rig.events.length >= before + wrong.length)
    const refusals = rig.events
      .slice(before)
      .map((event) => [event.opcode, event.id, event.result, event.more])
    const expected = wrong.map(([opcode, to, , , result]) => [opcode & 0xff, to, result, false])
    const comesFirst = ([opcode]: unknown[]) => opcode === Op.send || opcode === Op.wake
    expect(refusals).toEqual([
      ...expected.filter((refusal) => comesFirst(refusal)),
      ...expected.filter((refusal) => !comesFirst(refusal)),
    ])
    peer.write('still works')
    await rig.event('data', (event) => event.bytes.toString() === 'still works')
    peer.destroy()
  })

  test('a command count that is out of range is held to the buffer', async () => {
    const rig = makeRig(kind, { commandCapacity: 4 })
    rig.driver.commands[0] = -5
    rig.driver.submit()
    expect(rig.driver.commands[0]).toBe(0)
    rig.driver.commands[0] = 2 ** 31 - 1
    rig.driver.submit()
    expect(rig.driver.commands[0]).toBe(0)
    await rig.until('four refusals', () => rig.events.length >= 4)
    expect(rig.events).toHaveLength(4)
  })

  test('a second send is refused, and shutdown while one is in flight', async () => {
    const rig = makeRig(kind, { arenaBytes: 16 << 20 })
    const { id, peer } = await rig.pair(false)
    peer.pause()
    rig.command('send', id, 0, 16 << 20)
    rig.command('send', id, 0, 1)
    rig.command('shutdown', id)
    expect((await rig.completion('send', id)).result).toBe(errno('EALREADY'))
    expect((await rig.completion('shutdown', id)).result).toBe(errno('EBUSY'))
    expect(rig.driver.sendNow(id, Buffer.from('x'))).toBe(errno('EALREADY'))
    peer.destroy()
  })

  test('sendNow does not overtake a send that is still queued', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    rig.send(id, Buffer.from('first'))
    expect(rig.driver.sendNow(id, Buffer.from('second'))).toBe(errno('EALREADY'))
    await rig.completion('send', id)
    peer.destroy()
  })

  test('after the close command the id is refused at once', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.command('close', id)
    rig.command('receive', id)
    rig.command('close', id)
    rig.driver.submit()
    expect(rig.driver.fd(id)).toBe(errno('EBADF'))
    await rig.event('close', (e) => e.op === 'close' && e.id === id && e.result === 0)
    const own = rig.events.filter((event) => event.id === id)
    expect(own.at(-1)).toMatchObject({ op: 'close', result: 0 })
    // A second close is no error: it may still change how the first one ends.
    expect(own.filter((event) => event.result === errno('EBADF'))).toMatchObject([
      { op: 'receive' },
    ])
    peer.destroy()
  })

  test('words of a random command buffer never break the driver', async () => {
    const rig = makeRig(kind)
    const { id, peer, listener } = await rig.pair()
    peer.resume()
    let state = 12345
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
      return state % below
    }
    for (let round = 0; round < 300; round++) {
      for (let i = 0; i < 20; i++) {
        const to = [id, listener, random(2 ** 31), -random(100)][random(4)]!
        // Never close: the endpoints have to be there at the end.
        rig.command(
          [1, 2, 4, 5, 6, 8, 9, random(2 ** 31)][random(8)]!,
          to,
          random(6) - 1,
          random(300) - 20,
        )
      }
      rig.driver.submit()
    }
    await new Promise((resolve) => setImmediate(resolve))
    // Whatever is in flight now ends with the close, or is the listener's.
    rig.command('close', id)
    await rig.event('close', (e) => e.op === 'close' && e.id === id && e.result === 0)
    rig.command('close', listener)
    await rig.event('close', (e) => e.op === 'close' && e.id === listener && e.result === 0)
    expect(rig.driver.stats()).toMatchObject({ endpoints: 0, inFlight: 0 })
    peer.destroy()
  })
})
