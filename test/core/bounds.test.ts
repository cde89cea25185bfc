/** What one connection may cost the others: a bounded number of leases, and never their service. */
import net from 'node:net'
import type { Socket } from 'node:net'
import type { Connection, Lease } from '../../src/core/index'
import { digest, pattern } from '../e2e/wire'
import { drivers, expectWorks, loadCore, makePair, read, run, socketPath, until } from './real'
import type { Core } from './real'

/** As in receiving.ts. */
const leasesMax = 16

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

  test('with 16 leases out a connection receives nothing until one comes back, and then all of it', async () => {
    const pair = await makePair(core, socketPath())
    const bytes = pattern(4 << 20)
    const sending = pair.near.send(bytes)
    const leases: Lease[] = []
    while (leases.length < leasesMax) leases.push((await pair.far.receive())!)
    const chunks = leases.map((lease) => Buffer.from(lease.bytes))
    await expect(pair.far.receive({ timeout: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    // The others are as they were.
    expect(leases.map((lease) => digest(lease.bytes))).toEqual(chunks.map(digest))
    for (const lease of leases) lease.release()
    const got = Buffer.concat(chunks)
    const rest = await read(pair.far, bytes.length - got.length)
    expect(digest(Buffer.concat([got, rest]))).toBe(digest(bytes))
    expect((await sending).ok).toBe(true)
    await expectWorks(pair)
    await pair.close()
  })

  test('what flooding peers have sent ahead of a reader is little more than its leases', async () => {
    const source = `
      const listener = await core.listen({ port: 0, host: '127.0.0.1' })
      const { port } = listener.localName
      const flood = 'for (let i = 0; i < 16; i++) { const s = require("net").connect(' + port + ', "127.0.0.1"); const more = () => { while (s.write(Buffer.alloc(65536))); }; s.on("drain", more).on("error", () => {}); more() }'
      const child = require('node:child_process').spawn(process.execPath, ['-e', flood], { stdio: 'ignore' })
      const before = process.memoryUsage().arrayBuffers
      let most = 0
      let bytes = 0
      // Some stay behind, as they do with a reader that sends them on.
      const take = async (connection) => {
        const held = []
        while (bytes < 256 << 20) {
          const lease = await connection.receive()
          bytes += lease.length
          held.push(lease)
          if (held.length > 4) held.shift().release()
          most = Math.max(most, process.memoryUsage().arrayBuffers - before)
        }
      }
      const taking = []
      for (let i = 0; i < 16; i++) taking.push(take(await listener.accept()))
      await Promise.all(taking)
      child.kill('SIGKILL')
      // Each connection: 16 leases and 4 more. And its first receive, before it is known to flood: 32 at most.
      print(most < 16 * (20 + 32) * 65600 ? 'bounded' : most / 65600 + ' buffers')
      process.exit()`
    expect(await run(name, source)).toEqual({ output: 'bounded\n', code: 0 })
  })

  test('64 clients that never read leave an echo server answering others, and their ends are noticed', async () => {
    const path = socketPath()
    const listener = await core.listen({ path })
    const held = new Map<Connection, number>()
    let heldMost = 0
    const served: Promise<void>[] = []

    /** Sends back what comes, as it comes. */
    async function echo(connection: Connection): Promise<void> {
      const sends: Promise<unknown>[] = []
      const hold = (change: number): void => {
        const count = (held.get(connection) ?? 0) + change
        held.set(connection, count)
        heldMost = Math.max(heldMost, count)
      }
      try {
        for await (const lease of connection) {
          hold(1)
          const back = connection.send(lease).then(({ buffer }) => {
            hold(-1)
            buffer.release()
          })
          sends.push(back)
        }
      } catch (error) {
        expect(['ECONNRESET', 'EPIPE']).toContain((error as NodeJS.ErrnoException).code)
      }
      await Promise.all(sends)
      await connection.close()
    }

    const accepting = (async () => {
      for await (const connection of listener) served.push(echo(connection))
    })()

    const stuck: Socket[] = []
    for (let i = 0; i < 64; i++) {
      const client = net.connect({ path }).on('error', () => {})
      client.pause()
      client.write(Buffer.alloc(3 << 20, i))
      stuck.push(client)
    }
    await until(() => served.length === 64)
    await until(() => [...held.values()].filter((count) => count === leasesMax).length === 64)

    const bytes = pattern(1 << 20, 7)
    for (let i = 0; i < 3; i++) {
      const client = await core.connect({ path })
      const sending = client.send(bytes)
      expect(digest(await read(client, bytes.length))).toBe(digest(bytes))
      expect((await sending).ok).toBe(true)
      await client.shutdown()
      expect(await client.receive()).toBeNull()
      await client.close()
    }
    expect(heldMost).toBe(leasesMax)

    for (const client of stuck) client.destroy()
    await Promise.all(served)
    expect([...held.values()].every((count) => count === 0)).toBe(true)
    await listener.close()
    await accepting
  })

  test('sends that wait are bounded; one more is refused whole, and the rest arrives in order', async () => {
    const pair = await makePair(core, socketPath())
    const large = Buffer.alloc(1 << 20, 1)
    const sends = [pair.near.send(large)]
    const small = Array.from({ length: 1024 }, (_, i) => Buffer.from(`<${i}>`))
    for (const bytes of small) sends.push(pair.near.send(bytes))
    expect(await pair.near.send(Buffer.from('too many'))).toMatchObject({
      ok: false,
      result: 0,
      error: { code: 'ENOBUFS', syscall: 'write' },
    })
    const text = small.join('')
    const received = await read(pair.far, large.length + text.length)
    expect(received.subarray(large.length).toString()).toBe(text)
    expect((await Promise.all(sends)).every(({ ok }) => ok)).toBe(true)
    await expectWorks(pair)
    await pair.close()
  })
})
