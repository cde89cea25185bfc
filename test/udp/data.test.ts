/** Datagrams come and go whole, unchanged, with the right addresses, in both families and against node:dgram. */
import { createHash } from 'node:crypto'
import { pattern } from '../e2e/wire'
import { within } from '../deadlines'
import { closing, drivers, loadUdp, makePeer, receive } from './rig'
import type { Package } from './rig'

const families = [
  ['IPv4', '127.0.0.1', 65_507],
  ['IPv6', '::1', 65_527],
] as const

const digest = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex')

describe.each(drivers)('%s', (name) => {
  let udp: Package

  beforeAll(() => {
    udp = loadUdp(name)
  })

  afterEach(() => {
    expect(udp.driver.stats()).toMatchObject({ unexpectedCompletions: 0, overflows: 0 })
  })

  describe.each(families)('%s', (family, address, longest) => {
    test('a datagram arrives with its bytes and its sender, and goes back from the same lease', async () => {
      const socket = closing(await udp.bind({ address }))
      const peer = await makePeer(address)
      expect(socket.localName).toMatchObject({ address, family })
      const { port } = socket.localName!
      await peer.send(Buffer.from('hello'), port, address)
      const datagram = await receive(socket)
      expect(datagram).toMatchObject({ address, port: peer.port, family, truncated: false })
      expect(datagram.lease.bytes.toString()).toBe('hello')
      const completion = await socket.send(datagram.lease, datagram)
      expect(completion).toEqual({ ok: true, result: 5, buffer: datagram.lease })
      datagram.lease.release()
      const [answer] = await peer.next()
      expect(answer!.bytes.toString()).toBe('hello')
      expect(answer!.from).toMatchObject({ address, port, family })
    })

    test('the longest datagrams, the shortest and empty ones arrive whole and in order', async () => {
      const socket = closing(await udp.bind({ address, receiveBufferSize: 1 << 20 }))
      const peer = await makePeer(address)
      for (const length of [0, 1, 0, longest, 1000, longest, 0, 64]) {
        const bytes = pattern(length, length)
        await peer.send(bytes, socket.localName!.port, address)
        const datagram = await receive(socket)
        expect(datagram.lease.length).toBe(length)
        expect(datagram.truncated).toBe(false)
        expect(digest(datagram.lease.bytes)).toBe(digest(bytes))
        const back = await socket.send(datagram.lease, datagram)
        expect(back).toMatchObject({ ok: true, result: length })
        datagram.lease.release()
        const [answer] = await peer.next()
        expect(digest(answer!.bytes)).toBe(digest(bytes))
      }
    })

    test('several empty datagrams at once are as many datagrams', async () => {
      const socket = closing(await udp.bind({ address }))
      const peer = await makePeer(address)
      const { port } = socket.localName!
      const lengths = [0, 0, 3, 0, 0, 0, 2, 0]
      for (const length of lengths) await peer.send(Buffer.alloc(length), port, address)
      const seen: number[] = []
      while (seen.length < lengths.length) {
        const { lease } = await receive(socket)
        seen.push(lease.length)
        lease.release()
      }
      expect(seen).toEqual(lengths)
    })

    test('a datagram that is too long is refused with EMSGSIZE, and later ones are sent', async () => {
      const socket = closing(await udp.bind({ address }))
      const peer = await makePeer(address)
      const to = { address, port: peer.port }
      const [long, short] = await Promise.all([
        socket.send(Buffer.alloc(longest + 1), to),
        socket.send(Buffer.from('short'), to),
      ])
      expect(long).toMatchObject({ ok: false, result: 0, error: { code: 'EMSGSIZE', ...to } })
      expect(short).toMatchObject({ ok: true, result: 5 })
      expect((await peer.next())[0]!.bytes.toString()).toBe('short')
    })

    test('a connected socket sends without an address, and hears nobody else', async () => {
      const socket = closing(await udp.bind({ address }))
      const [peer, other] = [await makePeer(address), await makePeer(address)]
      await socket.connect({ address, port: peer.port })
      expect(socket.remoteName).toMatchObject({ address, port: peer.port, family })
      expect(await socket.send(Buffer.from('hi'))).toMatchObject({ ok: true, result: 2 })
      const [message] = await peer.next()
      await other.send(Buffer.from('no'), message!.from.port, address)
      await peer.send(Buffer.from('yes'), message!.from.port, address)
      const { lease } = await receive(socket)
      expect(lease.bytes.toString()).toBe('yes')
      lease.release()
      // Another peer, and none.
      await socket.connect({ address, port: other.port })
      await socket.send(Buffer.from('other'))
      expect((await other.next())[0]!.bytes.toString()).toBe('other')
      socket.disconnect()
      expect(socket.remoteName).toBeUndefined()
      expect(await socket.send(Buffer.from('who'))).toMatchObject({
        ok: false,
        error: { code: 'EDESTADDRREQ', syscall: 'send' },
      })
    })
  })

  test('a socket on :: hears IPv4, and sends to it', async () => {
    const socket = closing(await udp.bind())
    expect(socket.localName).toMatchObject({ address: '::', family: 'IPv6' })
    const peer = await makePeer('127.0.0.1')
    await socket.send(Buffer.from('to'), { address: '127.0.0.1', port: peer.port })
    const [message] = await peer.next()
    await peer.send(Buffer.from('and fro'), message!.from.port, '127.0.0.1')
    const datagram = await receive(socket)
    expect(datagram).toMatchObject({ address: '::ffff:127.0.0.1', port: peer.port, family: 'IPv6' })
    await socket.send(datagram.lease, datagram)
    datagram.lease.release()
    expect((await peer.next())[0]!.bytes.toString()).toBe('and fro')
  })

  test('with ipv6Only it does not take the port of IPv4', async () => {
    const first = closing(await udp.bind({ ipv6Only: true }))
    const { port } = first.localName!
    const second = closing(await udp.bind({ address: '0.0.0.0', port }))
    expect(second.localName).toMatchObject({ address: '0.0.0.0', port })
  })

  test('several parts leave as one datagram', async () => {
    const { bind, Pool } = udp
    const socket = closing(await bind({ address: '127.0.0.1' }))
    const peer = await makePeer('127.0.0.1')
    const lease = new Pool({ count: 1, leaseBytes: 16 }).acquire()!
    lease.length = lease.bytes.write('lent')
    const parts = [
      Buffer.from('a'),
      new Uint8Array(0),
      lease,
      new Uint16Array([0x6262]),
      new Uint8Array(0),
    ]
    const to = { address: '127.0.0.1', port: peer.port }
    const sending = socket.send(parts, to)
    expect(lease.state).toBe('inFlight')
    expect(await sending).toEqual({ ok: true, result: 7, buffer: parts })
    expect(lease.state).toBe('owned')
    expect((await peer.next())[0]!.bytes.toString()).toBe('alentbb')
    expect(await socket.send([new Uint8Array(0), new Uint8Array(0)], to)).toMatchObject({
      result: 0,
    })
    expect((await peer.next())[0]!.bytes.length).toBe(0)
  })

  test('a thousand sends of one call leave in their order', async () => {
    const socket = closing(await udp.bind({ address: '127.0.0.1' }))
    const peer = closing(await udp.bind({ address: '127.0.0.1', receiveBufferSize: 4 << 20 }))
    const to = { address: '127.0.0.1', port: peer.localName!.port }
    const before = udp.driver.stats()
    const sends = Array.from({ length: 1000 }, (_, i) => socket.send(new Uint32Array([i]), to))
    const got: number[] = []
    while (got.length < 100) {
      const { lease } = await receive(peer)
      got.push(lease.copy().readUInt32LE())
      lease.release()
    }
    expect((await Promise.all(sends)).every(({ ok }) => ok)).toBe(true)
    expect(got).toEqual(got.map((_, i) => i))
    if (name === 'uring') expect(udp.driver.stats().enters! - before.enters!).toBeLessThan(200)
  })

  test('bytes that are changed after send leave as they were', async () => {
    const socket = closing(await udp.bind({ address: '127.0.0.1' }))
    const peer = await makePeer('127.0.0.1')
    const bytes = Buffer.from('before')
    const sending = socket.send(bytes, { address: '127.0.0.1', port: peer.port })
    bytes.write('after!')
    await sending
    expect((await peer.next())[0]!.bytes.toString()).toBe('before')
  })

  test('64 peers are told apart, and each gets its own answers', async () => {
    const address = '127.0.0.1'
    const socket = closing(await udp.bind({ address, receiveBufferSize: 4 << 20 }))
    const peers = await Promise.all(Array.from({ length: 64 }, () => makePeer(address)))
    const { port } = socket.localName!
    const serve = async (): Promise<void> => {
      let left = 64 * 4
      for await (const datagram of socket) {
        expect(datagram.lease.copy().toString()).toBe(`${datagram.port}`)
        void socket.send(datagram.lease, datagram)
        datagram.lease[Symbol.dispose]()
        if (--left === 0) return
      }
    }
    const serving = serve()
    for (let round = 0; round < 4; round++) {
      await Promise.all(peers.map((peer) => peer.send(Buffer.from(`${peer.port}`), port, address)))
      for (const peer of peers) {
        const [message] = await peer.next()
        expect(message!.bytes.toString()).toBe(`${peer.port}`)
      }
    }
    await within('end of the loop', serving)
  })

  test('a loop that waits for each send answers all', async () => {
    const address = '127.0.0.1'
    const socket = closing(await udp.bind({ address, receiveBufferSize: 4 << 20 }))
    const peer = closing(await udp.bind({ address, receiveBufferSize: 4 << 20 }))
    const to = { address, port: socket.localName!.port }
    const count = 200
    const serve = async (): Promise<void> => {
      let left = count
      for await (const datagram of socket) {
        expect(await socket.send(datagram.lease, datagram)).toMatchObject({ ok: true, result: 4 })
        datagram.lease.release()
        if (--left === 0) return
      }
    }
    const serving = serve()
    await Promise.all(Array.from({ length: count }, (_, i) => peer.send(new Uint32Array([i]), to)))
    const got: number[] = []
    while (got.length < count) {
      const { lease } = await receive(peer)
      got.push(lease.bytes.readUInt32LE())
      lease.release()
    }
    expect(got).toEqual(got.map((_, i) => i))
    await within('end of the loop', serving)
  })

  test('a received lease goes on over TCP without its header, and a receive into it fills it', async () => {
    const address = '127.0.0.1'
    const socket = closing(await udp.bind({ address }))
    const peer = await makePeer(address)
    await peer.send(Buffer.from('datagram'), socket.localName!.port, address)
    const { lease } = await receive(socket)
    const listener = closing(await udp.listen({ port: 0, host: address }))
    const accepting = listener.accept()
    const near = closing(await udp.connect({ port: listener.localName!.port, host: address }))
    const far = closing((await accepting)!)
    expect(await near.send(lease)).toMatchObject({ ok: true, result: 8 })
    const arrived = (await within('bytes', far.receive()))!
    expect(arrived.bytes.toString()).toBe('datagram')
    await far.send(arrived)
    arrived.release()
    const into = await within('bytes', near.receive({ into: lease, minimum: 8 }))
    expect(into!.bytes.toString()).toBe('datagram')
    expect(into).toBe(lease)
    lease.release()
  })
})
