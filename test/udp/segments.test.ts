/** Datagrams of one size handed over as one, and received as one: what is on the wire are datagrams all the same. */
import { pattern } from '../e2e/wire'
import { closing, drivers, loadUdp, makePeer, receive } from './rig'
import type { DatagramSocket, Package } from './rig'

const address = '127.0.0.1'
const families = [
  ['IPv4', '127.0.0.1'],
  ['IPv6', '::1'],
] as const

describe.each(drivers)('%s', (name) => {
  let udp: Package

  beforeAll(() => {
    udp = loadUdp(name)
  })

  afterEach(() => {
    expect(udp.driver.stats()).toMatchObject({ unexpectedCompletions: 0 })
  })

  /** To the peer, wherever the socket is bound. */
  const to = (peer: { port: number }, at: string = address) => ({ address: at, port: peer.port })

  describe.each(families)('%s', (_family, at) => {
    test.each([
      ['a lease', 1],
      ['bytes', 1],
      ['several parts', 3],
    ])('%s become datagrams of the size asked for, the last one shorter', async (what, parts) => {
      const socket = closing(await udp.bind({ address: at }))
      const peer = await makePeer(at)
      const bytes = pattern(1000, 1)
      const lease = new udp.Pool({ count: 1, leaseBytes: 1000 }).acquire()!
      lease.bytes.set(bytes)
      const cut = Array.from({ length: parts }, (_, i) => bytes.subarray(i * 400, i * 400 + 400))
      const sent = what === 'a lease' ? lease : what === 'bytes' ? bytes : cut
      const completion = await socket.send(sent as never, { ...to(peer, at), segmentSize: 300 })
      expect(completion).toEqual({ ok: true, result: 1000, buffer: sent })
      const datagrams = await peer.next(4)
      expect(datagrams.map(({ bytes: { length } }) => length)).toEqual([300, 300, 300, 100])
      expect(Buffer.concat(datagrams.map((each) => each.bytes)).equals(bytes)).toBe(true)
    })

    test('what one sender sent in a row comes in one lease, and can go back as it came', async () => {
      const socket = closing(await udp.bind({ address: at, coalesce: true }))
      const sender = closing(await udp.bind({ address: at }))
      const bytes = pattern(6000, 2)
      await sender.send(bytes, { ...socket.localName!, segmentSize: 1200 })
      const datagram = await receive(socket)
      expect(datagram).toMatchObject({ segmentSize: 1200, truncated: false })
      expect(datagram.lease.copy().equals(bytes)).toBe(true)
      expect(await socket.send(datagram.lease, datagram)).toMatchObject({ ok: true, result: 6000 })
      datagram.lease.release()
      for (let i = 0; i < 5; i++) {
        const back = await receive(sender)
        expect(back).toMatchObject({ segmentSize: 0, port: socket.localName!.port })
        expect(back.lease.copy().equals(bytes.subarray(i * 1200, i * 1200 + 1200))).toBe(true)
        back.lease.release()
      }
    })
  })

  test('with coalesce a datagram that comes alone is one, also an empty one and the longest', async () => {
    const socket = closing(await udp.bind({ address, coalesce: true, receiveBufferSize: 1 << 20 }))
    const peer = await makePeer(address)
    for (const length of [5, 0, 65_507, 1]) {
      await peer.send(pattern(length, length), socket.localName!.port, address)
      const datagram = await receive(socket)
      expect(datagram).toMatchObject({ segmentSize: 0, truncated: false })
      expect(datagram.lease.copy().equals(pattern(length, length))).toBe(true)
      datagram.lease.release()
    }
  })

  test('a size that is no shorter than the bytes makes one datagram, and 0 is none', async () => {
    const socket = closing(await udp.bind({ address }))
    const peer = await makePeer(address)
    for (const segmentSize of [0, 5, 6, 65_507]) {
      await socket.send(Buffer.from('hello'), { ...to(peer), segmentSize })
      const [datagram] = await peer.next()
      expect(String(datagram!.bytes)).toBe('hello')
    }
  })

  test('more datagrams than the kernel takes as one are refused by it, and the socket goes on', async () => {
    const socket = closing(await udp.bind({ address }))
    const peer = await makePeer(address)
    const refused = await socket.send(Buffer.alloc(2000), { ...to(peer), segmentSize: 1 })
    expect(refused).toMatchObject({ ok: false, result: 0, error: { code: 'EINVAL' } })
    await socket.send(Buffer.from('next'), to(peer))
    const [datagram] = await peer.next()
    expect(String(datagram!.bytes)).toBe('next')
  })

  test.each([-1, 1.5, 65_508, NaN, '5', null])('a segmentSize of %p is refused', async (size) => {
    const socket: DatagramSocket = closing(await udp.bind({ address }))
    const options = { address, port: 9, segmentSize: size as number }
    const refused = socket.send(Buffer.from('x'), options)
    await expect(refused).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
  })
})
