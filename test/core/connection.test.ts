/** The ownership API over a channel: what is lent comes back, what is dropped is cancelled, nothing received is lost. */
import { requireDriver } from '../../src/core/active'
import { Connection } from '../../src/core/connection'
import { connect } from '../../src/core/connect'
import type { Driver } from '../../src/core/driver'
import { UringError } from '../../src/core/errors'
import type { Lease } from '../../src/core/lease'
import { Pool } from '../../src/core/pool'
import { leasesMax } from '../../src/core/receiving'
import type { ScriptedKernel } from './scripted-kernel'
import { errno } from './scripted-kernel'
import { Recorder, makeDriver, settle } from './fixtures'

// Ticks run by Node only: run from inside a test they would settle promises in the middle of its statements.
jest.mock('../../src/core/ticks', () => ({ runTicks: jest.fn() }))
jest.mock('../../src/core/active', () => ({ requireDriver: jest.fn() }))

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
  jest.mocked(requireDriver).mockReturnValue(driver)
  pool = new Pool(driver, { count: 2, leaseBytes: 8 })
  id = kernel.endpoint()
  connection = new Connection(driver, id)
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

  test('little is read ahead: then the kernel is told to stop (R2)', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, '1'))
    await pending
    let ahead = 0
    while (!kernel.isCancelRequested(id, 'receive')) {
      kernel.deliver(kernel.received(id, '.'))
      expect(++ahead).toBeLessThan(10)
    }
    kernel.deliver(kernel.receiveEnded(id, errno('ECANCELED')))
    expect(kernel.isInFlight(id, 'receive')).toBe(false)
    for (; ahead > 0; ahead--) expect(textOf(await connection.receive())).toBe('.')
    expect(await stateOf(connection.receive())).toBe('pending')
    expect(kernel.isInFlight(id, 'receive')).toBe(true)
  })

  test('with 16 leases out it waits for one to come back, and nothing is lost (R2)', async () => {
    expect(leasesMax).toBe(16)
    const leases: Lease[] = []
    for (let i = 0; i < leasesMax; i++) {
      const receiving = connection.receive()
      kernel.deliver(kernel.received(id, `${i}`))
      leases.push((await receiving)!)
    }
    const waiting = connection.receive()
    // What the kernel had under way already; then it ends.
    kernel.deliver(kernel.received(id, 'next'))
    expect(kernel.isCancelRequested(id, 'receive')).toBe(true)
    kernel.deliver(kernel.receiveEnded(id, errno('ECANCELED')))
    expect(await stateOf(waiting)).toBe('pending')
    expect(kernel.isInFlight(id, 'receive')).toBe(false)
    expect(leases.map(textOf)).toEqual(leases.map((_, i) => `${i}`))
    leases[3]!.release()
    expect(textOf(await waiting)).toBe('next')
    const after = connection.receive()
    expect(await stateOf(after)).toBe('pending')
    // At most one arrival is kept: it stops the kernel.
    kernel.deliver(kernel.received(id, 'after'))
    expect(kernel.isCancelRequested(id, 'receive')).toBe(true)
    expect(await stateOf(after)).toBe('pending')
    leases[0]!.release()
    expect(textOf(await after)).toBe('after')
  })

  test('another connection receives while one has all its leases out', async () => {
    for (let i = 0; i < leasesMax; i++) {
      const receiving = connection.receive()
      kernel.deliver(kernel.received(id, 'x'))
      await receiving
    }
    const otherId = kernel.endpoint()
    const receiving = new Connection(driver, otherId).receive()
    kernel.deliver(kernel.received(otherId, 'served'))
    expect(textOf(await receiving)).toBe('served')
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
    for (let i = 0; i < 2; i++) kernel.deliver(kernel.sent(id))
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
    const { buffer } = await sending
    expect(textOf(buffer)).toBe('echo')
    buffer.release()
    expect(kernel.wire(id)).toBe('echo')
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

  test('after its deadline: ETIMEDOUT says how many bytes were taken, and the lease is back', async () => {
    const lease = pool.acquire()!
    const sending = connection.send(lease, { timeout: 1 })
    while (!kernel.isCancelRequested(id, 'send')) await settle()
    expect(lease.state).toBe('inFlight')
    expect(await stateOf(sending)).toBe('pending')
    kernel.deliver(kernel.sent(id, errno('ECANCELED'), 3))
    expect(await sending).toMatchObject({
      ok: false,
      result: 3,
      error: { code: 'ETIMEDOUT', syscall: 'write', errno: errno('ETIMEDOUT') },
    })
    expect(lease.state).toBe('owned')
    // What follows would land in the gap.
    expect(await connection.send(Buffer.from('x'))).toMatchObject({ ok: false, result: 0 })
  })

  test('a deadline that came too late: it was sent, and says so', async () => {
    const sending = connection.send(Buffer.from('abc'), { timeout: 1 })
    while (!kernel.isCancelRequested(id, 'send')) await settle()
    kernel.deliver(kernel.sent(id))
    expect(await sending).toMatchObject({ ok: true, result: 3 })
  })

  test('a deadline and a signal together: what comes first is the reason', async () => {
    const abort = new AbortController()
    const sending = connection.send(Buffer.from('abc'), { timeout: 60_000, signal: abort.signal })
    abort.abort()
    kernel.deliver(kernel.sent(id, errno('ECANCELED')))
    expect(await sending).toMatchObject({ ok: false, result: 0, error: { code: 'ECANCELED' } })
  })

  test('leases disposed of while in flight are released at their completion', async () => {
    const sending = (() => {
      using lease = pool.acquire()!
      return connection.send(lease)
    })()
    expect(pool.available).toBe(1)
    await settle()
    expect(pool.available).toBe(1)
    kernel.deliver(kernel.sent(id))
    const { ok, buffer } = await sending
    expect(ok).toBe(true)
    expect(buffer.state).toBe('released')
    expect(pool.available).toBe(2)
  })

  test('views taken from a lease are empty while it is in flight, and cannot change what is sent', async () => {
    const lease = pool.acquire()!
    const view = lease.bytes.fill(0x61)
    const part = view.subarray(2)
    const sending = connection.send(lease)
    expect([view.length, part.length]).toEqual([0, 0])
    part[0] = 0x62
    kernel.deliver(kernel.sent(id))
    await sending
    expect(kernel.wire(id)).toBe('aaaaaaaa')
    expect(view).toHaveLength(0)
    lease.release()
    expect(view).toHaveLength(0)
  })

  test('sends that waited go out in one operation, leases among them', async () => {
    const lease = pool.acquire()!
    lease.bytes.fill(0x4c)
    const all = [
      connection.send(Buffer.from('first')),
      connection.send(Buffer.from('1')),
      connection.send(lease),
      connection.send(Buffer.from('2')),
    ]
    kernel.deliver(kernel.sent(id))
    expect(kernel.sendLengths(id)).toEqual([1, 8, 1])
    kernel.deliver(kernel.sent(id))
    expect((await Promise.all(all)).every(({ ok }) => ok)).toBe(true)
    expect(kernel.wire(id)).toBe('first1LLLLLLLL2')
  })

  test('one of several in flight together that is cancelled leaves the others whole', async () => {
    const abort = new AbortController()
    const lease = pool.acquire()!
    const first = connection.send(Buffer.from('first'))
    const rest = [
      connection.send(Buffer.from('aaa')),
      connection.send(lease, { signal: abort.signal }),
      connection.send(Buffer.from('ccc')),
    ]
    kernel.deliver(kernel.sent(id))
    await first
    abort.abort()
    kernel.deliver(kernel.sent(id, errno('ECANCELED'), 2))
    kernel.deliver(kernel.sent(id))
    const [before, cancelled, after] = await Promise.all(rest)
    expect([before!.ok, cancelled!.ok, after!.ok]).toEqual([true, false, true])
    expect(cancelled).toMatchObject({ result: 0, error: { code: 'ECANCELED' } })
    expect(lease.state).toBe('owned')
    expect(kernel.wire(id)).toBe('firstaaaccc')
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
    const other = new Connection(driver, kernel.endpoint())
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

  test.each([
    [
      'with bytes that nobody has taken the peer sees a reset, and their memory is used again',
      true,
    ],
    ['with all bytes taken the peer sees none', false],
  ])('%s', async (_what, isUnread) => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'taken'), ...(isUnread ? [kernel.received(id, 'not')] : []))
    ;(await pending)!.release()
    const before = kernel.providedCount
    void connection.close()
    expect(kernel.isReset(id)).toBe(isUnread)
    expect(kernel.providedCount).toBe(before + (isUnread ? 1 : 0))
    kernel.deliver(kernel.closed(id))
  })

  test('leases that were taken stay their owner’s', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'mine'))
    const lease = (await pending)!
    void connection.close()
    kernel.deliver(kernel.closed(id))
    await settle()
    expect(textOf(lease)).toBe('mine')
    lease.release()
    expect(lease.state).toBe('released')
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
    expect(() => connection.handOff()).toThrow(closed)
    expect(connection.localName).toBeUndefined()
    kernel.deliver(kernel.closed(id))
  })

  test('an abort after close sends no command to the closing endpoint', async () => {
    const abort = new AbortController()
    const sending = connection.send(Buffer.from('x'), { signal: abort.signal })
    void connection.close()
    abort.abort()
    expect(kernel.queued).toBe(0)
    expect(kernel.log.map(({ op }) => op)).toEqual(['send', 'close'])
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
      using inner = new Connection(driver, other)
      expect(inner.channel.isClosing).toBe(false)
    }
    expect(kernel.isClosing(other)).toBe(true)
    kernel.deliver(kernel.closed(other))
  })
})

describe('handOff', () => {
  async function readAll(seen: Recorder): Promise<string[]> {
    const channel = connection.handOff()
    channel.handler = seen
    channel.readStart()
    for (let i = 0; i < 10; i++) await settle()
    return seen.drain()
  }

  test('hands over what was received and not taken, in order, then what comes later (R1)', async () => {
    const pending = connection.receive()
    kernel.deliver(['aa', 'bb', 'cc', 'dd'].map((text) => kernel.received(id, text)))
    const lease = (await pending)!
    const seen = new Recorder(driver)
    expect(await readAll(seen)).toEqual(['bytes bb', 'bytes cc', 'bytes dd'])
    kernel.deliver(kernel.received(id, 'ee'))
    expect(seen.drain()).toEqual(['bytes ee'])
    expect(textOf(lease)).toBe('aa')
    const before = kernel.providedCount
    lease.release()
    expect(kernel.providedCount).toBe(before + 1)
  })

  test('a lease that comes back later starts nothing', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.received(id, 'aa'))
    const lease = (await pending)!
    connection.handOff()
    kernel.taken()
    lease.release()
    expect(kernel.taken()).toEqual([])
  })

  test.each([
    [0, 'end'],
    [errno('ECONNRESET'), `receive error ${errno('ECONNRESET')}`],
  ])('hands over the end (%i) behind the data', async (status, event) => {
    const pending = connection.receive()
    kernel.deliver(
      kernel.received(id, 'aa'),
      kernel.received(id, 'bb'),
      kernel.receiveEnded(id, status),
    )
    ;(await pending)!.release()
    expect(await readAll(new Recorder(driver))).toEqual(['bytes bb', event])
  })

  test('hands over an end that the connection had seen already', async () => {
    const pending = connection.receive()
    kernel.deliver(kernel.receiveEnded(id, 0))
    await pending
    expect(await readAll(new Recorder(driver))).toEqual(['end'])
  })

  test('is refused while a receive() waits', () => {
    connection.receive().catch(() => {})
    expect(() => connection.handOff()).toThrow(code('ERR_URING_RECEIVE_PENDING'))
  })

  test('afterwards the connection is of no use, and closing it does not close the channel', async () => {
    connection.handOff()
    const taken = code('ERR_URING_HANDED_OFF')
    await expect(connection.receive()).rejects.toEqual(taken)
    await expect((async () => connection.send(Buffer.from('x')))()).rejects.toEqual(taken)
    expect(() => connection.handOff()).toThrow(taken)
    await connection.close()
    expect(kernel.taken()).toEqual([])
  })
})

describe('connect', () => {
  test('resolves when the connect has completed', async () => {
    const connecting = connect({ port: 80, host: '127.0.0.1' })
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
    const connecting = connect({ port: 80, host: '127.0.0.1' })
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
    const connecting = connect({ path: '/somewhere', signal: abort.signal })
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
    jest.mocked(requireDriver).mockImplementation(() => {
      throw new UringError('ERR_URING_DRIVER', 'none')
    })
    await expect(connect({ port: 80 })).rejects.toEqual(code('ERR_URING_DRIVER'))
  })

  test('after its deadline: rejects with ETIMEDOUT once the socket is gone', async () => {
    const connecting = connect({ port: 80, host: '127.0.0.1', timeout: 1 })
    const rejected = expect(connecting).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'connect',
    })
    while (!kernel.isClosing(id + 1)) await settle()
    expect(await stateOf(connecting)).toBe('pending')
    kernel.deliver(kernel.closed(id + 1))
    await rejected
    expect(kernel.endpointCount).toBe(1)
  })
})
