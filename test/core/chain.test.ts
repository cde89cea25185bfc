/** Chains: links run in order and as one, the first that fails stops the rest, and each tells how it has ended. */
import type { Completion } from '../../src/core/index'
import { drivers, expectWorks, loadCore, makePair, read, run, socketPath } from './real'
import type { Core } from './real'

const sent = (buffer: unknown, result: number) => ({ ok: true, result, buffer })
const done = sent(undefined, 0)
const failed = (code: string, syscall: string, buffer: unknown, result = 0) => ({
  ok: false,
  error: expect.objectContaining({ code, syscall }) as unknown,
  result,
  buffer,
})
const coded = (code: string) => expect.objectContaining({ code }) as unknown

const large = 4 << 20

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

  test.each(['TCP', 'Unix'])('sends, FIN and close come in order over %s', async (over) => {
    const pair = await makePair(core, over === 'Unix' ? socketPath() : undefined)
    const lease = new core.Pool({ count: 1, leaseBytes: 8 }).acquire()!
    lease.bytes.write('a lease ')
    const [copied, several] = [
      Buffer.from('copied '),
      [Buffer.from('and '), new Uint16Array([0x2e])],
    ]
    const chain = pair.near.chain().send(lease).send(copied).send(several).shutdown().close()
    expect(lease.state).toBe('owned')
    const submitted = chain.submit()
    expect(lease.state).toBe('inFlight')
    copied.fill(0)
    expect(await submitted).toEqual([sent(lease, 8), sent(copied, 7), sent(several, 6), done, done])
    expect(lease.state).toBe('owned')
    expect(String(await read(pair.far))).toBe('a lease copied and .\0')
    await pair.close()
  })

  test('the sends of a chain are one operation', async () => {
    const pair = await makePair(core)
    const submissions = (): number => core.driver.stats().submissions ?? 0
    const before = submissions()
    const part = Buffer.alloc(1000, 1)
    const completions = await pair.near.chain().send(part).send(part).send(part).submit()
    expect(completions).toHaveLength(3)
    expect(submissions() - before).toBe(1)
    expect(await read(pair.far, 3000)).toEqual(Buffer.alloc(3000, 1))
    await expectWorks(pair)
    await pair.close()
  })

  test('more sends than one operation can take come in order', async () => {
    const pair = await makePair(core)
    let chain = pair.near.chain()
    for (let i = 0; i < 200; i++) chain = chain.send(Buffer.alloc(100, i)) as never
    const completions = (await chain.submit()) as readonly Completion<unknown>[]
    expect(completions.map(({ ok, result }) => [ok, result])).toEqual(
      Array.from({ length: 200 }, () => [true, 100]),
    )
    const received = await read(pair.far, 20_000)
    for (let i = 0; i < 200; i++) expect(received[i * 100 + 50]).toBe(i)
    await pair.close()
  })

  test('it runs behind what was sent before, and what is sent later runs behind it', async () => {
    const pair = await makePair(core, socketPath())
    const before = pair.near.send(Buffer.alloc(large, 1))
    const chain = pair.near.chain().send(Buffer.from('2')).submit()
    const refused = coded('ERR_URING_SEND_PENDING')
    await expect(pair.near.send(Buffer.from('x'))).rejects.toEqual(refused)
    await expect(pair.near.shutdown()).rejects.toEqual(refused)
    await expect(pair.near.sendFile(__filename)).rejects.toEqual(refused)
    await expect(pair.near.chain().shutdown().submit()).rejects.toEqual(refused)
    const received = await read(pair.far, large + 1)
    expect(received[large]).toBe('2'.charCodeAt(0))
    expect([(await before).ok, (await chain)[0].ok]).toEqual([true, true])
    await expectWorks(pair)
    await pair.close()
  })

  test('a send that its deadline cuts short stops the rest: no FIN says that all was there', async () => {
    const pair = await makePair(core, socketPath())
    const [first, second, third] = [Buffer.from('first'), Buffer.alloc(large, 2), Buffer.from('3')]
    const chain = pair.near.chain().send(first).send(second).send(third).shutdown().close()
    const [one, two, ...rest] = await chain.submit({ timeout: 30 })
    expect(one).toEqual(sent(first, 5))
    expect(two).toEqual(failed('ETIMEDOUT', 'write', second, two.result))
    expect(two.result).toBeGreaterThan(0)
    expect(two.result).toBeLessThan(large)
    expect(rest).toEqual([
      failed('ECANCELED', 'write', third),
      failed('ECANCELED', 'shutdown', undefined),
      failed('ECANCELED', 'close', undefined),
    ])
    // It is open.
    expect(pair.near.localName).toBeUndefined()
    expect(await read(pair.far, 5 + two.result)).toHaveLength(5 + two.result)
    await expect(pair.far.receive({ timeout: 20 })).rejects.toEqual(coded('ETIMEDOUT'))
    await pair.close()
  })

  test('a chain that is cancelled before it began leaves the connection as it was', async () => {
    const pair = await makePair(core, socketPath())
    const before = pair.near.send(Buffer.alloc(large, 1))
    const part = Buffer.from('left out')
    const chain = await pair.near.chain().send(part).shutdown().submit({ timeout: 10 })
    expect(chain).toEqual([
      failed('ETIMEDOUT', 'write', part),
      failed('ECANCELED', 'shutdown', undefined),
    ])
    expect((await read(pair.far, large)).equals(Buffer.alloc(large, 1))).toBe(true)
    expect((await before).ok).toBe(true)
    await expectWorks(pair)
    await pair.close()
  })

  test('a chain meets the reset of its peer, and gives every lease back', async () => {
    const pair = await makePair(core)
    await pair.far.reset()
    await expect(pair.near.receive()).rejects.toEqual(coded('ECONNRESET'))
    const pool = new core.Pool({ count: 2, leaseBytes: 8 })
    const leases = [pool.acquire()!, pool.acquire()!]
    const [one, two, end] = await pair.near
      .chain()
      .send(leases[0]!)
      .send(leases[1]!)
      .close()
      .submit()
    expect(one).toEqual(failed('EPIPE', 'write', leases[0]))
    expect(two).toEqual(failed('ECANCELED', 'write', leases[1]))
    expect(end).toEqual(failed('ECANCELED', 'close', undefined))
    expect(leases.map(({ state }) => state)).toEqual(['owned', 'owned'])
    await pair.close()
  })

  test('closing the connection stops a chain that waits', async () => {
    const pair = await makePair(core, socketPath())
    const part = Buffer.alloc(large)
    const chain = pair.near.chain().send(part).shutdown().close().submit()
    await pair.near.close()
    const [one, two, three] = await chain
    expect(one).toEqual(failed('ECANCELED', 'write', part, one.result))
    expect(two).toEqual(failed('ECANCELED', 'shutdown', undefined))
    expect(three).toEqual(failed('ECANCELED', 'close', undefined))
    await pair.close()
  })

  test('what cannot be is refused, and nothing is changed by it', async () => {
    const pair = await makePair(core)
    const lease = new core.Pool({ count: 1, leaseBytes: 8 }).acquire()!
    const part = Buffer.from('part')
    const misplaced = coded('ERR_URING_CHAIN')
    const { near } = pair
    expect(() => near.chain().shutdown().send(part)).toThrow(misplaced as Error)
    expect(() => near.chain().shutdown().shutdown()).toThrow(misplaced as Error)
    expect(() => near.chain().close().shutdown()).toThrow(misplaced as Error)
    expect(() => near.chain().close().close()).toThrow(misplaced as Error)
    for (const wrong of ['text', 5, null, {}, [part, 'text']]) {
      expect(() => near.chain().send(wrong as never)).toThrow(
        coded('ERR_INVALID_ARG_TYPE') as Error,
      )
    }
    await expect(near.chain().submit()).rejects.toEqual(coded('ERR_OUT_OF_RANGE'))
    const timeout = 'soon' as never
    await expect(near.chain().send(lease).submit({ timeout })).rejects.toEqual(
      coded('ERR_OUT_OF_RANGE'),
    )
    const signal = AbortSignal.abort()
    await expect(near.chain().send(lease).submit({ signal })).rejects.toBe(signal.reason)
    // The same memory twice.
    await expect(near.chain().send(lease).send(lease).submit()).rejects.toEqual(
      coded('ERR_URING_LEASE_IN_FLIGHT'),
    )
    expect(lease.state).toBe('owned')
    const chain = near.chain().send(part)
    expect(await chain.submit()).toEqual([sent(part, 4)])
    await expect(chain.submit()).rejects.toEqual(misplaced)
    expect(() => chain.close()).toThrow(misplaced as Error)
    expect(String(await read(pair.far, 4))).toBe('part')
    await expectWorks(pair)
    await near.close()
    await expect(near.chain().shutdown().submit()).rejects.toEqual(coded('ERR_URING_CLOSED'))
    await pair.close()
  })

  test('a program ends when its chain has', async () => {
    const source = `
      const listener = await core.listen({ port: 0, host: '127.0.0.1' })
      const accepting = listener.accept()
      const near = await core.connect({ port: listener.localName.port, host: '127.0.0.1' })
      const far = await accepting
      const ends = await far.chain().send(Buffer.from('bye')).shutdown().close().submit()
      print(ends.map(({ ok }) => ok).join())
      for await (const lease of near) print(lease.bytes)
      await near.close()
      await listener.close()`
    expect(await run(name, source)).toEqual({ output: 'true,true,true\nbye\n', code: 0 })
  })
})
