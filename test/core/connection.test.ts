/** The ownership API over a channel: what is lent comes back, what is dropped is cancelled, nothing received is lost. */
import { active } from '../../src/core/active'
import { Connection, connect } from '../../src/core/connection'
import type { Driver } from '../../src/core/driver'
import type { Lease } from '../../src/core/lease'
import { Pool } from '../../src/core/pool'
import type { ScriptedKernel } from './scripted-binding'
import { errno } from './scripted-binding'
import { Recorder, makeDriver, settle } from './fixtures'

// Ticks run by Node only: run from inside a test they would settle promises in the middle of its statements.
jest.mock('../../src/core/ticks', () => ({ runTicks: jest.fn() }))
jest.mock('../../src/core/active', () => ({
  active: { name: 'uring', reason: 'a script', driver: undefined },
}))

const code = (value: string) => expect.objectContaining({ code: value })

let kernel: ScriptedKernel
let driver: Driver
let pool: Pool
let id: number
let connection: Connection
let stopWaking: () => void

/** What a promise came to so far, without waiting for it. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  let state = 'pending'
  promise.then(
    () => (state = 'fulfilled'),
    () => (state = 'rejected'),
  )
  await settle()
  return state
}

const textOf = (lease: Lease | null): string | null =>
  lease === null ? null : Buffer.from(lease.bytes).toString('latin1')

beforeEach(() => {
  ;({ kernel, driver } = makeDriver())
  stopWaking = kernel.wakeByItself()
  ;(active as { driver: Driver | undefined }).driver = driver
  pool = new Pool(driver, { count: 2, leaseBytes: 8 })
  id = kernel.endpoint()
  connection = new Connection(driver, id, pool)
})

afterEach(async () => {
  await settle()
  stopWaking()
  kernel.assertClean()
  expect(kernel.uncaught).toEqual([])
})

describe('receive', () => {
  test('nothing is received that nobody asked for', () => {
    expect(kernel.taken()).toEqual([])
  })

  test('answers the bytes as a lease that is the caller’s: later data does not change it (R3)', async () => {
    const first = connection.receive()
    kernel.deliver(kernel.received(id, 'one'))
    const lease = (await first)!
    expect(lease.state).toBe('owned')
    const second = connection.receive()
    kernel.deliver(kernel.received(id, 'two'))
    expect(textOf(await second)).toBe('two')
    expect(textOf(lease)).toBe('one')
  })

  test('more than a lease holds comes in several, in order', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'abcdefghIJ'))
    expect(textOf(await pending)).toBe('abcdefgh')
    expect(textOf(await connection.receive())).toBe('IJ')
  })

  test('what arrives between two receives is kept, in order', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, '1'), kernel.received(id, '2'))
    kernel.deliver(kernel.received(id, '3'), kernel.receiveEnded(id, 0))
    const texts: (string | null)[] = []
    for (let next = await pending; ; next = await connection.receive()) {
      texts.push(textOf(next))
      if (next === null) break
      next.release()
    }
    expect(texts).toEqual(['1', '2', '3', null])
    expect(await connection.receive()).toBeNull()
  })

  test('after one receive the kernel is told to stop, and no further lease is used up (R2)', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, '1'), kernel.received(id, '2'))
    await pending
    expect(pool.available).toBe(1)
    expect(kernel.isCancelRequested(id, 'receive')).toBe(true)
    expect(textOf(await connection.receive())).toBe('2')
  })

  test('an exhausted pool is back-pressure: the rest waits, the kernel is told to stop (R2)', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'aaaaaaaabbbbbbbbcc'))
    const first = (await pending)!
    const second = (await connection.receive())!
    const third = connection.receive()
    expect(await stateOf(third)).toBe('pending')
    expect(kernel.isCancelRequested(id, 'receive')).toBe(true)
    expect(driver.arena.bytesInUse).toBe(2 * 256)
    first.release()
    expect(textOf(await third)).toBe('cc')
    second.release()
  })

  test('two connections on one pool: the one that has data gets the lease, whoever waits longer', async () => {
    const otherId = kernel.endpoint()
    const other = new Connection(driver, otherId, pool)
    const leases = [pool.acquire()!, pool.acquire()!]
    const idle = connection.receive()
    const busy = other.receive()
    leases[0]!.release()
    await settle()
    // Now `connection` was woken and waits for its silent peer, with a lease to spare.
    if (kernel.isInFlight(otherId, 'receive')) kernel.deliver(kernel.received(otherId, 'data'))
    expect(await stateOf(busy)).toBe('fulfilled')
    expect(await stateOf(idle)).toBe('pending')
  })

  test('a receive that was aborted while it waited for the pool does not swallow the wake-up', async () => {
    const otherId = kernel.endpoint()
    const other = new Connection(driver, otherId, pool)
    const leases = [pool.acquire()!, pool.acquire()!]
    const abort = new AbortController()
    const aborted = connection.receive({ signal: abort.signal })
    const wanted = other.receive()
    abort.abort()
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' })
    leases[0]!.release()
    await settle()
    expect(kernel.isInFlight(otherId, 'receive')).toBe(true)
    kernel.deliver(kernel.receiveEnded(otherId, 0))
    expect(await wanted).toBeNull()
  })

  test('an error is a system error of read, every time, after the data before it', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'x'), kernel.receiveEnded(id, errno('ECONNRESET')))
    expect(textOf(await pending)).toBe('x')
    const failed = { code: 'ECONNRESET', syscall: 'read', errno: errno('ECONNRESET') }
    await expect(connection.receive()).rejects.toMatchObject(failed)
    await expect(connection.receive()).rejects.toMatchObject(failed)
  })

  test('one at a time: a second is refused and the first is unharmed', async () => {
    const first = connection.receive()
    await expect(connection.receive()).rejects.toEqual(code('ERR_URING_RECEIVE_PENDING'))
    kernel.deliver(kernel.received(id, 'x'))
    expect(textOf(await first)).toBe('x')
  })

  test('aborted: rejects with the reason, and bytes that come later are the next receive’s (R1)', async () => {
    const abort = new AbortController()
    const pending = connection.receive({ signal: abort.signal })
    const reason = new Error('enough')
    abort.abort(reason)
    await expect(pending).rejects.toBe(reason)
    kernel.deliver(kernel.received(id, 'late'))
    expect(textOf(await connection.receive())).toBe('late')
  })

  test('a signal that is aborted already starts nothing', async () => {
    await expect(connection.receive({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect(kernel.taken()).toEqual([])
    const pending = connection.receive()
    kernel.deliver(kernel.receiveEnded(id, 0))
    expect(await pending).toBeNull()
  })

  test('a late abort of a receive that was answered does not harm the next one', async () => {
    const abort = new AbortController()
    const first = connection.receive({ signal: abort.signal })
    kernel.deliver(kernel.received(id, '1'))
    const second = connection.receive()
    // Before the microtasks that would have taken the listener off.
    abort.abort()
    expect(textOf(await first)).toBe('1')
    kernel.deliver(kernel.received(id, '2'))
    expect(await stateOf(second)).toBe('fulfilled')
  })

  test('no listener stays on the signal', async () => {
    const { signal } = new AbortController()
    const remove = jest.spyOn(signal, 'removeEventListener')
    const pending = connection.receive({ signal })
    kernel.deliver(kernel.received(id, '1'))
    await pending
    expect(remove).toHaveBeenCalledTimes(1)
  })
})

describe('iteration', () => {
  test('gives every lease until the end and leaves the connection open', async () => {
    const texts: (string | null)[] = []
    const loop = (async () => {
      for await (const lease of connection) {
        texts.push(textOf(lease))
        lease.release()
      }
    })()
    await settle()
    kernel.deliver(kernel.received(id, 'a'), kernel.received(id, 'b'), kernel.receiveEnded(id, 0))
    await loop
    expect(texts).toEqual(['a', 'b'])
    expect(connection.channel.isClosing).toBe(false)
  })

  test('left early, it closes the connection (C3)', async () => {
    const loop = (async () => {
      for await (const lease of connection) {
        lease.release()
        break
      }
    })()
    await settle()
    kernel.deliver(kernel.received(id, 'a'))
    await settle()
    expect(kernel.isClosing(id)).toBe(true)
    kernel.deliver(kernel.closed(id))
    await loop
  })

  test('an error ends it with the error', async () => {
    const loop = (async () => {
      for await (const lease of connection) lease.release()
    })()
    const seen = expect(loop).rejects.toEqual(code('ECONNRESET'))
    await settle()
    kernel.deliver(kernel.receiveEnded(id, errno('ECONNRESET')))
    await settle()
    kernel.deliver(kernel.closed(id))
    await seen
  })
})

describe('send', () => {
  test('a lease comes back with the result, and cannot be used until then', async () => {
    const lease = pool.acquire()!
    lease.bytes.set(Buffer.from('hello'))
    lease.length = 5
    const sending = connection.send(lease)
    expect(lease.state).toBe('inFlight')
    expect(() => lease.bytes).toThrow(code('ERR_URING_LEASE_IN_FLIGHT'))
    kernel.deliver(kernel.sent(id))
    expect(await sending).toEqual({ ok: true, result: 5, buffer: lease })
    expect(lease.state).toBe('owned')
    expect(kernel.wire(id)).toBe('hello')
    lease.release()
  })

  test('a lease comes back with an error, which tells how much was taken', async () => {
    const lease = pool.acquire()!
    const sending = connection.send(lease)
    kernel.deliver(kernel.sent(id, errno('ECONNRESET'), 3))
    expect(await sending).toMatchObject({
      ok: false,
      result: 3,
      error: { code: 'ECONNRESET', syscall: 'write' },
    })
    expect(lease.state).toBe('owned')
  })

  test('a lease that is refused comes back, too', async () => {
    const sending = connection.send(Buffer.from('x'))
    kernel.deliver(kernel.sent(id, errno('EPIPE')))
    await sending
    const lease = pool.acquire()!
    expect(await connection.send(lease)).toMatchObject({ ok: false, result: 0 })
    expect(lease.state).toBe('owned')
    lease.release()
  })

  test('bytes are copied: the caller may change them at once (W2)', async () => {
    const bytes = Buffer.from('before')
    const sending = connection.send(bytes)
    bytes.fill('x')
    kernel.deliver(kernel.sent(id))
    expect(await sending).toEqual({ ok: true, result: 6, buffer: bytes })
    expect(kernel.wire(id)).toBe('before')
  })

  test('leases and bytes leave in the order of the calls', async () => {
    const lease = pool.acquire()!
    lease.bytes.fill(0x4c)
    const all = [
      connection.send(Buffer.from('1')),
      connection.send(lease),
      connection.send(Buffer.from('2')),
    ]
    for (let i = 0; i < 3; i++) kernel.deliver(kernel.sent(id))
    await Promise.all(all)
    expect(kernel.wire(id)).toBe('1LLLLLLLL2')
  })

  test('a lease that is in flight or released cannot be sent again', async () => {
    const lease = pool.acquire()!
    const sending = connection.send(lease)
    await expect(connection.send(lease)).rejects.toEqual(code('ERR_URING_LEASE_IN_FLIGHT'))
    kernel.deliver(kernel.sent(id))
    ;(await sending).buffer.release()
    await expect(connection.send(lease)).rejects.toEqual(code('ERR_URING_LEASE_RELEASED'))
    expect(kernel.count(id, 'send')).toBe(1)
  })

  test('a lease that was received can be sent back, in place', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'echo'))
    const sending = connection.send((await pending)!)
    kernel.deliver(kernel.sent(id))
    ;(await sending).buffer.release()
    expect(kernel.wire(id)).toBe('echo')
    expect(pool.available).toBe(2)
  })

  test('cancelled before it started: nothing taken, the stream goes on', async () => {
    const abort = new AbortController()
    const lease = pool.acquire()!
    const first = connection.send(Buffer.from('1'))
    const second = connection.send(lease, { signal: abort.signal })
    abort.abort()
    const third = connection.send(Buffer.from('3'))
    expect(await second).toMatchObject({ ok: false, result: 0, error: { code: 'ECANCELED' } })
    expect(lease.state).toBe('owned')
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect((await first).ok && (await third).ok).toBe(true)
    expect(kernel.wire(id)).toBe('13')
  })

  test('cut short: the result says how far it got, the lease is back only then, nothing follows', async () => {
    const abort = new AbortController()
    const lease = pool.acquire()!
    const sending = connection.send(lease, { signal: abort.signal })
    abort.abort()
    expect(await stateOf(sending)).toBe('pending')
    expect(lease.state).toBe('inFlight')
    kernel.deliver(kernel.sent(id, errno('ECANCELED'), 4))
    expect(await sending).toMatchObject({ ok: false, result: 4, error: { code: 'ECANCELED' } })
    expect(await connection.send(Buffer.from('x'))).toMatchObject({ ok: false, result: 0 })
  })

  test('cancelled too late: it was sent, and says so', async () => {
    const abort = new AbortController()
    const sending = connection.send(Buffer.from('abc'), { signal: abort.signal })
    abort.abort()
    kernel.deliver(kernel.sent(id))
    expect(await sending).toMatchObject({ ok: true, result: 3 })
  })

  test('the number that may wait is bounded; one more is refused whole', async () => {
    const all = Array.from({ length: 1025 }, () => connection.send(Buffer.from('.')))
    const lease = pool.acquire()!
    expect(await connection.send(lease)).toMatchObject({
      ok: false,
      result: 0,
      error: { code: 'ENOBUFS' },
    })
    expect(lease.state).toBe('owned')
    while (kernel.isInFlight(id, 'send')) kernel.deliver(kernel.sent(id))
    expect((await Promise.all(all)).every(({ ok }) => ok)).toBe(true)
    expect(kernel.wire(id)).toHaveLength(1025)
  })

  test('no listener stays on the signal', async () => {
    const { signal } = new AbortController()
    const add = jest.spyOn(signal, 'addEventListener')
    const remove = jest.spyOn(signal, 'removeEventListener')
    const sending = connection.send(Buffer.from('1'), { signal })
    kernel.deliver(kernel.sent(id))
    await sending
    expect(remove).toHaveBeenCalledTimes(add.mock.calls.length)
  })
})

describe('shutdown', () => {
  test('resolves when the FIN is out, after the sends', async () => {
    const sending = connection.send(Buffer.from('x'))
    const shutdown = connection.shutdown()
    kernel.deliver(kernel.sent(id))
    await sending
    expect(await stateOf(shutdown)).toBe('pending')
    kernel.deliver(kernel.shutDown(id))
    await shutdown
    expect(kernel.hasFin(id)).toBe(true)
  })

  test('a peer that is gone already (ENOTCONN) is no error; another error is', async () => {
    const gone = connection.shutdown()
    kernel.deliver(kernel.shutDown(id, errno('ENOTCONN')))
    await gone
    const other = new Connection(driver, kernel.endpoint(), pool)
    const failed = other.shutdown()
    kernel.deliver(kernel.shutDown(other.channel.id, errno('EIO')))
    await expect(failed).rejects.toMatchObject({ code: 'EIO', syscall: 'shutdown' })
  })

  test('called twice, each call settles, and one FIN is sent', async () => {
    const first = connection.shutdown()
    const second = connection.shutdown()
    second.catch(() => {})
    expect(kernel.taken()).toEqual(['shutdown'])
    kernel.deliver(kernel.shutDown(id))
    expect(await stateOf(first)).not.toBe('pending')
    expect(await stateOf(second)).not.toBe('pending')
  })
})

describe('close', () => {
  test('ends a waiting receive and every send, then resolves, once for all callers', async () => {
    const lease = pool.acquire()!
    const receiving = connection.receive()
    const sends = [connection.send(lease), connection.send(Buffer.from('2'))]
    const closes = [connection.close(), connection.reset(), connection.close()]
    await expect(receiving).rejects.toEqual(code('ERR_URING_CLOSED'))
    expect(await stateOf(closes[0]!)).toBe('pending')
    // The kernel may still read the lease: it is not back before the completion (C2).
    expect(lease.state).toBe('inFlight')
    kernel.deliver(kernel.closed(id))
    for (const sending of sends) {
      expect(await sending).toMatchObject({ ok: false, result: 0, error: { code: 'ECANCELED' } })
    }
    await Promise.all(closes)
    expect(lease.state).toBe('owned')
    expect(kernel.count(id, 'close')).toBe(1)
  })

  test('leases that were ready and not taken go back to the pool', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'aaaaaaaabb'))
    ;(await pending)!.release()
    expect(pool.available).toBe(1)
    void connection.close()
    expect(pool.available).toBe(2)
    kernel.deliver(kernel.closed(id))
  })

  test('reset() makes the peer see a reset', async () => {
    void connection.reset()
    kernel.taken()
    expect(kernel.isReset(id)).toBe(true)
    kernel.deliver(kernel.closed(id))
  })

  test('afterwards every call fails with ERR_URING_CLOSED', async () => {
    void connection.close()
    const closed = code('ERR_URING_CLOSED')
    await expect(connection.receive()).rejects.toEqual(closed)
    await expect((async () => connection.send(Buffer.from('x')))()).rejects.toEqual(closed)
    await expect((async () => connection.shutdown())()).rejects.toEqual(closed)
    expect(() => connection.take()).toThrow(closed)
    expect(connection.localName).toBeUndefined()
    kernel.deliver(kernel.closed(id))
  })

  test('an abort after close sends no command to the closing endpoint', async () => {
    const abort = new AbortController()
    const sending = connection.send(Buffer.from('x'), { signal: abort.signal })
    void connection.close()
    abort.abort()
    expect(kernel.taken()).toEqual(['close'])
    kernel.deliver(kernel.closed(id))
    expect((await sending).ok).toBe(false)
  })

  test('`await using` closes and waits; `using` closes', async () => {
    const scoped = (async () => {
      await using inner = connection
      expect(inner).toBe(connection)
    })()
    await settle()
    expect(kernel.isClosing(id)).toBe(true)
    expect(await stateOf(scoped)).toBe('pending')
    kernel.deliver(kernel.closed(id))
    await scoped

    const other = kernel.endpoint()
    {
      using inner = new Connection(driver, other, pool)
      expect(inner.channel.isClosing).toBe(false)
    }
    expect(kernel.isClosing(other)).toBe(true)
    kernel.deliver(kernel.closed(other))
  })
})

describe('take', () => {
  async function readAll(seen: Recorder): Promise<string[]> {
    const channel = connection.take()
    channel.handler = seen
    channel.readStart()
    for (let i = 0; i < 10; i++) await settle()
    return seen.drain()
  }

  test('hands over what was received and not taken, in order, then what comes later (R1)', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'aaaaaaaabbbbbbbbcc'), kernel.received(id, 'dd'))
    const lease = (await pending)!
    const seen = new Recorder()
    expect(await readAll(seen)).toEqual(['bytes bbbbbbbb', 'bytes cc', 'bytes dd'])
    kernel.deliver(kernel.received(id, 'ee'))
    expect(seen.drain()).toEqual(['bytes ee'])
    lease.release()
    expect(pool.available).toBe(2)
  })

  test('hands over several leases that were ready in the order they were filled', async () => {
    const roomy = new Pool(driver, { count: 4, leaseBytes: 2 })
    const otherId = kernel.endpoint()
    connection = new Connection(driver, otherId, roomy)
    const pending = connection.receive()
    kernel.deliver(kernel.received(otherId, '11223344'))
    ;(await pending)!.release()
    expect(await readAll(new Recorder())).toEqual(['bytes 22', 'bytes 33', 'bytes 44'])
    expect(roomy.available).toBe(4)
  })

  test.each([
    [0, 'end'],
    [errno('ECONNRESET'), `receive error ${errno('ECONNRESET')}`],
  ])('hands over the end (%i) behind the data', async (status, event) => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'aaaaaaaabb'), kernel.receiveEnded(id, status))
    ;(await pending)!.release()
    expect(await readAll(new Recorder())).toEqual(['bytes bb', event])
  })

  test('hands over an end that the connection had seen already', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.receiveEnded(id, 0))
    await pending
    expect(await readAll(new Recorder())).toEqual(['end'])
  })

  test('is refused while a receive() waits', () => {
    connection.receive().catch(() => {})
    expect(() => connection.take()).toThrow(code('ERR_URING_RECEIVE_PENDING'))
  })

  test('afterwards the connection is of no use, and closing it does not close the channel', async () => {
    connection.take()
    const taken = code('ERR_URING_TAKEN')
    await expect(connection.receive()).rejects.toEqual(taken)
    await expect((async () => connection.send(Buffer.from('x')))()).rejects.toEqual(taken)
    expect(() => connection.take()).toThrow(taken)
    await connection.close()
    expect(kernel.taken()).toEqual([])
  })
})

describe('connect', () => {
  test('resolves when the connect has completed', async () => {
    const connecting = connect({ port: 80, host: '127.0.0.1', pool })
    await settle()
    expect(kernel.addresses).toEqual(['127.0.0.1 80'])
    const newest = id + 1
    kernel.deliver(kernel.connected(newest))
    expect((await connecting).channel.id).toBe(newest)
  })

  test.each([
    ['the kernel refuses it at once', true],
    ['it fails later', false],
  ])('rejects in Node’s shape when %s, and leaves no endpoint', async (_when, atOnce) => {
    if (atOnce) kernel.refuses.connect = errno('ECONNREFUSED')
    const connecting = connect({ port: 80, host: '127.0.0.1', pool })
    const rejected = expect(connecting).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: '127.0.0.1',
      port: 80,
      message: 'connect ECONNREFUSED 127.0.0.1:80',
    })
    await settle()
    if (!atOnce) kernel.deliver(kernel.connected(id + 1, errno('ECONNREFUSED')))
    await settle()
    kernel.deliver(kernel.closed(id + 1))
    await rejected
    expect(kernel.endpointCount).toBe(1)
  })

  test('aborted: rejects with the reason once the socket is gone', async () => {
    const abort = new AbortController()
    const connecting = connect({ path: '/somewhere', signal: abort.signal, pool })
    await settle()
    const reason = new Error('enough')
    abort.abort(reason)
    const rejected = expect(connecting).rejects.toBe(reason)
    await settle()
    kernel.deliver(kernel.closed(id + 1))
    await rejected
    expect(kernel.endpointCount).toBe(1)
  })

  test.each([-1, 65536, 1.5, NaN])('port %d is refused in Node’s shape', async (port) => {
    await expect(connect({ port, host: '127.0.0.1' })).rejects.toEqual(code('ERR_SOCKET_BAD_PORT'))
    expect(kernel.endpointCount).toBe(1)
  })

  test('without a driver it says so', async () => {
    ;(active as { driver: Driver | undefined }).driver = undefined
    await expect(connect({ port: 80 })).rejects.toEqual(code('ERR_URING_DRIVER'))
  })
})
