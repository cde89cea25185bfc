/** What nobody holds any more: a dropped lease returns to its pool, a dropped connection is closed (C3). */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Connection } from '../../src/core/connection'
import type { Lease } from '../../src/core/lease'
import { Listener } from '../../src/core/listener'
import { Pool } from '../../src/core/pool'
import { errno } from './scripted-binding'
import { makeDriver, settle } from './fixtures'

// Ticks run by Node only: run from inside a test they would settle promises in the middle of its statements.
jest.mock('../../src/core/ticks', () => ({ runTicks: jest.fn() }))
jest.mock('../../src/core/active', () => ({
  active: { name: 'node', reason: '', driver: undefined },
}))

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/**
 * Collects until `done`, or until it is clear that it will not happen. V8 calls back for what it collected in a task of
 * its own, which on a busy machine takes longer than a turn of the event loop: hence the pause.
 */
async function collectUntil(done: () => boolean, rounds = 500): Promise<boolean> {
  for (let round = 0; round < rounds && !done(); round++) {
    collect()
    await (round < 5 ? settle() : sleep(10))
  }
  return done()
}

const fewRounds = 5

describe('a dropped lease', () => {
  test('returns to its pool and wakes who waits for it', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    let isWoken = false
    ;(() => {
      pool.acquire()!.bytes.fill(1)
      pool.whenAvailable(() => (isWoken = true))
    })()
    expect(await collectUntil(() => isWoken)).toBe(true)
    expect(pool.available).toBe(1)
    kernel.assertClean()
  })

  test('stays out while a view of its bytes is held: they may not be lent to somebody else', async () => {
    const { driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const held: Uint8Array[] = []
    ;(() => void held.push(pool.acquire()!.bytes.subarray(3, 5)))()
    expect(await collectUntil(() => pool.available > 0, fewRounds)).toBe(false)
    // The number, not the view: a matcher would remember it.
    expect(held[0]?.length).toBe(2)
    held.length = 0
    expect(await collectUntil(() => pool.available > 0)).toBe(true)
  })

  test('stays out while it is in flight, and returns after the completion', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const id = kernel.endpoint()
    const connection = new Connection(driver, id, pool)
    ;(() => void connection.send(pool.acquire()!))()
    expect(await collectUntil(() => pool.available > 0, fewRounds)).toBe(false)
    kernel.deliver(kernel.sent(id))
    expect(await collectUntil(() => pool.available > 0)).toBe(true)
    expect(connection.channel.isClosing).toBe(false)
    kernel.assertClean()
  })

  test('released before, it does not return a second time when it is collected', async () => {
    const { driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    ;(() => pool.acquire()!.release())()
    await collectUntil(() => false, fewRounds)
    expect(pool.available).toBe(1)
  })
})

describe('a dropped connection', () => {
  test('is closed, and the leases it had ready return to the pool', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 3, leaseBytes: 256 })
    const id = kernel.endpoint()
    await (async () => {
      const connection = new Connection(driver, id, pool)
      const first = connection.receive()
      kernel.deliver(kernel.received(id, 'x'.repeat(600)))
      ;(await first)!.release()
    })()
    expect(await collectUntil(() => kernel.isClosing(id))).toBe(true)
    kernel.deliver(kernel.closed(id))
    expect(await collectUntil(() => pool.available === 3)).toBe(true)
    kernel.assertClean()
  })

  test('is not closed while somebody waits in receive()', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const id = kernel.endpoint()
    let received: Lease | null | undefined
    ;(() => {
      void new Connection(driver, id, pool).receive().then((lease) => (received = lease))
    })()
    expect(await collectUntil(() => kernel.isClosing(id), fewRounds)).toBe(false)
    kernel.deliver(kernel.receiveEnded(id, 0))
    await settle()
    expect(received).toBeNull()
  })

  test('is closed once: not again after close(), and not after take()', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const [closedId, takenId] = [kernel.endpoint(), kernel.endpoint()]
    ;(() => {
      void new Connection(driver, closedId, pool).close()
      new Connection(driver, takenId, pool).take()
    })()
    kernel.deliver(kernel.closed(closedId))
    await collectUntil(() => false, fewRounds)
    expect(kernel.count(closedId, 'close')).toBe(1)
    expect(kernel.count(takenId, 'close')).toBe(0)
    kernel.assertClean()
  })

  test('one whose send failed long ago is collected, too', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const id = kernel.endpoint()
    await (async () => {
      const sending = new Connection(driver, id, pool).send(Buffer.from('x'))
      kernel.deliver(kernel.sent(id, errno('EPIPE')))
      await sending
    })()
    expect(await collectUntil(() => kernel.isClosing(id))).toBe(true)
  })
})

describe('a dropped listener', () => {
  test('is closed, unless somebody waits in accept()', async () => {
    const { kernel, driver } = makeDriver()
    const pool = new Pool(driver, { count: 1, leaseBytes: 256 })
    const [waited, dropped] = [kernel.endpoint(), kernel.endpoint()]
    let isAccepted = false
    ;(() => {
      const listener = new Listener(driver, waited, pool)
      listener.start('::', 0, 1)
      void listener.accept().then(() => (isAccepted = true))
      new Listener(driver, dropped, pool).start('::', 0, 1)
    })()
    expect(await collectUntil(() => kernel.isClosing(dropped))).toBe(true)
    expect(kernel.isClosing(waited)).toBe(false)
    expect(isAccepted).toBe(false)
  })
})
