/** Whose the memory of a lease is, on a real kernel: the owner's, the kernel's, or for good a transferee's. */
import { collect } from '../collected'
import { corePath, drivers, expectWorks, loadCore, makePair, read, run } from './real'
import type { Core, Pair } from './real'

/** By ArrayBuffer.prototype.transfer where there is one (Node 22), else by structuredClone. */
function transferred(view: Uint8Array): Buffer {
  const buffer = view.buffer as ArrayBuffer & { transfer?(): ArrayBuffer }
  const moved = buffer.transfer?.() ?? structuredClone(buffer, { transfer: [buffer] })
  expect(view.byteLength).toBe(0)
  return Buffer.from(moved)
}

const allAre = (bytes: Uint8Array, value: number): boolean =>
  Buffer.alloc(bytes.length, value).equals(bytes)

describe.each(drivers)('%s', (name) => {
  let core: Core
  let pair: Pair

  beforeAll(() => {
    core = loadCore(name)
  })

  beforeEach(async () => {
    pair = await makePair(core)
  })

  afterEach(async () => {
    await pair.close()
    expect(core.driver.stats()).toMatchObject({ unexpectedCompletions: 0, inFlight: 0 })
  })

  /** Much traffic on connections of the same driver, all of it of bytes 9. */
  async function others(): Promise<void> {
    const other = await makePair(core)
    const pool = new core.Pool({ count: 4, leaseBytes: 5000 })
    for (let i = 0; i < 10; i++) {
      const leases = [0, 1, 2, 3].map(() => pool.acquire()!)
      for (const lease of leases) lease.bytes.fill(9)
      const sends = [
        ...leases.map((lease) => other.near.send(lease)),
        other.near.send(Buffer.alloc(60_000, 9)),
        other.near.send(Buffer.alloc(3000, 9)),
      ]
      expect(allAre(await read(other.far, 83_000), 9)).toBe(true)
      for (const { buffer } of await Promise.all(sends)) {
        if ('release' in buffer) buffer.release()
      }
    }
    await other.close()
  }

  test('a received lease whose ArrayBuffer was transferred is refused by send(), and stays the transferee’s', async () => {
    await pair.near.send(Buffer.alloc(40_000, 1))
    const lease = (await pair.far.receive())!
    const { length } = lease
    const theirs = transferred(lease.bytes)
    await expect(pair.far.send(lease)).rejects.toMatchObject({
      code: 'ERR_URING_LEASE_TRANSFERRED',
    })
    expect(lease.state).toBe('released')
    if (length < 40_000) await read(pair.far, 40_000 - length)
    theirs.fill(2)
    await expectWorks(pair)
    await others()
    expect(allAre(theirs, 2)).toBe(true)
  })

  test('a pool’s lease whose ArrayBuffer was transferred is refused by send(), and its place in the pool is not lost', async () => {
    const pool = new core.Pool({ count: 1, leaseBytes: 5000 })
    const lease = pool.acquire()!
    const theirs = transferred(lease.bytes.fill(1))
    await expect(pair.near.send(lease)).rejects.toMatchObject({
      code: 'ERR_URING_LEASE_TRANSFERRED',
    })
    expect(pool.available).toBe(1)
    const next = pool.acquire()!
    next.bytes.fill(3)
    await pair.near.send(next)
    expect(await read(pair.far, 5000)).toEqual(Buffer.alloc(5000, 3))
    await others()
    expect(allAre(theirs, 1)).toBe(true)
    expect(theirs).toHaveLength(5000)
  })

  test.each(['received', 'pool’s'])(
    'a %s lease whose ArrayBuffer was transferred and that is dropped: what arrives later never appears there',
    async (kind) => {
      const theirs: Buffer[] = []
      // Fewer than the 16 that a connection may have out.
      for (let i = 0; i < 12; i++) {
        if (kind === 'received') {
          await pair.near.send(Buffer.alloc(100, 1))
          theirs.push(transferred((await pair.far.receive())!.bytes).fill(1))
        } else {
          const pool = new core.Pool({ count: 1, leaseBytes: 70_000 })
          theirs.push(transferred(pool.acquire()!.bytes).fill(1))
        }
      }
      for (let i = 0; i < 5; i++) {
        collect()
        await others()
      }
      expect(theirs.every((bytes) => allAre(bytes, 1))).toBe(true)
      await expectWorks(pair)
    },
  )

  test('views of a dropped lease never show what arrives later', async () => {
    await pair.near.send(Buffer.alloc(100, 1))
    const view = (await pair.far.receive())!.bytes
    const whole = new Uint8Array(view.buffer).fill(1)
    for (let i = 0; i < 5; i++) {
      collect()
      await others()
    }
    expect(allAre(whole, 1)).toBe(true)
  })

  test('views are empty while the lease is in flight, and after its release', async () => {
    await pair.near.send(Buffer.from('abc'))
    const lease = (await pair.far.receive())!
    const view = lease.bytes
    const whole = new Uint8Array(view.buffer)
    const sending = pair.far.send(lease)
    expect([view.length, whole.length]).toEqual([0, 0])
    await sending
    expect(String(await read(pair.near, 3))).toBe('abc')
    const again = lease.bytes
    expect(String(again)).toBe('abc')
    expect([view.length, whole.length]).toEqual([0, 0])
    lease.release()
    expect(again).toHaveLength(0)
  })

  test('a lease in a `using` scope that is left while it is in flight is whole on the wire, and released after', async () => {
    const pool = new core.Pool({ count: 1, leaseBytes: 1 << 20 })
    const sending = (() => {
      using lease = pool.acquire()!
      lease.bytes.fill(7)
      return pair.near.send(lease)
    })()
    expect(pool.available).toBe(0)
    expect(allAre(await read(pair.far, 1 << 20), 7)).toBe(true)
    const { ok, buffer } = await sending
    expect([ok, buffer.state, pool.available]).toEqual([true, 'released', 1])
  })

  test.each(['exits', 'is terminated'])(
    'memory that a worker posted stays readable and as it was after the worker %s',
    async (how) => {
      const worker = `
        const core = require(${JSON.stringify(corePath)})
        const { parentPort } = require('node:worker_threads')
        ;(async () => {
          const listener = await core.listen({ port: 0, host: '127.0.0.1' })
          const accepting = listener.accept()
          const sender = await core.connect({ port: listener.localName.port, host: '127.0.0.1' })
          const receiver = await accepting
          const post = (lease, value) => {
            const { buffer } = lease.bytes.fill(value)
            new Uint8Array(buffer).fill(value)
            parentPort.postMessage({ buffer, value }, [buffer])
          }
          for (let i = 0; i < 12; i++) {
            await sender.send(Buffer.alloc(1000))
            post(await receiver.receive(), 1)
          }
          const pool = new core.Pool({ count: 3, leaseBytes: 100000 })
          for (let lease; (lease = pool.acquire()); ) post(lease, 2)
          for (let i = 0; i < 5; i++) {
            gc()
            await new Promise((resolve) => setImmediate(resolve))
            for (let left = 500000, sending = sender.send(Buffer.alloc(left, 9)); left > 0; ) {
              const lease = await receiver.receive()
              left -= lease.length
              lease.release()
            }
          }
          // In flight at the end: a receive, an accept, and a send that nobody reads.
          receiver.receive()
          listener.accept()
          receiver.send(Buffer.alloc(30 << 20, 9))
          parentPort.postMessage('ready')
          ${how === 'exits' ? 'process.exit()' : ''}
        })()`
      const { output, code } = await run(
        name,
        `const { Worker } = require('node:worker_threads')
         const worker = new Worker(${JSON.stringify(worker)}, { eval: true })
         const posted = []
         worker.on('message', (message) => {
           if (message !== 'ready') posted.push(message)
           else if (${how !== 'exits'}) worker.terminate()
         })
         await new Promise((resolve) => worker.on('exit', resolve))
         for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 1)) }
         // New memory, in place of what was freed.
         const noise = Array.from({ length: 50 }, () => Buffer.alloc(65536, 5))
         const isWhole = posted.every(({ buffer, value }) => Buffer.alloc(buffer.byteLength, value).equals(new Uint8Array(buffer)))
         print(posted.length, isWhole, noise.length)`,
        { flags: ['--expose-gc'] },
      )
      expect(output).toBe('15 true 50\n')
      expect(code).toBe(0)
    },
  )

  /** Prints whether a round takes memory for good. Two rounds come before, for what is made once. */
  const grows = `
    const turn = () => new Promise((resolve) => setTimeout(resolve, 1))
    const settled = async () => {
      for (let i = 0; i < 5; i++) { gc(); await turn() }
      return process.memoryUsage().arrayBuffers
    }
    const measure = async (rounds, round) => {
      for (let i = 0; i < 2; i++) await round()
      const before = await settled()
      for (let i = 0; i < rounds; i++) await round()
      const grown = await settled() - before
      print(grown < 4 << 20 ? 'no larger' : grown)
    }`

  test('pools that nobody holds are collected, with leases that were released and leases that were dropped', async () => {
    const { output } = await run(
      name,
      `${grows}
      await measure(400, async () => {
        const pool = new core.Pool({ count: 8, leaseBytes: 16384 })
        for (let i = 0; i < 2; i++) {
          const leases = Array.from({ length: 4 }, () => pool.acquire())
          for (const lease of leases) lease.bytes.fill(1)
          for (const lease of leases) lease.release()
        }
        pool.acquire()
        await turn()
      })`,
      { flags: ['--expose-gc'] },
    )
    expect(output).toBe('no larger\n')
  })

  test('more memory for receives than is kept is given up when its leases are released', async () => {
    const { output } = await run(
      name,
      `${grows}
      core.configure({ receiveBuffers: 8 })
      const listener = await core.listen({ port: 0, host: '127.0.0.1' })
      const pairs = await Promise.all(Array.from({ length: 4 }, async () => {
        const near = await core.connect({ port: listener.localName.port, host: '127.0.0.1' })
        return { near, far: await listener.accept() }
      }))
      await measure(40, async () => {
        const leases = []
        for (let i = 0; i < 16; i++) {
          for (const { near, far } of pairs) {
            await near.send(Buffer.alloc(1))
            leases.push(await far.receive())
          }
        }
        for (const lease of leases) lease.release()
      })
      process.exit()`,
      { flags: ['--expose-gc'] },
    )
    expect(output).toBe('no larger\n')
  })
})
