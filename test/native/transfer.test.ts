/** Bytes through the raw contract: receive, send, sendNow, shutdown, connect. The peer is node:net. */
import * as net from 'node:net'
import { mkdtempSync, rmSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Op } from '../../src/core/binding'
import {
  check,
  closeRigs,
  collect,
  emitted,
  errno,
  featureBit,
  kinds,
  makeRig,
  pattern,
  within,
} from './rig'
import type { Rig } from './rig'

const servers: net.Server[] = []
afterEach(() => {
  closeRigs()
  for (const server of servers.splice(0)) server.close()
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

/** Answers whatever is received, one send at a time. */
function echo(rig: Rig, id: number): void {
  const waiting: Buffer[] = []
  let sending = false
  const next = () => {
    const bytes = waiting.shift()
    sending = bytes !== undefined
    if (bytes) rig.send(id, bytes)
  }
  rig.onEvent = (event) => {
    if (event.id !== id) return
    if (event.op === 'receive' && event.result > 0) {
      waiting.push(event.bytes)
      if (!sending) next()
      if (!event.more) rig.command('receive', id)
    } else if (event.op === 'receive' && event.result === errno('ENOBUFS')) {
      rig.command('receive', id)
    } else if (event.op === 'send') next()
  }
}

describe.each(kinds)('%s: transfer', (kind) => {
  test('what is received can be sent back', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    echo(rig, id)
    const bytes = pattern(3 << 20)
    peer.end(bytes)
    const back: Buffer[] = []
    let length = 0
    await within(
      'the whole echo',
      new Promise<void>((resolve) => {
        peer.on('data', (chunk) => {
          back.push(chunk)
          length += chunk.length
          if (length >= bytes.length) resolve()
        })
      }),
    )
    expect(Buffer.concat(back).equals(bytes)).toBe(true)
    // The peer may have the last bytes before the driver has looked at their completion.
    await rig.until('the news of every byte', () => {
      const sent = rig.of('send', id).map((event) => event.result)
      return sent.reduce((sum, result) => sum + result, 0) === bytes.length
    })
    expect(rig.driver.stats()).toMatchObject({
      bytesReceived: bytes.length,
      bytesSent: bytes.length,
    })
    peer.destroy()
  })

  test.each([
    ['bit by bit', 5000, 0],
    // Of the buffers that are used as a whole a message takes several, here of 16 KiB.
    ['one for each receive', 40_000, featureBit('incrementalBuffers')],
  ])(
    'what the peer wrote at once is one receive, wherever the buffers of the pool end: used %s',
    async (_how, messageBytes, disable) => {
      // Three times round the pool, with messages that do not divide a buffer.
      const message = pattern(messageBytes)
      const rig = makeRig(kind, { poolBytes: 128 * 1024, disable })
      const { id, peer } = await rig.pair()
      const count = Math.ceil((3 * 128 * 1024) / message.length)
      for (let sent = 1; sent <= count; sent++) {
        peer.write(message)
        const length = sent * message.length
        await rig.until('the whole message', () => rig.received(id).length >= length)
      }
      const received = rig.of('receive', id).map((event) => event.bytes)
      expect(received.map((bytes) => bytes.length)).toEqual(Array(count).fill(message.length))
      for (const bytes of received) expect(bytes.equals(message)).toBe(true)
      peer.destroy()
    },
  )

  test('a large send to a peer that stalls has one completion, when the last byte is taken', async () => {
    const rig = makeRig(kind, { arenaBytes: 16 << 20 })
    const { id, peer } = await rig.pair()
    peer.pause()
    const bytes = pattern(16 << 20)
    rig.send(id, bytes)
    // The answer to a byte proves that the driver has had its turn.
    peer.write('x')
    await rig.completion('receive', id)
    expect(rig.of('send', id)).toHaveLength(0)
    const seen = collect(peer)
    peer.resume()
    expect(await rig.completion('send', id)).toMatchObject({ result: bytes.length, more: false })
    rig.command('shutdown', id)
    expect((await rig.completion('shutdown', id)).result).toBe(0)
    expect((await seen).equals(bytes)).toBe(true)
    expect(rig.of('send', id)).toHaveLength(1)
    peer.destroy()
  })

  test('sendNow takes what fits at once and completes the rest from memory of its own', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    const small = Buffer.from('small')
    expect(rig.driver.sendNow(id, small)).toBe(small.length)
    const bytes = pattern(24 << 20, 5)
    const expected = Buffer.concat([small, bytes])
    const taken = rig.driver.sendNow(id, bytes)
    expect(taken).toBeGreaterThan(0)
    expect(taken).toBeLessThan(bytes.length)
    expect(rig.driver.stats().heapBytes).toBe(bytes.length - taken)
    bytes.fill(0)
    expect(rig.driver.sendNow(id, small)).toBe(errno('EALREADY'))
    const seen = collect(peer)
    peer.resume()
    expect((await rig.completion('send', id)).result).toBe(bytes.length - taken)
    expect(rig.driver.stats().heapBytes).toBe(0)
    rig.command('shutdown', id)
    expect((await seen).equals(expected)).toBe(true)
    peer.destroy()
  })

  test('sendNow sends chunks in order, of whatever number and size, and the rest from memory of its own', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    // More than sendmsg(2) takes at a time, empty ones among them; then one that does not fit.
    const bytes = pattern(24 << 20, 6)
    const chunks: Uint8Array[] = []
    let at = 0
    for (let i = 0; i < 3000; i++) {
      const length = i % 7
      chunks.push(bytes.subarray(at, at + length))
      at += length
    }
    chunks.push(bytes.subarray(at))
    const expected = Buffer.from(bytes)
    const taken = rig.driver.sendNow(id, chunks)
    expect(taken).toBeGreaterThan(at)
    expect(taken).toBeLessThan(bytes.length)
    expect(rig.driver.stats().heapBytes).toBe(bytes.length - taken)
    bytes.fill(0)
    expect(rig.driver.sendNow(id, [Buffer.from('x')])).toBe(errno('EALREADY'))
    const seen = collect(peer)
    peer.resume()
    expect((await rig.completion('send', id)).result).toBe(bytes.length - taken)
    rig.command('shutdown', id)
    expect((await seen).equals(expected)).toBe(true)
    peer.destroy()
  })

  test('sendNow refuses what its heap may not hold, before it sends a byte', async () => {
    const rig = makeRig(kind, { heapBytesMax: 1000 })
    const { id, peer } = await rig.pair()
    expect(rig.driver.sendNow(id, Buffer.alloc(1001))).toBe(errno('ENOBUFS'))
    expect(rig.driver.sendNow(id, Buffer.from('ok'))).toBe(2)
    const seen = collect(peer)
    rig.command('shutdown', id)
    expect((await seen).toString()).toBe('ok')
    peer.destroy()
  })

  test('after shutdown the peer sees the end of stream and can still send', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    rig.command('shutdown', id)
    await seen
    peer.end('late')
    expect(await rig.last('receive', id)).toMatchObject({ result: 0, more: false })
    expect(rig.received(id).toString()).toBe('late')
    rig.send(id, Buffer.from('x'))
    expect((await rig.completion('send', id)).result).toBe(errno('EPIPE'))
    peer.destroy()
  })

  test('a reset by the peer ends the receive with ECONNRESET', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.resetAndDestroy()
    expect((await rig.last('receive', id)).result).toBe(errno('ECONNRESET'))
  })

  test('a reset during a blocked send fails it and tells how much was taken', async () => {
    const rig = makeRig(kind, { arenaBytes: 16 << 20 })
    const { id, peer } = await rig.pair(false)
    peer.pause()
    rig.command('send', id, 0, 16 << 20)
    rig.driver.submit()
    peer.resetAndDestroy()
    const sent = await rig.completion('send', id)
    expect([errno('EPIPE'), errno('ECONNRESET')]).toContain(sent.result)
    expect(sent.extra).toBeGreaterThan(0)
    expect(sent.extra).toBeLessThan(16 << 20)
  })

  test('sends complete before everything else in their batch', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    echo(rig, id)
    peer.on('data', (chunk) => {
      if (rig.of('send', id).length < 50) peer.write(chunk)
    })
    peer.write('ping')
    await rig.until('fifty sends', () => rig.of('send', id).length >= 50)
    for (let batch = 0; batch < rig.events.at(-1)!.batch; batch++) {
      const kindsSeen = rig.events
        .filter((event) => event.batch === batch)
        .map((event) => event.op === 'send')
      expect(kindsSeen).toEqual([...kindsSeen].sort((a, b) => Number(b) - Number(a)))
    }
    peer.destroy()
  })

  // 1. A batch carries the whole pool and the end of the receive. 2. Before its bytes are looked at, the receive is
  // armed again and submitted. 3. It must find the pool still in use, not write over what the batch carries.
  test('a pool that runs dry loses nothing, and its bytes stay until the batch is over', async () => {
    const rig = makeRig(kind, { poolBytes: 64 * 1024 })
    const { id, peer } = await rig.pair()
    const other = await rig.pair()
    rig.onBatch = (count) => {
      const { completions } = rig.driver
      for (let index = 0; index < count; index++) {
        const [head, to, result] = completions.subarray(4 + index * 4)
        if (head === Op.receive && result !== 0) rig.command('receive', to!)
      }
      rig.driver.submit()
    }
    const bytes = pattern(4 << 20)
    peer.end(bytes)
    other.peer.end(bytes)
    await rig.event('end', (e) => e.op === 'receive' && e.id === id && e.result === 0)
    await rig.event('end', (e) => e.op === 'receive' && e.id === other.id && e.result === 0)
    expect(rig.received(id).equals(bytes)).toBe(true)
    expect(rig.received(other.id).equals(bytes)).toBe(true)
    expect(rig.driver.stats().poolExhausted).toBeGreaterThan(0)
    peer.destroy()
    other.peer.destroy()
  })
})

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
    expect(rig.driver.connect(id, host, address.port)).toBe(0)
    expect(rig.driver.connect(id, host, address.port)).toBe(errno('EALREADY'))
    expect(rig.of('connect', id)).toHaveLength(0)
    expect((await rig.completion('connect', id)).result).toBe(0)
    const name = family === 'inet' ? 'IPv4' : 'IPv6'
    expect(rig.name(id, true)).toEqual({ address: host, port: address.port, family: name })
    expect(rig.name(id).address).toBe(host)
    rig.command('receive', id)
    rig.send(id, Buffer.from('hello'))
    await rig.last('receive', id)
    expect(seen?.toString()).toBe('hello')
    expect(rig.received(id).toString()).toBe('bye')
    rig.command('close', id)
    await rig.completion('close', id)
  })

  test('that is refused completes with ECONNREFUSED', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.command('close', listener)
    await rig.completion('close', listener)
    const id = rig.open('inet')
    expect(rig.driver.connect(id, '127.0.0.1', port)).toBe(0)
    expect((await rig.completion('connect', id)).result).toBe(errno('ECONNREFUSED'))
  })

  test('to a path, and bound paths are unlinked on close', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'uring-net-'))
    try {
      const rig = makeRig(kind)
      const path = join(directory, 'socket')
      const missing = rig.open('unix')
      expect(rig.driver.connect(missing, path, 0)).toBe(0)
      expect(rig.events).toHaveLength(0)
      expect((await rig.completion('connect', missing)).result).toBe(errno('ENOENT'))
      const listener = rig.open('unix')
      check('bind', rig.driver.bind(listener, path, 0, 0))
      check('listen', rig.driver.listen(listener, 10))
      rig.command('accept', listener)
      const id = rig.open('unix')
      expect(rig.driver.connect(id, path, 0)).toBe(0)
      expect((await rig.completion('connect', id)).result).toBe(0)
      const accepted = (await rig.completion('accept', listener)).result
      expect(rig.name(id, true)).toEqual({ address: path, port: 0 })
      rig.command('receive', accepted)
      rig.send(id, Buffer.from('over a path'))
      await rig.completion('receive', accepted)
      expect(rig.received(accepted).toString()).toBe('over a path')
      rig.command('close', listener)
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
    rig.command('accept', listener)
    const id = rig.open('unix')
    check('connect', rig.driver.connect(id, address, 0))
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
      check('connect', rig.driver.connect(id, address, 0))
      results.push((await rig.completion('connect', id)).result)
    }
    expect(results).toContain(errno('EAGAIN'))
  })

  test('bind options: a taken port, IPv6 only, reuse of a port', async () => {
    const rig = makeRig(kind)
    const { port } = rig.listen()
    const second = rig.open('inet')
    expect(rig.driver.bind(second, '127.0.0.1', port, 0)).toBe(errno('EADDRINUSE'))
    const six = rig.open('inet6')
    check('bind', rig.driver.bind(six, '::', 0, 1))
    check('listen', rig.driver.listen(six, 10))
    const four = rig.open('inet')
    check('bind', rig.driver.bind(four, '0.0.0.0', rig.name(six).port!, 0))
    const shared = rig.open('inet')
    check('bind', rig.driver.bind(shared, '127.0.0.1', 0, 2))
    check('listen', rig.driver.listen(shared, 10))
    const sharer = rig.open('inet')
    check('bind', rig.driver.bind(sharer, '127.0.0.1', rig.name(shared).port!, 2))
  })
})
