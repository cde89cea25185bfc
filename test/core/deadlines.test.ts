/** Deadlines: { timeout } on every operation that can wait. On a clock of its own, whatever test tools do to the timers. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { drivers, expectWorks, loadCore, makePair, read, run, socketPath, until } from './real'
import type { Core, Pair } from './real'

const timedOut = (syscall: string) =>
  expect.objectContaining({ code: 'ETIMEDOUT', errno: -110, syscall })

/**
 * A port whose listener is stopped, with as many connects waiting as it has room for: one more is not answered.
 */
async function makeUnanswering(): Promise<{ port: number; end(): void }> {
  const source = `const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    process.send(server.address().port, () => process.kill(process.pid, 'SIGSTOP')) })`
  const child = spawn(process.execPath, ['-e', source], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  const [port] = (await once(child, 'message')) as [number]
  await until(() => /^State:\s+T/m.test(readFileSync(`/proc/${child.pid}/status`, 'utf8')))
  const fillers = Array.from({ length: 8 }, () =>
    net.connect({ port, host: '127.0.0.1' }).on('error', () => {}),
  )
  await Promise.race(fillers.map((filler) => once(filler, 'connect')))
  return {
    port,
    end() {
      for (const filler of fillers) filler.destroy()
      child.kill('SIGKILL')
    },
  }
}

describe.each(drivers)('%s', (name) => {
  let core: Core

  beforeAll(() => {
    core = loadCore(name)
  })

  afterEach(() => {
    jest.useRealTimers()
    expect(core.driver.stats()).toMatchObject({
      unexpectedCompletions: 0,
      endpoints: 0,
      inFlight: 0,
    })
  })

  describe.each(['real', 'fake'])('with %s timers', (timers) => {
    beforeEach(() => {
      // After the package was loaded, as test tools do it.
      if (timers === 'fake') jest.useFakeTimers()
    })

    test('connect() that nobody answers fails, and its socket is gone', async () => {
      jest.useRealTimers()
      const { port, end } = await makeUnanswering()
      if (timers === 'fake') jest.useFakeTimers()
      const connecting = core.connect({ port, host: '127.0.0.1', timeout: 30 })
      await expect(connecting).rejects.toEqual(timedOut('connect'))
      end()
    })

    test('accept() fails; the connection that comes later is the next one’s', async () => {
      const listener = await core.listen({ port: 0, host: '127.0.0.1' })
      await expect(listener.accept({ timeout: 5 })).rejects.toEqual(timedOut('accept'))
      const near = await core.connect({
        port: listener.localName!.port,
        host: '127.0.0.1',
        timeout: 60_000,
      })
      const far = (await listener.accept({ timeout: 60_000 }))!
      await expectWorks({ near, far } as Pair)
      await Promise.all([near.close(), far.close(), listener.close()])
    })

    test('receive() fails; the bytes that come later are the next one’s', async () => {
      const pair = await makePair(core)
      await expect(pair.far.receive({ timeout: 5 })).rejects.toEqual(timedOut('read'))
      await pair.near.send(Buffer.from('late'))
      const lease = (await pair.far.receive({ timeout: 60_000 }))!
      expect(String(lease.bytes)).toBe('late')
      lease.release()
      await expectWorks(pair)
      await pair.close()
    })

    test.each(['a lease', 'bytes'])(
      'send() of %s to a peer that does not read says how many were taken: the peer has just these',
      async (what) => {
        const pair = await makePair(core, socketPath())
        const pool = new core.Pool({ count: 1, leaseBytes: 4 << 20 })
        const lease = pool.acquire()!
        lease.bytes.fill(7)
        const bytes = what === 'a lease' ? lease : Buffer.alloc(4 << 20, 7)
        const waiting = pair.near.send(Buffer.from('first'))
        const sent = await pair.near.send(bytes, { timeout: 20 })
        expect((await waiting).ok).toBe(true)
        expect(sent).toMatchObject({ ok: false, error: timedOut('write') })
        expect(sent.buffer).toBe(bytes)
        expect(lease.state).toBe('owned')
        expect(sent.result).toBeGreaterThan(0)
        expect(sent.result).toBeLessThan(4 << 20)
        // After a gap nothing is sent.
        expect(await pair.near.send(Buffer.from('x'))).toMatchObject({ ok: false, result: 0 })
        void pair.near.close()
        const received = await read(pair.far)
        expect(received).toHaveLength(5 + sent.result)
        expect(received.subarray(5).equals(Buffer.alloc(sent.result, 7))).toBe(true)
        lease.release()
        await pair.close()
      },
    )

    test('what waits for a lease is called, and what a readiness has gathered leaves', async () => {
      const pool = new core.Pool({ count: 1, leaseBytes: 8 })
      const lease = pool.acquire()!
      const available = new Promise<void>((resolve) => pool.whenAvailable(resolve))
      lease.release()
      await available
      const pair = await makePair(core)
      const readiness = core.toReadiness(pair.near)
      expect(readiness.tryWrite(Buffer.from('gathered'))).toBe(true)
      expect(String(await read(pair.far, 8))).toBe('gathered')
      await Promise.all([readiness.close(), pair.close()])
    })

    test('send() that has not begun is left out, and what follows goes on', async () => {
      const pair = await makePair(core, socketPath())
      const large = Buffer.alloc(2 << 20, 7)
      const first = pair.near.send(large)
      const second = pair.near.send(Buffer.from('left out'), { timeout: 10 })
      const third = pair.near.send(Buffer.from('third'))
      expect(await second).toMatchObject({ ok: false, result: 0, error: timedOut('write') })
      const received = await read(pair.far, large.length + 5)
      expect(received.subarray(0, large.length).equals(large)).toBe(true)
      expect(String(received.subarray(large.length))).toBe('third')
      expect([(await first).ok, (await third).ok]).toEqual([true, true])
      await pair.close()
    })
  })

  test.each([0, -1, 1.5, NaN, Infinity, 2 ** 31, '5', null, {}])(
    'a timeout of %p is refused by every operation before anything changes',
    async (timeout) => {
      const pair = await makePair(core)
      const options = { timeout: timeout as number }
      const { port } = pair.listener.localName!
      const lease = new core.Pool({ count: 1, leaseBytes: 8 }).acquire()!
      for (const refused of [
        core.connect({ port, host: '127.0.0.1', ...options }),
        pair.listener.accept(options),
        pair.near.receive(options),
        pair.near.send(lease, options),
        pair.near.send(Buffer.from('x'), options),
      ]) {
        await expect(refused).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' })
      }
      expect(lease.state).toBe('owned')
      await expectWorks(pair)
      await pair.close()
    },
  )

  test('a signal that aborts first is the reason, and one deadline ends one operation only', async () => {
    const pair = await makePair(core)
    const reason = new Error('enough')
    const abort = new AbortController()
    const aborted = pair.far.receive({ timeout: 60_000, signal: abort.signal })
    abort.abort(reason)
    await expect(aborted).rejects.toBe(reason)
    await expect(
      pair.far.receive({ timeout: 1, signal: new AbortController().signal }),
    ).rejects.toEqual(timedOut('read'))
    await expectWorks(pair)
    await pair.close()
  })

  test('deadlines of what has ended keep no process alive', async () => {
    const { output, code } = await run(
      name,
      `const timeout = 60000
       const listener = await core.listen({ port: 0, host: '127.0.0.1' })
       const accepting = listener.accept({ timeout })
       const near = await core.connect({ port: listener.localName.port, host: '127.0.0.1', timeout })
       const far = await accepting
       await near.send(Buffer.from('x'), { timeout })
       ;(await far.receive({ timeout })).release()
       const waiting = far.receive({ timeout }).catch((error) => print(error.code))
       await Promise.all([near.close(), far.close(), listener.close()])
       await waiting
       print('done')`,
    )
    expect(output).toBe('ERR_URING_CLOSED\ndone\n')
    expect(code).toBe(0)
  })
})
