/** Connecting, binding and accepting, over every family; and endpoints made of descriptors that somebody else opened. */
import * as net from 'node:net'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { check, closeRigs, emitted, errno, kinds, makeRig } from './rig'

const servers: net.Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
  closeRigs()
})

async function serve(options: net.ListenOptions, onSocket: (socket: net.Socket) => void) {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    onSocket(socket)
  })
  servers.push(server)
  server.listen(options)
  await emitted(server, 'listening')
  return server.address()
}

describe.each(kinds)('%s: connect', (kind) => {
  test.each([
    ['inet', '127.0.0.1'],
    ['inet6', '::1'],
  ] as const)('over %s, with both names known', async (family, host) => {
    const rig = makeRig(kind)
    let seen: Buffer | undefined
    const address = (await serve({ port: 0, host }, (socket) => {
      socket.on('data', (chunk) => {
        seen = chunk
        socket.end('bye')
      })
    })) as net.AddressInfo
    const id = rig.open(family)
    expect(rig.connect(id, host, address.port)).toBe(0)
    expect(rig.connect(id, host, address.port)).toBe(errno('EALREADY'))
    expect(rig.of('connect', id)).toHaveLength(0)
    expect((await rig.completion('connect', id)).result).toBe(0)
    const name = family === 'inet' ? 'IPv4' : 'IPv6'
    expect(rig.name(id, true)).toEqual({ address: host, port: address.port, family: name })
    expect(rig.name(id).address).toBe(host)
    rig.start('receive', id)
    rig.send(id, Buffer.from('hello'))
    await rig.last('receive', id)
    expect(seen?.toString()).toBe('hello')
    expect(rig.received(id).toString()).toBe('bye')
    rig.close(id)
    await rig.completion('close', id)
  })

  test('that is refused completes with ECONNREFUSED', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.close(listener)
    await rig.completion('close', listener)
    const id = rig.open('inet')
    expect(rig.connect(id, '127.0.0.1', port)).toBe(0)
    expect((await rig.completion('connect', id)).result).toBe(errno('ECONNREFUSED'))
  })

  test('to a path, and bound paths are unlinked on close', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'uring-net-'))
    try {
      const rig = makeRig(kind)
      const path = join(directory, 'socket')
      const missing = rig.open('unix')
      expect(rig.connect(missing, path, 0)).toBe(0)
      expect(rig.events).toHaveLength(0)
      expect((await rig.completion('connect', missing)).result).toBe(errno('ENOENT'))
      const listener = rig.open('unix')
      check('bind', rig.driver.bind(listener, path, 0, 0))
      check('listen', rig.driver.listen(listener, 10))
      rig.start('accept', listener)
      const id = rig.open('unix')
      expect(rig.connect(id, path, 0)).toBe(0)
      expect((await rig.completion('connect', id)).result).toBe(0)
      const accepted = (await rig.completion('accept', listener)).result
      expect(rig.name(id, true)).toEqual({ address: path, port: 0 })
      rig.start('receive', accepted)
      rig.send(id, Buffer.from('over a path'))
      await rig.completion('receive', accepted)
      expect(rig.received(accepted).toString()).toBe('over a path')
      rig.close(listener)
      await rig.completion('close', listener)
      expect(existsSync(path)).toBe(false)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  test('to an abstract name', async () => {
    const rig = makeRig(kind)
    const address = `\0uring-net-${process.pid}-${kind}`
    const listener = rig.open('unix')
    check('bind', rig.driver.bind(listener, address, 0, 0))
    check('listen', rig.driver.listen(listener, 10))
    rig.start('accept', listener)
    const id = rig.open('unix')
    check('connect', rig.connect(id, address, 0))
    expect((await rig.completion('connect', id)).result).toBe(0)
    expect(rig.name(id, true)).toEqual({ address, port: 0 })
    await rig.completion('accept', listener)
  })

  test('to a Unix listener whose backlog is full completes with EAGAIN and does not wait', async () => {
    const rig = makeRig(kind)
    const address = `\0uring-net-full-${process.pid}-${kind}`
    const listener = rig.open('unix')
    check('bind', rig.driver.bind(listener, address, 0, 0))
    check('listen', rig.driver.listen(listener, 0))
    const results: number[] = []
    for (let i = 0; i < 3; i++) {
      const id = rig.open('unix')
      check('connect', rig.connect(id, address, 0))
      results.push((await rig.completion('connect', id)).result)
    }
    expect(results).toContain(errno('EAGAIN'))
  })

  test('bind options: a taken port, IPv6 only, reuse of a port', async () => {
    const rig = makeRig(kind)
    const { port } = rig.listen()
    const second = rig.open('inet')
    expect(rig.driver.bind(second, '127.0.0.1', port, 0)).toBe(errno('EADDRINUSE'))
    // Somebody else may listen on that port of IPv4, but not each time.
    const ofBoth = Array.from({ length: 5 }, () => {
      const six = rig.open('inet6')
      check('bind', rig.driver.bind(six, '::', 0, 1))
      check('listen', rig.driver.listen(six, 10))
      return rig.driver.bind(rig.open('inet'), '0.0.0.0', rig.name(six).port!, 0)
    })
    const free = ofBoth.filter((result) => result !== errno('EADDRINUSE'))
    expect(free.length).toBeGreaterThan(0)
    expect(new Set(free)).toEqual(new Set([0]))
    const shared = rig.open('inet')
    check('bind', rig.driver.bind(shared, '127.0.0.1', 0, 2))
    check('listen', rig.driver.listen(shared, 10))
    const sharer = rig.open('inet')
    check('bind', rig.driver.bind(sharer, '127.0.0.1', rig.name(shared).port!, 2))
  })
})

describe.each(kinds)('%s: accept', (kind) => {
  test('goes on, with an endpoint for each connection', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    const peers = Array.from({ length: 20 }, () => net.connect(port, '127.0.0.1'))
    await rig.until('every accept', () => rig.of('accept', listener).length === 20)
    const accepts = rig.of('accept', listener)
    expect(accepts.every(({ more, result }) => more && result > 0)).toBe(true)
    expect(new Set(accepts.map(({ result }) => result)).size).toBe(20)
    const ports = accepts.map(({ result }) => rig.name(result, true).port)
    expect(ports.sort()).toEqual(peers.map((peer) => peer.localPort).sort())
    for (const peer of peers) peer.destroy()
  })

  test('of what does not listen is refused', async () => {
    const rig = makeRig(kind)
    const id = rig.open('inet')
    rig.start('accept', id)
    expect((await rig.completion('accept', id)).result).toBe(errno('EINVAL'))
  })
})
