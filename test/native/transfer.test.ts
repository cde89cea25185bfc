/** Bytes through the raw contract: receives into provided buffers, sends, shutdown. The peer is node:net. */
import { within } from '../deadlines'
import {
  blockedBytes,
  closeRigs,
  collect,
  digest,
  errno,
  kinds,
  makeRig,
  pattern,
  written,
} from './rig'
import type { Rig } from './rig'

afterEach(closeRigs)

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
    }
    if (event.op === 'receive' && event.result !== 0 && !event.more) rig.start('receive', id)
    if (event.op === 'send') next()
  }
}

/** Receives on until the end, whenever there was no buffer. */
function goOn(rig: Rig): void {
  rig.onEvent = ({ op, id, result, more }) => {
    if (op === 'receive' && result !== 0 && !more) rig.start('receive', id)
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
    expect(digest(Buffer.concat(back))).toBe(digest(bytes))
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

  test('a large send to a peer that stalls has one completion, when the last byte is taken', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    peer.pause()
    await rig.block(id)
    // The answer to a byte proves that the driver has had its turn.
    peer.write('x')
    await rig.completion('receive', id)
    expect(rig.of('send', id)).toHaveLength(0)
    const seen = collect(peer)
    peer.resume()
    expect(await rig.completion('send', id)).toMatchObject({ result: blockedBytes, more: false })
    rig.start('shutdown', id)
    expect((await rig.completion('shutdown', id)).result).toBe(0)
    expect(digest(await seen)).toBe(digest(pattern(blockedBytes)))
    expect(rig.of('send', id)).toHaveLength(1)
    peer.destroy()
  })

  test('after shutdown the peer sees the end of stream and can still send', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const seen = collect(peer)
    rig.start('shutdown', id)
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
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    peer.pause()
    await rig.block(id)
    peer.resetAndDestroy()
    const sent = await rig.completion('send', id)
    expect([errno('EPIPE'), errno('ECONNRESET')]).toContain(sent.result)
    expect(sent.extra).toBeGreaterThan(0)
    expect(sent.extra).toBeLessThan(blockedBytes)
  })
})

describe.each(kinds)('%s: provided buffers', (kind) => {
  test('a receive brings bytes at the beginning of one of them, and goes on', async () => {
    const rig = makeRig(kind, {}, { count: 2, bytes: 4096 })
    const { id, peer } = await rig.pair()
    for (const message of ['one', 'two']) {
      peer.write(message)
      await rig.until(message, () => rig.events.some(({ bytes }) => bytes.toString() === message))
    }
    const receives = rig.of('receive', id)
    expect(receives.map(({ result, more }) => [result, more])).toEqual([
      [3, true],
      [3, true],
    ])
    for (const { extra } of receives) expect([0, 1]).toContain(extra)
    peer.destroy()
  })

  test('each is used once, until it is provided again', async () => {
    const rig = makeRig(kind, {}, { count: 4, bytes: 4096 })
    rig.keepsBuffers = true
    const { id, peer } = await rig.pair()
    for (let i = 0; i < 4; i++) {
      peer.write(`message ${i}`)
      await rig.until(`message ${i}`, () => rig.received(id).toString().endsWith(`message ${i}`))
    }
    peer.write('message 4')
    expect(await rig.last('receive', id)).toMatchObject({ result: errno('ENOBUFS'), more: false })
    expect(rig.kept.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3])
    // Nobody has written over what they brought.
    rig.kept.forEach(({ index, length }, i) => {
      expect(rig.memory(index).toString('latin1', 0, length)).toBe(`message ${i}`)
    })
    // A single one is enough to go on, and it is the one that is used.
    const { index } = rig.kept[2]!
    rig.provide(index)
    rig.start('receive', id)
    const next = await rig.event('the fifth', (e) => e.bytes.toString() === 'message 4')
    expect(next.extra).toBe(index)
    expect(rig.driver.stats().poolExhausted).toBeGreaterThan(0)
    peer.destroy()
  })

  test('that have run out lose nothing: the receive says so, and the next one goes on', async () => {
    const rig = makeRig(kind, {}, { count: 2, bytes: 4096 })
    rig.keepsBuffers = true
    const { id, peer } = await rig.pair()
    const other = await rig.pair()
    rig.onEvent = ({ op, id: to, result, more }) => {
      if (op !== 'receive' || more || result === 0) return
      rig.provideKept()
      rig.start('receive', to)
    }
    const bytes = pattern(1 << 20)
    peer.end(bytes)
    other.peer.end(bytes)
    for (const each of [id, other.id]) {
      await rig.event('end', (e) => e.op === 'receive' && e.id === each && e.result === 0)
      expect(digest(rig.received(each))).toBe(digest(bytes))
    }
    expect(rig.driver.stats().poolExhausted).toBeGreaterThan(0)
    peer.destroy()
    other.peer.destroy()
  })

  test('of many sizes are each filled at most', async () => {
    const rig = makeRig(kind, {}, { count: 0, bytes: 0 })
    const sizes = [1, 10, 100, 1000]
    sizes.forEach((size, index) => {
      rig.register(index, new ArrayBuffer(size))
      rig.provide(index)
    })
    const { id, peer } = await rig.pair()
    goOn(rig)
    const bytes = pattern(20_000)
    peer.end(bytes)
    await rig.event('end', (e) => e.op === 'receive' && e.result === 0)
    expect(digest(rig.received(id))).toBe(digest(bytes))
    const filled = rig.of('receive', id).filter(({ result }) => result > 0)
    for (const { result, extra } of filled) expect(result).toBeLessThanOrEqual(sizes[extra]!)
    expect(new Set(filled.map(({ extra }) => extra)).size).toBe(4)
    peer.destroy()
  })

  test('are those of all endpoints', async () => {
    const rig = makeRig(kind, {}, { count: 1, bytes: 4096 })
    const first = await rig.pair(false)
    const second = await rig.pair(false)
    for (const [{ id, peer }, text] of [
      [first, 'first'],
      [second, 'second'],
    ] as const) {
      await written(peer, text)
      rig.start('receive', id)
      const event = await rig.completion('receive', id)
      expect([event.bytes.toString(), event.extra]).toEqual([text, 0])
      peer.destroy()
    }
  })

  test('of which the most are asked for that the kernel accepts', async () => {
    const rig = makeRig(kind, { receiveBuffers: 32768 }, { count: 3, bytes: 4096 })
    const { id, peer } = await rig.pair()
    peer.write('x')
    expect((await rig.completion('receive', id)).result).toBe(1)
    peer.destroy()
  })

  test('may have the highest index there is', async () => {
    const rig = makeRig(kind, {}, { count: 0, bytes: 0 })
    rig.register(65535, new ArrayBuffer(100))
    rig.provide(65535)
    const { id, peer } = await rig.pair()
    peer.write('x')
    expect(await rig.completion('receive', id)).toMatchObject({ result: 1, extra: 65535 })
    peer.destroy()
  })

  test('may be registered anew with other memory while they are not provided', async () => {
    const rig = makeRig(kind, {}, { count: 1, bytes: 4096 })
    rig.keepsBuffers = true
    const { id, peer } = await rig.pair()
    peer.write('before')
    await rig.completion('receive', id)
    const { index } = rig.kept.pop()!
    const old = rig.memory(index)
    rig.register(index, new ArrayBuffer(10))
    rig.provide(index)
    await written(peer, 'and after that')
    goOn(rig)
    await rig.turn()
    if (!rig.isInFlight('receive', id)) rig.start('receive', id)
    await rig.until('the next', () => rig.events.some(({ result }) => result === 10))
    expect(old.toString('latin1', 0, 6)).toBe('before')
    expect(rig.received(id).toString()).toBe('beforeand after ')
    peer.destroy()
  })
})
