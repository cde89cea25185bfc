/** The ownership API on real sockets, both ends ours or node:net at the other: bytes, ends, resets, cancellation, order. */
import { once } from 'node:events'
import net from 'node:net'
import type { Socket } from 'node:net'
import type { Connection } from '../../src/core/index'
import { digest, listening, pattern, readAll } from '../e2e/wire'
import { drivers, expectWorks, loadCore, makePair, read, socketPath, until } from './real'
import type { Core, Pair } from './real'

const code = (value: string) => expect.objectContaining({ code: value })

describe.each(drivers)('%s', (name) => {
  let core: Core

  beforeAll(() => {
    core = loadCore(name)
  })

  afterEach(() => {
    expect(core.driver.stats()).toMatchObject({
      unexpectedCompletions: 0,
      endpoints: 0,
      inFlight: 0,
    })
  })

  describe.each(['TCP', 'a Unix socket'])('over %s', (kind) => {
    let pair: Pair

    beforeEach(async () => {
      pair = await makePair(core, kind === 'TCP' ? undefined : socketPath())
    })

    afterEach(() => pair.close())

    test('bytes of both directions arrive as they were sent, all at once', async () => {
      const [out, back] = [pattern(5 << 20, 1), pattern(5 << 20, 2)]
      const results = await Promise.all([
        pair.near.send(out),
        pair.far.send(back),
        read(pair.far, out.length).then(digest),
        read(pair.near, back.length).then(digest),
      ])
      expect(results.map((result) => (typeof result === 'string' ? result : result.ok))).toEqual([
        true,
        true,
        digest(out),
        digest(back),
      ])
    })

    test('received leases that are sent back come back as they were', async () => {
      const bytes = pattern(3 << 20)
      const echo = (async () => {
        for await (const lease of pair.far) (await pair.far.send(lease)).buffer.release()
      })()
      const sending = pair.near.send(bytes)
      expect(digest(await read(pair.near, bytes.length))).toBe(digest(bytes))
      expect((await sending).ok).toBe(true)
      await pair.near.shutdown()
      await echo
    })

    test('many sends at one time leave in the order of the calls, leases and bytes', async () => {
      const pool = new core.Pool({ count: 100, leaseBytes: 100 })
      const parts = Array.from({ length: 500 }, (_, i) => pattern(1 + ((i * 37) % 5000), i))
      const sends = parts.map((part) => {
        const lease = part.length <= 100 ? pool.acquire() : undefined
        if (lease === undefined) return pair.near.send(part)
        lease.bytes.set(part)
        lease.length = part.length
        return pair.near.send(lease)
      })
      const all = Buffer.concat(parts)
      expect(digest(await read(pair.far, all.length))).toBe(digest(all))
      expect((await Promise.all(sends)).map(({ ok, result }) => ok && result)).toEqual(
        parts.map((part) => part.length),
      )
    })

    test('shutdown() ends one direction, after all that was sent; the other goes on', async () => {
      const bytes = pattern(1 << 20)
      const sending = pair.near.send(bytes)
      const shutdown = pair.near.shutdown()
      expect(digest(await read(pair.far))).toBe(digest(bytes))
      await Promise.all([sending, shutdown])
      expect(await pair.far.receive()).toBeNull()
      expect(await pair.near.send(Buffer.from('x'))).toMatchObject({
        ok: false,
        error: { code: 'EPIPE' },
      })
      await pair.far.send(Buffer.from('answer'))
      expect(String(await read(pair.near, 6))).toBe('answer')
      await pair.far.shutdown()
      expect(await pair.near.receive()).toBeNull()
    })

    test('a send larger than all buffers that is cancelled was sent up to where it says, and nothing follows', async () => {
      const abort = new AbortController()
      const bytes = pattern(60 << 20)
      const waiting = pair.near.send(bytes, { signal: abort.signal })
      const behind = pair.near.send(Buffer.from('behind'))
      const first = (await pair.far.receive())!
      const head = Buffer.from(first.bytes)
      first.release()
      abort.abort()
      const sent = await waiting
      expect(sent).toMatchObject({ ok: false, error: { code: 'ECANCELED' } })
      expect(await behind).toMatchObject({ ok: false, result: 0 })
      expect(sent.result).toBeGreaterThan(0)
      expect(sent.result).toBeLessThan(bytes.length)
      void pair.near.close()
      const received = Buffer.concat([head, await read(pair.far)])
      expect(received).toHaveLength(sent.result)
      expect(digest(received)).toBe(digest(bytes.subarray(0, sent.result)))
    })

    test('sends that wait and are cancelled are left out, the others arrive', async () => {
      const abort = new AbortController()
      const large = pattern(8 << 20)
      const first = pair.near.send(large)
      const rest = ['a', 'b', 'c', 'd', 'e'].map((text, i) =>
        pair.near.send(Buffer.from(text), i % 2 === 1 ? { signal: abort.signal } : {}),
      )
      abort.abort()
      const received = await read(pair.far, large.length + 3)
      expect(String(received.subarray(large.length))).toBe('ace')
      expect((await first).ok).toBe(true)
      expect((await Promise.all(rest)).map(({ ok, result }) => [ok, result])).toEqual(
        [1, 0, 1, 0, 1].map((count) => [count === 1, count]),
      )
      await expectWorks(pair)
    })

    test('an aborted receive() leaves the bytes to the next one', async () => {
      const abort = new AbortController()
      const reason = new Error('enough')
      const aborted = pair.far.receive({ signal: abort.signal })
      abort.abort(reason)
      await expect(aborted).rejects.toBe(reason)
      await expect(pair.far.receive({ signal: abort.signal })).rejects.toBe(reason)
      await expectWorks(pair)
    })

    test('a second receive() is refused, the first one is served', async () => {
      const first = pair.far.receive()
      await expect(pair.far.receive()).rejects.toEqual(code('ERR_URING_RECEIVE_PENDING'))
      await pair.near.send(Buffer.from('x'))
      const lease = (await first)!
      expect(String(lease.bytes)).toBe('x')
      lease.release()
    })

    test('close() ends what waits, and the peer sees the end', async () => {
      const receiving = expect(pair.near.receive()).rejects.toEqual(code('ERR_URING_CLOSED'))
      await Promise.all([pair.near.close(), pair.near.close()])
      await receiving
      expect(await pair.far.receive()).toBeNull()
      await expect(pair.near.send(Buffer.from('x'))).rejects.toEqual(code('ERR_URING_CLOSED'))
      await expect(pair.near.shutdown()).rejects.toEqual(code('ERR_URING_CLOSED'))
      expect(() => pair.near.handOff()).toThrow(code('ERR_URING_CLOSED'))
    })

    test('what was sent before close() arrives, in one operation or several', async () => {
      const sends = ['1', '2', '3', '4'].map((text) => pair.near.send(Buffer.from(text)))
      void pair.near.close()
      expect(String(await read(pair.far))).toBe('1234')
      expect((await Promise.all(sends)).every(({ ok }) => ok)).toBe(true)
    })

    test('take() hands over what was received and not taken', async () => {
      const receiving = pair.far.receive()
      await pair.near.send(Buffer.from('first'))
      ;(await receiving)!.release()
      const bytes = pattern(200_000)
      const sending = pair.near.send(bytes)
      const socket = core.toReadiness(pair.far)
      const chunks: Buffer[] = []
      for (let left = bytes.length; left > 0;) {
        const into = Buffer.alloc(left)
        const readable = new Promise<void>((resolve) => (socket.onReadable = resolve))
        const count = socket.tryRead(into)
        if (count < 0) {
          await readable
          continue
        }
        chunks.push(into.subarray(0, count))
        left -= count
      }
      expect(digest(Buffer.concat(chunks))).toBe(digest(bytes))
      await sending
      await expect(pair.far.receive()).rejects.toEqual(code('ERR_URING_HANDED_OFF'))
      await socket.close()
    })

    test('leaving an iteration early closes the connection', async () => {
      await pair.near.send(Buffer.from('x'))
      for await (const lease of pair.far) {
        lease.release()
        break
      }
      await expect(pair.far.receive()).rejects.toEqual(code('ERR_URING_CLOSED'))
      expect(await pair.near.receive()).toBeNull()
    })

    test('names are those of the sockets; a Unix socket has none', async () => {
      if (kind === 'TCP') {
        expect(pair.near.remoteName).toEqual(pair.listener.localName)
        expect(pair.far.remoteName).toEqual(pair.near.localName)
        expect(pair.near.localName).toMatchObject({ address: '127.0.0.1', family: 'IPv4' })
      } else {
        expect([pair.near.localName, pair.near.remoteName]).toEqual([undefined, undefined])
      }
    })
  })

  describe('over TCP', () => {
    let pair: Pair

    beforeEach(async () => {
      pair = await makePair(core)
    })

    afterEach(() => pair.close())

    test('reset() is seen as ECONNRESET, by a receive that waits and by the next', async () => {
      const receiving = pair.far.receive()
      const failed = expect(receiving).rejects.toMatchObject({
        code: 'ECONNRESET',
        syscall: 'read',
      })
      await pair.near.reset()
      await failed
      await expect(pair.far.receive()).rejects.toEqual(code('ECONNRESET'))
    })

    test('close() with bytes that nobody has taken is seen as ECONNRESET', async () => {
      const receiving = pair.near.receive()
      await pair.far.send(Buffer.from('taken'))
      ;(await receiving)!.release()
      await pair.far.send(Buffer.from('not taken'))
      await pair.near.close()
      await expect(pair.far.receive()).rejects.toEqual(code('ECONNRESET'))
    })

    test('a send to a peer that was reset fails, and its lease is back', async () => {
      const lease = new core.Pool({ count: 1, leaseBytes: 16 << 20 }).acquire()!
      const sending = pair.near.send(lease)
      ;(await pair.far.receive())!.release()
      await pair.far.reset()
      const sent = await sending
      expect(sent.ok).toBe(false)
      expect(['ECONNRESET', 'EPIPE']).toContain(!sent.ok && sent.error.code)
      expect(lease.state).toBe('owned')
      expect(lease.bytes).toHaveLength(16 << 20)
      lease.release()
    })

    test('options are set, and refused after close()', async () => {
      pair.near.setNoDelay()
      pair.near.setNoDelay(false)
      pair.near.setKeepAlive(true, 5000)
      pair.near.setKeepAlive()
      for (const delay of [-1, 1.5, NaN, '5' as unknown as number]) {
        expect(() => pair.near.setKeepAlive(true, delay)).toThrow(code('ERR_OUT_OF_RANGE'))
      }
      await expectWorks(pair)
      await pair.near.close()
      expect(() => pair.near.setNoDelay()).toThrow(code('ERR_URING_CLOSED'))
    })
  })

  describe('with node:net', () => {
    test('a client of ours: bytes both ways, half-closed, in the end closed', async () => {
      const server = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket))
      const port = await listening(server)
      const connection = await core.connect({ port, host: '127.0.0.1' })
      const bytes = pattern(3 << 20)
      const sending = connection.send(bytes).then(() => connection.shutdown())
      expect(digest(await read(connection))).toBe(digest(bytes))
      await sending
      await connection.close()
      server.close()
      await once(server, 'close')
    })

    test('a server of ours: many clients at one time, each its own bytes', async () => {
      const listener = await core.listen({ port: 0, host: '127.0.0.1' })
      const served: Promise<void>[] = []
      const echo = async (connection: Connection): Promise<void> => {
        for await (const lease of connection) (await connection.send(lease)).buffer.release()
        await connection.shutdown()
        await connection.close()
      }
      const serving = (async () => {
        for await (const connection of listener) served.push(echo(connection))
      })()
      const { port } = listener.localName!
      const digests = Array.from({ length: 50 }, async (_, i) => {
        const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
        const bytes = pattern(100_000, i)
        client.end(bytes)
        return digest(await readAll(client)) === digest(bytes)
      })
      expect(await Promise.all(digests)).toEqual(Array(50).fill(true))
      await listener.close()
      await serving
      await Promise.all(served)
    })
  })

  describe('a listener', () => {
    test('gives connections in order, and null once it is closed', async () => {
      const listener = await core.listen({ port: 0, host: '127.0.0.1' })
      const { port } = listener.localName!
      const near = await core.connect({ port, host: '127.0.0.1' })
      const other = await core.connect({ port, host: '127.0.0.1' })
      const far = [(await listener.accept())!, (await listener.accept())!]
      expect(far.map((connection) => connection.remoteName!.port)).toEqual([
        near.localName!.port,
        other.localName!.port,
      ])
      const waiting = [listener.accept(), listener.accept()]
      const closing = listener.close()
      expect(listener.close()).toBe(closing)
      expect(await Promise.all(waiting)).toEqual([null, null])
      await closing
      expect(await listener.accept()).toBeNull()
      expect(listener.localName).toBeUndefined()
      await expect(core.connect({ port, host: '127.0.0.1' })).rejects.toEqual(code('ECONNREFUSED'))
      await Promise.all([near, other, ...far].map((connection) => connection.close()))
    })

    test('closes connections that nobody has taken; those that were taken go on', async () => {
      const listener = await core.listen({ port: 0, host: '127.0.0.1' })
      const { port } = listener.localName!
      const near = await core.connect({ port, host: '127.0.0.1' })
      const far = (await listener.accept())!
      const untaken: Socket[] = []
      for (let i = 0; i < 5; i++) untaken.push(net.connect(port, '127.0.0.1').on('error', () => {}))
      await until(() => core.driver.stats().endpoints === 3 + untaken.length)
      const ends = untaken.map((socket) => once(socket.resume(), 'close'))
      await listener.close()
      await Promise.all(ends)
      await expectWorks({ near, far } as Pair)
      await Promise.all([near.close(), far.close()])
    })

    test('an IPv6 listener takes IPv4 too, as that of node:net', async () => {
      const listener = await core.listen({ port: 0 })
      const { port } = listener.localName!
      for (const host of ['127.0.0.1', '::1']) {
        const near = await core.connect({ port, host })
        const far = (await listener.accept())!
        await expectWorks({ near, far } as Pair)
        await Promise.all([near.close(), far.close()])
      }
      await listener.close()
    })
  })

  test('connect() that is aborted rejects with the reason, before it begins and while it looks up', async () => {
    const listener = await core.listen({ port: 0, host: '127.0.0.1' })
    const { port } = listener.localName!
    const reason = new Error('enough')
    const abort = new AbortController()
    const looking = core.connect({ port, host: 'localhost', signal: abort.signal })
    abort.abort(reason)
    await expect(looking).rejects.toBe(reason)
    await expect(core.connect({ port, signal: abort.signal })).rejects.toBe(reason)
    await listener.close()
  })
})
