/** Leases and their pool: one owner at a time, a view that dies with the right to the bytes, a size that never grows. */
import { Channel } from '../../src/core/channel'
import type { Driver } from '../../src/core/driver'
import type { Lease } from '../../src/core/lease'
import { Pool } from '../../src/core/pool'
import type { ScriptedKernel } from './scripted-kernel'
import { Recorder, makeDriver, settle } from './fixtures'

let kernel: ScriptedKernel
let driver: Driver

beforeEach(() => {
  ;({ kernel, driver } = makeDriver())
})

afterEach(() => {
  kernel.assertClean()
})

const inFlightError = expect.objectContaining({ code: 'ERR_URING_LEASE_IN_FLIGHT' })
const releasedError = expect.objectContaining({ code: 'ERR_URING_LEASE_RELEASED' })
const transferredError = expect.objectContaining({ code: 'ERR_URING_LEASE_TRANSFERRED' })
const rangeError = expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' })

/** Takes the memory of a view away from whoever had it. */
function transferred(view: Uint8Array): Uint8Array {
  return new Uint8Array(structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] }))
}

describe('lease', () => {
  let pool: Pool
  let lease: Lease

  const lend = (which = lease) => which.lend(driver.native)

  /** Every way to use a lease's bytes. */
  const uses: [string, () => void][] = [
    ['bytes', () => void lease.bytes],
    ['length =', () => void (lease.length = 1)],
    ['lend', () => void lend()],
  ]

  beforeEach(() => {
    pool = new Pool(driver, { count: 2, leaseBytes: 256 })
    lease = pool.acquire()!
  })

  test('a fresh lease is owned and as long as it can be', () => {
    expect(lease.state).toBe('owned')
    expect(lease.length).toBe(256)
    expect(lease.capacity).toBe(256)
    expect(lease.bytes).toHaveLength(256)
  })

  test('its bytes are what is sent, as many as its length says', () => {
    lease.bytes.set(Buffer.from('hello world'))
    lease.length = 5
    expect(Buffer.from(lease.bytes).toString()).toBe('hello')
    expect(lend().bytes.toString('latin1', 0, 5)).toBe('hello')
  })

  test.each([-1, 257, 1.5, NaN, Infinity])('length %d is refused and changes nothing', (length) => {
    expect(() => (lease.length = length)).toThrow(rangeError)
    expect(lease.length).toBe(256)
  })

  test('in flight every view is detached: old ones are empty, not just forbidden (C2)', () => {
    const { bytes } = lease
    const part = bytes.subarray(0, 10)
    const whole = new Uint8Array(bytes.buffer)
    lend()
    for (const view of [bytes, part, whole]) expect(view).toHaveLength(0)
    expect(part.buffer.byteLength).toBe(0)
  })

  test.each(uses)('in flight, %s throws ERR_URING_LEASE_IN_FLIGHT', (_name, use) => {
    lend()
    expect(use).toThrow(inFlightError)
    expect(lease.state).toBe('inFlight')
  })

  test('in flight, release throws: the pool would lend bytes the kernel is reading', () => {
    lend()
    expect(() => lease.release()).toThrow(inFlightError)
    expect(pool.available).toBe(1)
  })

  test('disposed of while in flight, it is released when it comes back, once', () => {
    lend()
    lease[Symbol.dispose]()
    expect(lease.state).toBe('inFlight')
    expect(pool.available).toBe(1)
    lease.giveBack()
    expect(lease.state).toBe('released')
    expect(pool.available).toBe(2)
    lease[Symbol.dispose]()
    lease.release()
    expect(pool.available).toBe(2)
  })

  test('back from flight it is owned, with its bytes and length, and its old views stay empty', () => {
    const { bytes } = lease
    bytes.set(Buffer.from('hello'))
    lease.length = 5
    lend()
    lease.giveBack()
    expect(lease.state).toBe('owned')
    expect(Buffer.from(lease.bytes).toString()).toBe('hello')
    expect(bytes).toHaveLength(0)
  })

  test.each(uses)('released, %s throws ERR_URING_LEASE_RELEASED', (_name, use) => {
    lease.release()
    expect(use).toThrow(releasedError)
  })

  test('released, its views are empty: the next owner’s bytes cannot be seen through them', () => {
    const { bytes } = lease
    lease.release()
    expect(bytes).toHaveLength(0)
    expect(bytes.buffer.byteLength).toBe(0)
    expect(lease.state).toBe('released')
  })

  test('a double release does nothing: the block is not in the pool twice', () => {
    lease.release()
    lease.release()
    lease[Symbol.dispose]()
    expect(pool.available).toBe(2)
    const [a, b] = [pool.acquire()!, pool.acquire()!]
    expect(lend(a)).not.toBe(lend(b))
    expect(pool.acquire()).toBeUndefined()
  })

  test('a late release of a lease does not take the block from its next owner', () => {
    const other = pool.acquire()!
    lease.release()
    const next = pool.acquire()!
    lease.release()
    expect(pool.available).toBe(0)
    expect(next.state).toBe('owned')
    other.release()
  })

  test('`using` releases at the end of the scope, also when it is left by a throw', () => {
    expect(() => {
      using scoped = pool.acquire()!
      expect(scoped.state).toBe('owned')
      throw new Error('out')
    }).toThrow('out')
    expect(pool.available).toBe(1)
  })

  test('a channel sends a lease in place', () => {
    const seen = new Recorder(driver)
    const id = kernel.endpoint()
    lease.bytes.set(Buffer.from('hello'))
    new Channel(driver, id, seen).sendBlock(lend(), 5, seen.sending('lease'))
    kernel.deliver(kernel.sent(id))
    lease.giveBack()
    expect(kernel.wire(id)).toBe('hello')
  })

  test('one of another driver is refused and stays its owner’s', () => {
    const other = makeDriver()
    expect(() => lease.lend(other.driver.native)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    )
    expect(lease.state).toBe('owned')
    expect(Buffer.from(lease.bytes)).toHaveLength(256)
  })

  describe('whose ArrayBuffer was transferred', () => {
    test('is refused and released when it is lent; the pool has fresh memory in its place', () => {
      const theirs = transferred(lease.bytes.fill(7))
      expect(() => lend()).toThrow(transferredError)
      expect(lease.state).toBe('released')
      expect(pool.available).toBe(2)
      const [a, b] = [pool.acquire()!, pool.acquire()!]
      for (const each of [a, b]) each.bytes.fill(9)
      for (const each of [a, b]) lend(each)
      expect(theirs.every((byte) => byte === 7)).toBe(true)
      expect(theirs).toHaveLength(256)
    })

    test('can be released, and the pool has fresh memory in its place', () => {
      const theirs = transferred(lease.bytes.fill(7))
      lease.release()
      lease.release()
      expect(pool.available).toBe(2)
      const [a, b] = [pool.acquire()!, pool.acquire()!]
      for (const each of [a, b]) each.bytes.fill(9)
      expect(theirs.every((byte) => byte === 7)).toBe(true)
    })

    test('has no bytes for its owner, who is told why, and can be disposed of', () => {
      transferred(lease.bytes)
      expect(() => lease.bytes).toThrow(transferredError)
      expect(pool.available).toBe(1)
      lease[Symbol.dispose]()
      expect(pool.available).toBe(2)
    })

    test('while it was in flight is not possible: nobody has its ArrayBuffer', () => {
      const { buffer } = lease.bytes
      lend()
      expect(buffer.byteLength).toBe(0)
      lease.giveBack()
      expect(lease.bytes).toHaveLength(256)
    })
  })
})

describe('pool', () => {
  test('has its leases from the start and never more', () => {
    const pool = new Pool(driver, { count: 3, leaseBytes: 1000 })
    expect(pool.available).toBe(3)
    const leases = [pool.acquire(), pool.acquire(), pool.acquire()]
    expect(pool.acquire()).toBeUndefined()
    expect(pool.available).toBe(0)
    expect(leases.every((lease) => lease?.capacity === 1000)).toBe(true)
    for (const lease of leases) lease!.release()
    expect(pool.available).toBe(3)
  })

  test('memory is used again: many acquires need no more than the pool is large', () => {
    const pool = new Pool(driver, { count: 3, leaseBytes: 1000 })
    for (let i = 0; i < 50; i++) pool.acquire()!.release()
    expect(kernel.registeredCount).toBeLessThanOrEqual(3)
  })

  test('leases do not overlap', () => {
    const pool = new Pool(driver, { count: 8, leaseBytes: 256 })
    const leases = Array.from({ length: 8 }, () => pool.acquire()!)
    leases.forEach((lease, i) => lease.bytes.fill(i))
    const blocks = leases.map((lease) => lease.lend(driver.native))
    leases.forEach((lease, i) => {
      lease.giveBack()
      expect(lease.bytes.every((byte) => byte === i)).toBe(true)
    })
    expect(new Set(blocks.map(({ index }) => index)).size).toBe(8)
  })

  test.each([
    { count: 0 },
    { count: -1 },
    { count: NaN },
    { count: 1.5 },
    { count: 65537 },
    { leaseBytes: 0 },
    { leaseBytes: (16 << 20) + 1 },
    { leaseBytes: NaN },
    { leaseBytes: 100.5 },
    { leaseBytes: '100' as unknown as number },
  ])('%j is refused with ERR_OUT_OF_RANGE', (options) => {
    expect(() => new Pool(driver, options)).toThrow(rangeError)
    expect(kernel.registeredCount).toBe(0)
  })

  test('a release wakes one that waits, in a microtask, once', async () => {
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const lease = pool.acquire()!
    let calls = 0
    pool.whenAvailable(() => void calls++)
    lease.release()
    expect(calls).toBe(0)
    await settle()
    expect(calls).toBe(1)
    pool.acquire()!.release()
    await settle()
    expect(calls).toBe(1)
  })

  test('waiters are woken in the order they came, as leases come back', async () => {
    const pool = new Pool(driver, { count: 2, leaseBytes: 256 })
    const leases = [pool.acquire()!, pool.acquire()!]
    const woken: string[] = []
    for (const name of ['a', 'b', 'c']) {
      pool.whenAvailable(() => {
        woken.push(name)
        pool.acquire()
      })
    }
    leases[0]!.release()
    await settle()
    expect(woken).toEqual(['a'])
    leases[1]!.release()
    await settle()
    expect(woken).toEqual(['a', 'b'])
  })

  test('a woken one that does not want the lease any more leaves it to the next', async () => {
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const lease = pool.acquire()!
    const woken: string[] = []
    pool.whenAvailable(() => woken.push('gave up'))
    pool.whenAvailable(() => woken.push('wants it'))
    lease.release()
    await settle()
    expect(woken).toEqual(['gave up', 'wants it'])
  })
})
