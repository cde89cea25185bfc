/** What the network and the kernel's options do to a socket: refusals, groups, hops, shared ports. */
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { within } from '../deadlines'
import { closing, deadPort, drivers, loadUdp, makePeer, receive } from './rig'
import type { Package } from './rig'

const families = [
  ['IPv4', '127.0.0.1', '239.255.43.21'],
  ['IPv6', '::1', 'ff02::4321'],
] as const

/** An interface that multicasts can leave by, and whether it is the loopback. Nothing that a test sends leaves the host. */
function multicastInterface(
  family: 'IPv4' | 'IPv6',
): [networkInterface: string, isLoopback: boolean] {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    const found = addresses?.find((each) => each.family === family && !each.internal)
    if (found !== undefined) return [family === 'IPv4' ? found.address : `::%${name}`, false]
  }
  return [family === 'IPv4' ? '127.0.0.1' : '::%lo', true]
}

describe.each(drivers)('%s', (name) => {
  let udp: Package

  beforeAll(() => {
    udp = loadUdp(name)
  })

  describe.each(families)('%s', (family, address, group) => {
    const [through, isLoopback] = multicastInterface(family)

    test('a connected socket learns that its peer refuses, once, and goes on', async () => {
      const socket = closing(await udp.bind({ address }))
      const peer = await makePeer(address)
      await socket.connect({ address, port: await deadPort(address) })
      const receiving = socket.receive()
      await socket.send(Buffer.from('anybody?'))
      await expect(within('refusal', receiving)).rejects.toMatchObject({
        code: 'ECONNREFUSED',
        syscall: 'recvmsg',
      })
      await socket.connect({ address, port: peer.port })
      const next = socket.receive()
      await socket.send(Buffer.from('here?'))
      const [message] = await peer.next()
      await peer.send(Buffer.from('here'), message!.from.port, address)
      expect((await within('datagram', next))!.lease.bytes.toString()).toBe('here')
    })

    test('without a receive the next send is told of the refusal', async () => {
      const socket = closing(await udp.bind({ address }))
      await socket.connect({ address, port: await deadPort(address) })
      expect(await socket.send(Buffer.from('one'))).toMatchObject({ ok: true })
      expect(await socket.send(Buffer.from('two'))).toMatchObject({
        ok: false,
        error: { code: 'ECONNREFUSED', syscall: 'send' },
      })
      expect(await socket.send(Buffer.from('three'))).toMatchObject({ ok: true })
    })

    test('a member of a group receives what is sent to it, until it leaves', async () => {
      const any = family === 'IPv4' ? '0.0.0.0' : '::'
      const socket = closing(await udp.bind({ address: any, reuseAddress: true }))
      const { port } = socket.localName!
      try {
        socket.joinGroup(group, through)
        socket.setMulticastInterface(through)
      } catch (error) {
        return console.warn(`skipped: no multicast on loopback: ${(error as Error).message}`)
      }
      socket.setMulticastLoopback(true)
      socket.setMulticastTTL(0)
      const sent = await socket.send(Buffer.from('to all'), { address: group, port })
      if (!sent.ok) return console.warn(`skipped: no multicast on loopback: ${sent.error.message}`)
      const datagram = await receive(socket)
      expect(datagram.lease.bytes.toString()).toBe('to all')
      expect(datagram.port).toBe(port)
      // And from node:dgram.
      const peer = await makePeer(any)
      peer.socket.setMulticastInterface(through)
      peer.socket.setMulticastTTL(0)
      await peer.send(Buffer.from('from node'), port, group)
      expect((await receive(socket)).lease.bytes.toString()).toBe('from node')
      socket.leaveGroup(group, through)
      expect(() => socket.leaveGroup(group, through)).toThrow(
        expect.objectContaining({ code: 'EADDRNOTAVAIL', syscall: 'setsockopt' }) as Error,
      )
      await peer.send(Buffer.from('to nobody'), port, group)
      await peer.send(Buffer.from('direct'), port, address)
      expect((await receive(socket)).lease.bytes.toString()).toBe('direct')
    })

    test('without loopback members on this host get nothing', async () => {
      // It carries everything back by itself.
      if (isLoopback) return console.warn('skipped: no interface but the loopback')
      const any = family === 'IPv4' ? '0.0.0.0' : '::'
      const socket = closing(await udp.bind({ address: any }))
      const { port } = socket.localName!
      try {
        socket.joinGroup(group, through)
        socket.setMulticastInterface(through)
      } catch (error) {
        return console.warn(`skipped: no multicast on loopback: ${(error as Error).message}`)
      }
      socket.setMulticastTTL(0)
      socket.setMulticastLoopback(false)
      await socket.send(Buffer.from('to all'), { address: group, port })
      await socket.send(Buffer.from('to me'), { address, port })
      const { lease } = await receive(socket)
      expect(lease.bytes.toString()).toBe('to me')
      lease.release()
    })

    test('hops are taken up to 255', async () => {
      const socket = closing(await udp.bind({ address }))
      socket.setTTL(1)
      socket.setTTL(255)
      socket.setMulticastTTL(0)
      socket.setMulticastTTL(255)
      const peer = await makePeer(address)
      await socket.send(Buffer.from('x'), { address, port: peer.port })
      await peer.next()
    })
  })

  test('a broadcast is refused with EACCES until it is allowed', async () => {
    const networks = Object.values(networkInterfaces()).flat()
    const isConnected = networks.some((each) => each?.family === 'IPv4' && !each.internal)
    if (!isConnected) return console.warn('skipped: no network to broadcast to')
    const socket = closing(await udp.bind({ address: '0.0.0.0' }))
    const to = { address: '255.255.255.255', port: 9 }
    expect(await socket.send(Buffer.from('x'), to)).toMatchObject({ error: { code: 'EACCES' } })
    socket.setBroadcast(true)
    expect(await socket.send(Buffer.from('x'), to)).toMatchObject({ ok: true })
    socket.setBroadcast(false)
    expect(await socket.send(Buffer.from('x'), to)).toMatchObject({ error: { code: 'EACCES' } })
  })

  test('a port that is taken is refused with EADDRINUSE, unless both share it', async () => {
    const address = '127.0.0.1'
    const alone = closing(await udp.bind({ address }))
    const taken = { address, port: alone.localName!.port }
    await expect(udp.bind(taken)).rejects.toMatchObject({
      code: 'EADDRINUSE',
      syscall: 'bind',
      ...taken,
    })
    for (const share of [{ reuseAddress: true }, { reusePort: true }]) {
      const first = closing(await udp.bind({ address, ...share }))
      const { port } = first.localName!
      const second = closing(await udp.bind({ address, port, ...share }))
      expect(second.localName!.port).toBe(port)
    }
  })

  test('an address of no interface is refused with EADDRNOTAVAIL, and nothing stays open', async () => {
    const before = udp.driver.stats().endpoints
    await expect(udp.bind({ address: '192.0.2.77' })).rejects.toMatchObject({
      code: 'EADDRNOTAVAIL',
      syscall: 'bind',
    })
    expect(udp.driver.stats().endpoints).toBe(before)
  })

  test('a node:dgram socket that is connected to ours hears it', async () => {
    const address = '127.0.0.1'
    const socket = closing(await udp.bind({ address }))
    const peer = await makePeer(address)
    peer.socket.connect(socket.localName!.port, address)
    await within('connect', once(peer.socket, 'connect'))
    peer.socket.send('connected')
    const datagram = await receive(socket)
    await socket.send(datagram.lease, datagram)
    expect((await peer.next())[0]!.bytes.toString()).toBe('connected')
  })
})
