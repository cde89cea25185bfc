/** What ends a socket, a receive or a send, what one socket may hold, and what becomes of what nobody holds. */
import { collect, testCollected } from '../collected'
import { within } from '../deadlines'
import { closing, deadPort, drivers, loadUdp, makePeer, receive, until } from './rig'
import type { Datagram, DatagramSocket, Package } from './rig'

const address = '127.0.0.1'
/** As in datagrams.ts. */
const leasesMax = 512
const sendsMax = 1024

describe.each(drivers)('%s', (name) => {
  let udp: Package

  beforeAll(() => {
    udp = loadUdp(name)
  })

  const openSocket = async (): Promise<DatagramSocket> =>
    closing(await udp.bind({ address, receiveBufferSize: 4 << 20 }))

  const nothingLeft = (): Promise<void> =>
    until('end of all operations', () => {
      const { endpoints, inFlight } = udp.driver.stats()
      return endpoints === 0 && inFlight === 0
    })

  afterEach(() => {
    expect(udp.driver.stats()).toMatchObject({ unexpectedCompletions: 0, overflows: 0 })
  })

  // --- closing ---

  test('close ends a receive that waits with null, and nothing is left in the kernel', async () => {
    const socket = await openSocket()
    const receiving = socket.receive()
    await within('close', socket.close())
    expect(await within('end', receiving)).toBeNull()
    expect(await socket.receive()).toBeNull()
    await nothingLeft()
  })

  test('close ends a loop in good order', async () => {
    const socket = await openSocket()
    const looping = (async () => {
      for await (const { lease } of socket) lease.release()
      return 'ended'
    })()
    await socket.close()
    expect(await within('end', looping)).toBe('ended')
  })

  test('close is one close, however often it is called, and everything else is refused then', async () => {
    const socket = await openSocket()
    const to = { address, port: 9 }
    expect(socket.close()).toBe(socket.close())
    const closed = { code: 'ERR_URING_CLOSED' }
    await expect(socket.send(Buffer.from('x'), to)).rejects.toMatchObject(closed)
    await expect(socket.connect(to)).rejects.toMatchObject(closed)
    for (const act of [
      () => socket.setTTL(1),
      () => socket.joinGroup('239.1.1.1'),
      () => socket.setBroadcast(true),
      () => socket.disconnect(),
    ]) {
      expect(act).toThrow(expect.objectContaining(closed) as Error)
    }
    expect(socket.localName).toBeUndefined()
    await socket.close()
  })

  test('what was sent before close is sent', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    const sends = ['a', 'b', 'c'].map((text) =>
      socket.send(Buffer.from(text), { address, port: peer.port }),
    )
    await socket.close()
    for (const send of sends) expect(await send).toMatchObject({ ok: true, result: 1 })
    expect((await peer.next(3)).map(({ bytes }) => bytes.toString())).toEqual(['a', 'b', 'c'])
  })

  test('close with datagrams that nobody took gives their memory back', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    const port = socket.localName!.port
    await peer.send(Buffer.from('first'), port, address)
    const { lease } = await receive(socket)
    for (let i = 0; i < 50; i++) await peer.send(Buffer.from('unread'), port, address)
    await socket.close()
    // A lease outlives its socket.
    expect(lease.bytes.toString()).toBe('first')
    lease.release()
    await nothingLeft()
  })

  test('leaving a loop early closes the socket', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    await peer.send(Buffer.from('x'), socket.localName!.port, address)
    for await (const { lease } of socket) {
      lease.release()
      break
    }
    expect(socket.localName).toBeUndefined()
    await nothingLeft()
  })

  test('await using closes it', async () => {
    {
      await using socket = await udp.bind({ address })
      expect(socket.localName!.port).toBeGreaterThan(0)
    }
    await nothingLeft()
  })

  test('its port is free when close resolves', async () => {
    for (let i = 0; i < 20; i++) {
      const socket = await udp.bind({ address })
      const { port } = socket.localName!
      const receiving = socket.receive()
      await socket.close()
      await receiving
      const again = await udp.bind({ address, port })
      await again.close()
    }
  })

  // --- cancelling ---

  test('a receive that times out or is aborted takes nothing from the next one', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    await expect(socket.receive({ timeout: 20 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'recvmsg',
    })
    const controller = new AbortController()
    const receiving = socket.receive({ signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(receiving).rejects.toThrow('enough')
    await expect(socket.receive({ signal: controller.signal })).rejects.toThrow('enough')
    await peer.send(Buffer.from('kept'), socket.localName!.port, address)
    const { lease } = await receive(socket)
    expect(lease.bytes.toString()).toBe('kept')
    lease.release()
  })

  test('a receive with a deadline that is served leaves no timer and no listener behind', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    const { signal } = new AbortController()
    const removed = jest.spyOn(signal, 'removeEventListener')
    const receiving = socket.receive({ signal, timeout: 60_000 })
    await peer.send(Buffer.from('x'), socket.localName!.port, address)
    ;(await within('datagram', receiving))!.lease.release()
    expect(removed).toHaveBeenCalledTimes(1)
  })

  test('a send takes a signal and a timeout, and its completion tells how it ended', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    const to = { address, port: peer.port }
    const { signal } = new AbortController()
    const sent = await socket.send(Buffer.from('x'), { ...to, signal, timeout: 60_000 })
    expect(sent).toMatchObject({ ok: true, result: 1 })
    const reason = new Error('before')
    const aborted = socket.send(Buffer.from('y'), { ...to, signal: AbortSignal.abort(reason) })
    await expect(aborted).rejects.toBe(reason)
    const controller = new AbortController()
    const sending = socket.send(Buffer.from('z'), { ...to, signal: controller.signal })
    controller.abort()
    const completion = await within('completion', sending)
    expect(completion.ok || completion.error.code === 'ECANCELED').toBe(true)
  })

  test('a second receive is refused while one waits', async () => {
    const socket = await openSocket()
    const receiving = socket.receive()
    const pending = { code: 'ERR_URING_RECEIVE_PENDING' }
    await expect(socket.receive()).rejects.toMatchObject(pending)
    await expect(socket[Symbol.asyncIterator]().next()).rejects.toMatchObject(pending)
    await socket.close()
    expect(await receiving).toBeNull()
  })

  // --- bounds ---

  test('with 512 leases out nothing is received until one comes back, and what waited is not lost', async () => {
    const from = await openSocket()
    const socket = await openSocket()
    const to = { address, port: socket.localName!.port }
    const leases: Datagram['lease'][] = []
    let sent = 0
    const sendOne = async (): Promise<void> => {
      expect(await from.send(new Uint32Array([sent++]), to)).toMatchObject({ ok: true })
    }
    while (leases.length < leasesMax) {
      await sendOne()
      leases.push((await receive(socket)).lease)
    }
    await sendOne()
    await expect(socket.receive({ timeout: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    const receiving = socket.receive()
    leases.pop()!.release()
    const { lease } = (await within('datagram', receiving))!
    expect(lease.bytes.readUInt32LE()).toBe(leasesMax)
    leases.push(lease)
    for (const [i, each] of leases.slice(0, -1).entries()) expect(each.bytes.readUInt32LE()).toBe(i)
    for (const each of leases) each.release()
    await sendOne()
    ;(await receive(socket)).lease.release()
  })

  test('who does not read is sent no more than fits, and reads on later', async () => {
    const from = await openSocket()
    const socket = closing(await udp.bind({ address }))
    const to = { address, port: socket.localName!.port }
    await from.send(new Uint32Array([0]), to)
    ;(await receive(socket)).lease.release()
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 200 }, () => from.send(new Uint32Array([1]), to)))
    }
    let count = 0
    // Nothing, twice in a row: where the machine stood still, nothing could come.
    for (let none = 0; none < 2;) {
      const datagram = await socket.receive({ timeout: 100 }).catch(() => null)
      if (datagram === null) {
        none++
        continue
      }
      none = 0
      datagram.lease.release()
      count++
    }
    expect(count).toBeGreaterThan(100)
    expect(count).toBeLessThan(4000)
    await from.send(new Uint32Array([7]), to)
    const { lease } = await receive(socket)
    expect(lease.bytes.readUInt32LE()).toBe(7)
    lease.release()
  })

  test('beyond 1024 sends in flight more are refused with ENOBUFS, and lent leases come back', async () => {
    const socket = await openSocket()
    const to = { address, port: await deadPort(address) }
    const lease = new udp.Pool({ count: 1, leaseBytes: 8 }).acquire()!
    const sends = Array.from({ length: sendsMax }, () => socket.send(Buffer.from('x'), to))
    const refused = await socket.send(lease, to)
    expect(refused).toMatchObject({ ok: false, result: 0, error: { code: 'ENOBUFS' } })
    expect(lease.state).toBe('owned')
    await within('completions', Promise.all(sends))
    expect(await socket.send(lease, to)).toMatchObject({ ok: true })
  })

  // --- memory ---

  test('a lease in flight cannot be looked at, and its views are empty', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    await peer.send(Buffer.from('secret'), socket.localName!.port, address)
    const datagram = await receive(socket)
    const { lease } = datagram
    const view = lease.bytes
    const sending = socket.send(lease, datagram)
    expect(view.length).toBe(0)
    expect(() => lease.bytes).toThrow(
      expect.objectContaining({ code: 'ERR_URING_LEASE_IN_FLIGHT' }) as Error,
    )
    await expect(socket.send(lease, datagram)).rejects.toMatchObject({
      code: 'ERR_URING_LEASE_IN_FLIGHT',
    })
    await sending
    expect(lease.bytes.toString()).toBe('secret')
    lease.release()
    await expect(socket.send(lease, datagram)).rejects.toMatchObject({
      code: 'ERR_URING_LEASE_RELEASED',
    })
  })

  test('of several parts one that is not the caller’s lends none', async () => {
    const socket = await openSocket()
    const pool = new udp.Pool({ count: 2, leaseBytes: 8 })
    const [one, two] = [pool.acquire()!, pool.acquire()!]
    two.release()
    await expect(socket.send([one, two], { address, port: 9 })).rejects.toMatchObject({
      code: 'ERR_URING_LEASE_RELEASED',
    })
    expect(one.state).toBe('owned')
  })

  testCollected(
    __filename,
    'leases that are dropped come back when they are collected, and views of them keep their bytes',
    async () => {
      const from = await openSocket()
      const socket = await openSocket()
      const to = { address, port: socket.localName!.port }
      const views: Buffer[] = []
      let sent = 0
      // More than may be out at one time.
      while (sent < leasesMax + 100) {
        await from.send(new Uint32Array([sent++]), to)
        let view: Buffer | undefined
        for (let tries = 0; view === undefined && tries < 100; tries++) {
          view = await socket.receive({ timeout: 100 }).then(
            (datagram) => datagram!.lease.bytes,
            () => undefined,
          )
          if (view === undefined) collect()
        }
        views.push(view!)
      }
      views.forEach((view, i) => expect(view.readUInt32LE()).toBe(i))
    },
  )

  test('bytes stay right while memory is collected between every step', async () => {
    const peer = await makePeer(address)
    const socket = await openSocket()
    for (let i = 0; i < 30; i++) {
      await peer.send(Buffer.from(`datagram ${i}`), socket.localName!.port, address)
      collect()
      const datagram = await receive(socket)
      collect()
      const sending = socket.send(datagram.lease, datagram)
      const copied = socket.send(Buffer.from(`copy ${i}`), datagram)
      collect()
      await Promise.all([sending, copied])
      if (i % 2 === 0) datagram.lease.release()
      const [first, second] = await peer.next(2)
      expect([first!.bytes.toString(), second!.bytes.toString()]).toEqual([
        `datagram ${i}`,
        `copy ${i}`,
      ])
    }
  }, 60_000)

  testCollected(
    __filename,
    'a socket that nobody holds is closed when it is collected',
    async () => {
      const open = async (): Promise<void> => {
        const socket = await udp.bind({ address })
        await expect(socket.receive({ timeout: 5 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
      }
      await open()
      await until('collection', () => {
        collect()
        return udp.driver.stats().endpoints === 0
      })
      await nothingLeft()
    },
  )

  test('a socket that somebody waits on is not collected', async () => {
    const peer = await makePeer(address)
    const open = async (): Promise<[number, Promise<string>]> => {
      const socket = await udp.bind({ address })
      const next = socket.receive().then((datagram) => datagram!.lease.copy().toString())
      return [socket.localName!.port, next]
    }
    const [port, next] = await open()
    for (let i = 0; i < 5; i++) {
      collect()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await peer.send(Buffer.from('there'), port, address)
    expect(await within('datagram', next)).toBe('there')
    await until('collection', () => {
      collect()
      return udp.driver.stats().endpoints === 0
    })
  })
})
