/** D4: whatever TypeScript hands over wrongly is refused with -errno and changes nothing. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { createSocket } from 'node:dgram'
import * as net from 'node:net'
import type { DriverKind } from '../../src/core/binding'
import {
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  CONTRACT_VERSION,
  DATAGRAM_SLOT_BYTES,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  FLAG_MORE,
  Family,
  Op,
  SLOT_BITS,
  SocketOption,
} from '../../src/core/binding'
import {
  binding,
  check,
  closeRigs,
  descriptors,
  emitted,
  errno,
  featureBit,
  kinds,
  makeRig,
  options,
} from './rig'
import type { OpName } from './rig'

afterEach(closeRigs)

/** The addon as code that does not keep to the types sees it. */
type Untyped = Record<string, (...args: unknown[]) => unknown>

const garbage = [undefined, null, 'x', NaN, Infinity, 1.5, -1, 2 ** 31, 2 ** 53, {}, [], 1n, true]

test('the addon and binding.ts agree on every number', () => {
  const { constants } = binding as unknown as { constants: Record<string, unknown> }
  expect(binding.contractVersion).toBe(CONTRACT_VERSION)
  const expected: Record<string, unknown> = {
    COMMAND_HEADER_WORDS,
    COMMAND_WORDS,
    COMPLETION_HEADER_WORDS,
    COMPLETION_WORDS,
    SLOT_BITS,
    FLAG_MORE,
    DATAGRAM_SLOT_BYTES,
    features: Object.keys(binding.probe().features),
  }
  for (const [group, values] of Object.entries({ Op, Family, SocketOption })) {
    for (const [name, value] of Object.entries(values)) expected[`${group}.${name}`] = value
  }
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
  expect(create('epoll', { ...options, receiveBuffers: 32769 }, nothing)).toBe(invalid)
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
      connect: (id) => [1000, id, '127.0.0.1', 1],
      listen: (id) => [id, 1],
      name: (id) => [id, 0, {}],
      fd: (id) => [id],
      setOption: (id) => [id, SocketOption.noDelay, 1],
      offer: (id) => [id, Buffer.from('x')],
      receiveNow: (id) => [id, 0, 1],
      fillPipe: (pipe) => [pipe, id, 1],
      drainPipe: (pipe) => [pipe, id, 1],
      readPipe: (pipe) => [pipe, 0, 1],
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
      const flags = wrong === -1 ? 8 : wrong
      expect(driver['bind']!(rig.open('inet'), '127.0.0.1', 0, flags)).toBeLessThan(0)
      expect(driver['connect']!(1000, id, wrong, 0)).toBeLessThan(0)
      expect(driver['connect']!(wrong, rig.open('inet'), '127.0.0.1', 1)).toBe(errno('EINVAL'))
      expect(() => driver['setRef']!(wrong)).not.toThrow()
    }
    for (const wrong of garbage.filter((value) => value !== -1)) {
      expect(driver['unsent']!(wrong)).toBe(errno('EINVAL'))
      expect(driver['setOption']!(id, wrong, 1)).toBe(errno('EINVAL'))
      expect(driver['setOption']!(id, SocketOption.noDelay, wrong)).toBe(errno('EINVAL'))
    }
    expect(rig.connect(rig.open('inet'), '127.0.0.1', 65536)).toBe(errno('EINVAL'))
    expect(rig.connect(rig.open('inet'), 'localhost', 1)).toBe(errno('EINVAL'))
    expect(rig.connect(rig.open('inet'), '127.0.0.1\0x', 1)).toBe(errno('EINVAL'))
    expect(rig.connect(rig.open('unix'), 'x'.repeat(200), 0)).toBe(errno('EINVAL'))
    expect(rig.connect(rig.open('unix'), '/a\0b', 0)).toBe(errno('EINVAL'))
    rig.driver.setRef(1)
    peer.destroy()
  })

  test('a token in flight is refused for a connect', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.driver.submit()
    const token = rig.token('receive', id)
    const { port } = rig.listen()
    expect(rig.driver.connect(token, rig.open('inet'), '127.0.0.1', port)).toBe(errno('EINVAL'))
    peer.destroy()
  })

  test('memory is registered under an index of the right range, and it has to be an ArrayBuffer', () => {
    const { driver } = makeRig(kind)
    const register = driver.register as unknown as (...args: unknown[]) => unknown
    const invalid = errno('EINVAL')
    const memory = new ArrayBuffer(8)
    expect(register(0, memory)).toBe(0)
    expect(register(70_000, memory)).toBe(0)
    for (const index of [-1, 1 << 20, 2 ** 31 - 1, 2 ** 31, 1.5, '0', undefined, null]) {
      expect([index, register(index, memory)]).toEqual([index, invalid])
    }
    const detached = new ArrayBuffer(8)
    structuredClone(detached, { transfer: [detached] })
    const wrong = [new Uint8Array(memory), Buffer.alloc(8), new ArrayBuffer(0), detached, 'x', null]
    for (const each of [...wrong, undefined, {}, []]) expect(register(1, each)).toBe(invalid)
    expect(register()).toBe(invalid)
  })

  test('a pipe is filled and drained by sockets, and read into buffers that hold so much', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const pipe = rig.driver.openPipe()
    const index = rig.lend(new ArrayBuffer(100))
    const [invalid, bad] = [errno('EINVAL'), errno('EBADF')]
    expect(pipe).toBeGreaterThan(0)
    for (const call of ['fillPipe', 'drainPipe'] as const) {
      expect(rig.driver[call](pipe, id + (1 << SLOT_BITS), 1)).toBe(bad)
      expect(rig.driver[call](id, id, 1)).toBe(bad)
      expect(rig.driver[call](pipe, pipe, 1)).toBe(invalid)
      for (const length of [0, -1]) expect(rig.driver[call](pipe, id, length)).toBe(invalid)
    }
    for (const [buffer, length] of [
      [index, 101],
      [index, 0],
      [-1, 1],
      [index + 1, 1],
    ] as const) {
      expect(rig.driver.readPipe(pipe, buffer, length)).toBe(invalid)
    }
    expect(rig.driver.drainPipe(pipe, id, 1)).toBe(errno('EAGAIN'))
    expect(rig.driver.readPipe(pipe, index, 100)).toBe(errno('EAGAIN'))
    peer.destroy()
  })

  test('bytes are received at once into a buffer that holds so many, unless a receive is in flight', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const memory = new ArrayBuffer(4)
    const index = rig.lend(memory)
    const [invalid, bad] = [errno('EINVAL'), errno('EBADF')]
    expect(rig.driver.receiveNow(id + (1 << SLOT_BITS), index, 1)).toBe(bad)
    expect(rig.driver.receiveNow(rig.driver.openPipe(), index, 1)).toBe(invalid)
    for (const [buffer, length] of [
      [index, 5],
      [index, 0],
      [index, -1],
      [-1, 1],
      [index + 1, 1],
    ] as const) {
      expect(rig.driver.receiveNow(id, buffer, length)).toBe(invalid)
    }
    expect(rig.driver.receiveNow(id, index, 4)).toBe(errno('EAGAIN'))
    peer.end('abcdef')
    const next = async (): Promise<string> => {
      let result: number
      do {
        await rig.turn()
        result = rig.driver.receiveNow(id, index, 4)
      } while (result === errno('EAGAIN'))
      return Buffer.from(memory, 0, result).toString()
    }
    expect([await next(), await next(), await next()]).toEqual(['abcd', 'ef', ''])
    const other = await rig.pair()
    const pipe = rig.driver.openPipe()
    await rig.turn()
    expect(rig.driver.receiveNow(other.id, index, 1)).toBe(invalid)
    expect(rig.driver.fillPipe(pipe, other.id, 1)).toBe(invalid)
    other.peer.destroy()
    peer.destroy()
  })

  test('there is no pipe where splice(2) is not to be used', () => {
    const rig = makeRig(kind, { disable: featureBit('splice') })
    expect(rig.driver.openPipe()).toBe(errno('ENOSYS'))
    expect(rig.driver.stats().features).not.toContain('splice')
    expect(makeRig(kind).driver.stats().features).toContain('splice')
  })

  test('bytes are offered as a Uint8Array that has some', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const offer = rig.driver.offer as unknown as (...args: unknown[]) => unknown
    const memory = new ArrayBuffer(8)
    const detached = new Uint8Array(4)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    const views = [new Uint16Array(4), new DataView(memory), memory, detached, Buffer.alloc(0)]
    for (const wrong of [...garbage, ...views]) expect(offer(id, wrong)).toBe(errno('EINVAL'))
    expect(offer(id, new Uint8Array(memory))).toBe(8)
    peer.destroy()
  })

  test('commands that make no sense are refused, each with its own completion, and the next is taken', async () => {
    const rig = makeRig(kind)
    const pipe = rig.driver.openPipe()
    const { id, peer, listener } = await rig.pair()
    const index = rig.lend(new ArrayBuffer(100))
    const [invalid, bad] = [errno('EINVAL'), errno('EBADF')]
    const wrong: [OpName, number, number, number, number, number][] = [
      ['send', id, index, -1, 1, invalid],
      ['send', id, index, 0, 0, invalid],
      ['send', id, index, 0, -5, invalid],
      ['send', id, index, 100, 1, invalid],
      ['send', id, index, 101, 1, invalid],
      ['send', id, index, 0, 101, invalid],
      ['send', id, index, 50, 51, invalid],
      ['send', id, index, 2 ** 31 - 1, 2 ** 31 - 1, invalid],
      ['send', id, index + 1, 0, 1, invalid],
      ['send', id, 100, 0, 1, invalid],
      ['send', id, -1, 0, 1, invalid],
      ['send', id, 2 ** 31 - 1, 0, 1, invalid],
      ['receive', id, 0, 0, 0, errno('EALREADY')],
      ['receiveInto', id, index, 0, 1, errno('EALREADY')],
      ['receiveInto', listener, index, 0, 0, invalid],
      ['receiveInto', listener, index, 99, 2, invalid],
      ['receiveInto', listener, -1, 0, 1, invalid],
      ['poll', id, 0, 0, 0, errno('EALREADY')],
      ['poll', pipe, 0, 0, 0, invalid],
      ['receive', pipe, 0, 0, 0, invalid],
      ['send', pipe, index, 0, 1, invalid],
      ['poll', 0, 0, 0, 0, bad],
      ['accept', id, 0, 0, 0, invalid],
      ['accept', listener, 0, 0, 0, errno('EALREADY')],
      ['receive', 0, 0, 0, 0, bad],
      ['receive', -1, 0, 0, 0, bad],
      ['receiveInto', id + 1, index, 0, 1, bad],
      ['send', -(2 ** 31), index, 0, 1, bad],
      ['accept', 2 ** 31 - 1, 0, 0, 0, bad],
      ['shutdown', 0, 0, 0, 0, bad],
      ['close', id + (1 << SLOT_BITS), 0, 0, 0, bad],
    ]
    await rig.turn()
    const before = rig.events.length
    const tokens = wrong.map(([op, to, a, b, c]) => rig.start(op, to, a, b, c, 1))
    await rig.until('every refusal', () => rig.events.length >= before + wrong.length)
    const refusals = rig.events
      .slice(before)
      .map(({ op, token, id: to, result, more }) => [op, token, to, result, more])
    expect(refusals).toEqual(
      wrong.map(([op, to, , , , result], i) => [op, tokens[i], to, result, false]),
    )
    peer.write('still works')
    await rig.event('data', (event) => event.bytes.toString() === 'still works')
    peer.destroy()
  })

  test('a command count that is out of range is held to the buffer', async () => {
    const rig = makeRig(kind, { commandCapacity: 40 })
    const words = new Int32Array(rig.driver.commands)
    await rig.turn()
    words[0] = -5
    rig.driver.submit()
    expect(words[0]).toBe(0)
    const tokens = Array.from({ length: 40 }, () => rig.start('wake', 0))
    words[0] = 2 ** 31 - 1
    rig.driver.submit()
    expect(words[0]).toBe(0)
    await rig.turn()
    expect(rig.events.slice(1, -1).map(({ token }) => token)).toEqual(tokens)
  })

  test('a second send is refused, and shutdown while one is in flight', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    peer.pause()
    await rig.block(id)
    rig.send(id, Buffer.from('x'))
    rig.start('shutdown', id)
    expect((await rig.completion('send', id)).result).toBe(errno('EALREADY'))
    expect((await rig.completion('shutdown', id)).result).toBe(errno('EBUSY'))
    peer.destroy()
  })

  test('after the close command the id is refused at once', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    rig.close(id)
    rig.start('receive', id)
    rig.send(id, Buffer.from('x'))
    rig.start('shutdown', id)
    rig.driver.submit()
    expect(rig.driver.fd(id)).toBe(errno('EBADF'))
    expect(rig.driver.offer(id, Buffer.from('x'))).toBe(errno('EBADF'))
    await rig.turn()
    const own = rig.events.filter((event) => event.id === id)
    expect(own.map(({ op, result }) => [op, result])).toEqual([
      ['receive', errno('ECANCELED')],
      ['close', 0],
      ['receive', errno('EBADF')],
      ['send', errno('EBADF')],
      ['shutdown', errno('EBADF')],
    ])
    peer.destroy()
  })

  test('words of a random command buffer never break the driver', async () => {
    const rig = makeRig(kind)
    const { id, peer, listener } = await rig.pair()
    peer.resume()
    const index = rig.lend(new ArrayBuffer(300))
    let state = 12345
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
      return state % below
    }
    // Never a close that works: the endpoints have to be there at the end.
    const ops = ['receive', 'receiveInto', 'send', 'accept', 'shutdown', 'wake'] as const
    for (let round = 0; round < 300; round++) {
      for (let i = 0; i < 20; i++) {
        const to = [id, listener, random(2 ** 31), -random(100)][random(4)]!
        const memory = [index, index, 0, random(70_000) - 10][random(4)]!
        const token = rig.start(
          ops[random(6)]!,
          to,
          memory,
          random(300) - 20,
          random(300),
          random(9),
        )
        if (random(3) === 0) rig.queue('cancel', random(2) === 0 ? token : random(200), 0)
      }
      rig.driver.submit()
      if (round % 10 === 0) await rig.turn()
    }
    await rig.turn()
    // Whatever is in flight now ends with the close.
    rig.close(id)
    rig.close(listener)
    await rig.event('close', (e) => e.op === 'close' && e.id === id && e.result === 0)
    await rig.event('close', (e) => e.op === 'close' && e.id === listener && e.result === 0)
    await rig.turn()
    expect(rig.driver.stats()).toMatchObject({ endpoints: 0, inFlight: 0 })
    expect(rig.isInFlight('send', id) || rig.isInFlight('receive', id)).toBe(false)
    peer.destroy()
  })
})

/** What /proc/net/tcp says of the socket between two ports of 127.0.0.1: its timer, 02 is keep-alive. */
function timerOf(local: number, remote: number): string {
  const at = (port: number) => `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const table = readFileSync('/proc/net/tcp', 'utf8')
  const line = table.split('\n').find((each) => each.includes(` ${at(local)} ${at(remote)} `))
  return line!.trim().split(/\s+/)[5]!.slice(0, 2)
}

describe.each(kinds)('%s: options', (kind: DriverKind) => {
  test('keep-alive starts a timer, and 0 stops it', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const [local, remote] = [rig.name(id).port!, rig.name(id, true).port!]
    expect(rig.driver.setOption(id, SocketOption.keepAliveSeconds, 1000)).toBe(0)
    expect(timerOf(local, remote)).toBe('02')
    expect(rig.driver.setOption(id, SocketOption.keepAliveSeconds, 0)).toBe(0)
    expect(timerOf(local, remote)).toBe('00')
    peer.destroy()
  })

  test('a small buffer takes fewer bytes', async () => {
    const rig = makeRig(kind)
    const taken: number[] = []
    for (const bytes of [1 << 16, 1 << 22]) {
      const { id, peer } = await rig.pair(false)
      peer.pause()
      expect(rig.driver.setOption(id, SocketOption.sendBufferBytes, bytes)).toBe(0)
      const size = check('offer', rig.driver.offer(id, Buffer.alloc(16 << 20)))
      taken.push(size)
      peer.destroy()
    }
    expect(taken[0]).toBeLessThan(taken[1]!)
  })

  test('a small receive buffer lets the peer send fewer bytes', async () => {
    const rig = makeRig(kind)
    const other = makeRig('epoll')
    const taken: number[] = []
    for (const bytes of [4096, 1 << 22]) {
      const listener = rig.open('inet')
      expect(rig.driver.setOption(listener, SocketOption.receiveBufferBytes, bytes)).toBe(0)
      check('bind', rig.driver.bind(listener, '127.0.0.1', 0, 0))
      check('listen', rig.driver.listen(listener, 1))
      const peer = other.open('inet')
      check('connect', other.connect(peer, '127.0.0.1', rig.name(listener).port!))
      await other.completion('connect', peer)
      // So that what it keeps itself does not count.
      other.driver.setOption(peer, SocketOption.sendBufferBytes, 4096)
      taken.push(check('offer', other.driver.offer(peer, Buffer.alloc(16 << 20))))
    }
    expect(taken[0]).toBeLessThan(taken[1]!)
  })

  test('that do not exist, or not here, are refused', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    expect(rig.driver.setOption(id, SocketOption.noDelay, 1)).toBe(0)
    expect(rig.driver.setOption(id, SocketOption.noDelay, 0)).toBe(0)
    for (const option of [0, 5, -1, 2 ** 31 - 1]) {
      expect(rig.driver.setOption(id, option, 1)).toBe(errno('EINVAL'))
    }
    expect(rig.driver.setOption(rig.open('unix'), SocketOption.noDelay, 1)).toBeLessThan(0)
    peer.destroy()
  })
})

describe.each(kinds)('%s: adopt', (kind) => {
  test('refuses what is no connected stream socket, and leaves it open', async () => {
    const rig = makeRig(kind)
    const { listener, peer } = await rig.pair()
    const file = openSync('/dev/null', 'r')
    const datagram = createSocket('udp4').bind(0, '127.0.0.1')
    await new Promise((resolve) => datagram.once('listening', resolve))
    const { fd } = (datagram as unknown as { _handle: { fd: number } })._handle
    const before = descriptors()
    const endpoints = rig.driver.stats().endpoints
    const wrong: [number, number][] = [
      [file, errno('ENOTSOCK')],
      [fd, errno('EPROTOTYPE')],
      [rig.driver.fd(listener), errno('ENOTCONN')],
    ]
    for (const [each, error] of wrong) {
      expect(rig.driver.adopt(each)).toBe(error)
      expect(() => fstatSync(each)).not.toThrow()
    }
    const open = rig.open('inet')
    expect(rig.driver.adopt(rig.driver.fd(open))).toBe(errno('ENOTCONN'))
    expect(rig.driver.adopt(-1)).toBe(errno('EBADF'))
    expect(rig.driver.adopt(100_000)).toBe(errno('EBADF'))
    const adopt = rig.driver.adopt as unknown as (...args: unknown[]) => unknown
    for (const each of [undefined, null, '1', 1.5, {}]) expect(adopt(each)).toBe(errno('EINVAL'))
    expect(descriptors()).toBe(before + 1)
    expect(rig.driver.stats().endpoints).toBe(endpoints + 1)
    closeSync(file)
    datagram.close()
    peer.destroy()
  })

  test('refuses a connection for which there is no place, and leaves it as it is', async () => {
    const rig = makeRig(kind, { endpointsMax: 1 })
    rig.open('inet')
    const server = net.createServer((socket) => socket.end('untouched')).listen(0, '127.0.0.1')
    await emitted(server, 'listening')
    const socket = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
    const seen: Buffer[] = []
    socket.on('data', (chunk) => seen.push(chunk))
    await emitted(socket, 'connect')
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
    expect(rig.driver.adopt(fd)).toBe(errno('ENFILE'))
    await emitted(socket, 'close')
    expect(Buffer.concat(seen).toString()).toBe('untouched')
    server.close()
  })
})
