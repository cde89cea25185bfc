/**
 * Connection.pipeTo: what arrives on one connection leaves on another one, whole and in order, and however it ends nothing is
 * lost; by way of pipes in the kernel, and where there are none by way of buffers. The outer peers are sockets of node:net, which
 * know nothing of it.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import net from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Completion, Connection } from '../../src/core/index'
import { digest, pattern, readAll as readOn } from '../e2e/wire'
import {
  carriers,
  drivers,
  expectWorks,
  loadCore,
  makePair,
  read,
  run,
  socketPath,
  start,
  until,
} from './real'
import type { Child, Core } from './real'

const kinds = ['TCP', 'Unix'] as const
type Over = (typeof kinds)[number]

/** One end of the core, and the socket that it talks to. */
interface Side {
  inner: Connection
  outer: Socket
}

/** client - source, destination - server. */
interface Proxy {
  client: Socket
  source: Connection
  destination: Connection
  server: Socket
}

/** What a Unix socket and a pipe do not hold. */
const blockedBytes = 4 << 20

const coded = (code: string) => expect.objectContaining({ code }) as unknown
const ended = (buffer: Connection, result: number) => ({ ok: true, result, buffer })
const failed = (buffer: Connection, code: string, syscall?: string) => ({
  ok: false,
  error: expect.objectContaining(syscall === undefined ? { code } : { code, syscall }) as unknown,
  result: expect.any(Number) as unknown,
  buffer,
})

/** Writes, and waits until the kernel has it. */
function write(socket: Socket, bytes: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error == null ? resolve() : reject(error)))
  })
}

/** The next `length` bytes. */
async function take(socket: Socket, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let left = length; left > 0;) {
    const chunk = socket.read(Math.min(left, socket.readableLength)) as Buffer | null
    if (chunk === null) {
      await once(socket, 'readable')
    } else {
      chunks.push(chunk)
      left -= chunk.length
    }
  }
  return Buffer.concat(chunks)
}

/** All until the end, which may have been told of already. */
function readAll(socket: Socket): Promise<Buffer> {
  return socket.readableEnded ? Promise.resolve(Buffer.alloc(0)) : readOn(socket)
}

/** Until what has begun to move moves no more. There is no event for it. */
async function stuck(value: () => number): Promise<void> {
  await until(() => value() > 0)
  // Twice in a row: where the machine stood still, nothing could move.
  for (let last = 0, times = 0; times < 2; times = last === value() ? times + 1 : 0) {
    last = value()
    await sleep(50)
  }
}

function openPipes(): number {
  const fds = readdirSync('/proc/self/fd')
  return fds.filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:')
    } catch {
      // It was that of the folder.
      return false
    }
  }).length
}

const whole = pattern(16 << 20)
const other = pattern(16 << 20, 1)

const folder = mkdtempSync(join(tmpdir(), 'uring-net-splice-'))
const filter = join(folder, 'refuse.so')

beforeAll(() => {
  const source = join(__dirname, '..', 'register', 'refusal', 'refuse.c')
  // A compiler does not live well with a preloaded sanitizer.
  const env = { ...process.env, LD_PRELOAD: '' }
  const flags = ['-shared', '-fPIC', '-DANSWER=EPERM', '-DONLY_SPLICE']
  execFileSync('gcc', [...flags, source, '-o', filter], { env })
}, 60_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Takes splice(2) from a program. */
const refuse = `
  try { process.dlopen({ exports: {} }, ${JSON.stringify(filter)}) } catch (error) {
    if (!/self-register/.test(error.message)) throw error
  }
`

describe.each(carriers)('$name, by $by', ({ name, by }) => {
  const pipes = by === 'pipes'
  let core: Core
  /** What is open. */
  const closes: (() => Promise<void>)[] = []

  beforeAll(() => {
    core = loadCore(name, { pipes })
  })

  afterEach(async () => {
    for (const close of closes.splice(0)) await close()
    // A pipe is closed a moment later than what it was for.
    await until(() => core.driver.stats().endpoints === 0)
    expect(core.driver.stats()).toMatchObject({
      unexpectedCompletions: 0,
      endpoints: 0,
      inFlight: 0,
    })
  })

  async function makeSide(over: Over): Promise<Side> {
    const path = over === 'Unix' ? socketPath() : undefined
    const where = path === undefined ? { port: 0, host: '127.0.0.1' } : { path }
    const listener = await core.listen(where)
    const address = path === undefined ? { ...where, port: listener.localName!.port } : { path }
    const outer = net.connect({ ...address, allowHalfOpen: true } as net.NetConnectOpts)
    outer.on('error', () => {})
    // It reads when it is told to.
    outer.pause()
    const [inner] = await Promise.all([listener.accept(), once(outer, 'connect')])
    await listener.close()
    outer.setNoDelay()
    closes.push(() => {
      outer.destroy()
      return inner!.close()
    })
    return { inner: inner!, outer }
  }

  async function makeProxy(from: Over = 'Unix', to: Over = from): Promise<Proxy> {
    const [near, far] = [await makeSide(from), await makeSide(to)]
    return { client: near.outer, source: near.inner, destination: far.inner, server: far.outer }
  }

  /** A pipe whose server does not read, with all full that there is between the two. */
  async function makeBlocked(
    from: Over = 'Unix',
    options: { signal?: AbortSignal; timeout?: number } = {},
  ): Promise<Proxy & { piping: Promise<Completion<Connection>>; bytes: Buffer }> {
    const proxy = await makeProxy(from, 'Unix')
    const bytes = pattern(blockedBytes, 3)
    proxy.client.write(bytes)
    let progress = 0
    const piping = proxy.source.pipeTo(proxy.destination, {
      ...options,
      onProgress: (total) => (progress = total),
    })
    if (options.timeout === undefined) await stuck(() => progress)
    return { ...proxy, piping, bytes }
  }

  /** The same with bytes that a pipe before has left: they are sent from memory. `before`: what that one has sent. */
  async function makeBlockedAgain(): Promise<
    Awaited<ReturnType<typeof makeBlocked>> & { before: number }
  > {
    const abort = new AbortController()
    const blocked = await makeBlocked('Unix', { signal: abort.signal })
    abort.abort()
    const { result: before } = await blocked.piping
    const piping = blocked.source.pipeTo(blocked.destination)
    await until(() => core.driver.stats().inFlight! > 0)
    return { ...blocked, piping, before }
  }

  /** Bytes that have left the socket, and that nobody has taken. */
  async function wait({ client, source }: Proxy, bytes: Buffer): Promise<void> {
    await expect(source.receive({ timeout: 1 })).rejects.toEqual(coded('ETIMEDOUT'))
    const before = core.driver.stats().bytesReceived!
    await write(client, bytes)
    await until(() => core.driver.stats().bytesReceived! > before)
  }

  /** The server has received the bytes of the result, and the source gives the rest: just what was sent, in order. */
  async function expectWhole(
    { client, source, destination, server }: Proxy,
    bytes: Buffer,
    result: number,
  ): Promise<void> {
    await destination.shutdown()
    const received = await readAll(server)
    client.end()
    const rest = await read(source)
    expect([received.length, rest.length]).toEqual([result, bytes.length - result])
    expect(digest(Buffer.concat([received, rest]))).toBe(digest(bytes))
    expect(await source.receive()).toBeNull()
  }

  // --- what arrives leaves ------------------------------------------------------------------------

  const ways: [Over, Over][] = [
    ['TCP', 'TCP'],
    ['Unix', 'Unix'],
    ['TCP', 'Unix'],
    ['Unix', 'TCP'],
  ]

  test.each(ways)('a proxy from %s to %s carries both ways at once, whole', async (from, to) => {
    const { client, source, destination, server } = await makeProxy(from, to)
    client.end(whole)
    server.end(other)
    const carry = async (near: Connection, far: Connection) => {
      const end = await near.pipeTo(far)
      await far.shutdown()
      return end
    }
    const [up, down, atServer, atClient] = await Promise.all([
      carry(source, destination),
      carry(destination, source),
      readAll(server),
      readAll(client),
    ])
    expect(up).toEqual(ended(destination, whole.length))
    expect(down).toEqual(ended(source, other.length))
    expect(up.buffer).toBe(destination)
    expect(down.buffer).toBe(source)
    expect([digest(atServer), digest(atClient)]).toEqual([digest(whole), digest(other)])
  })

  test.each(kinds)('a connection that pipes to itself is an echo: %s', async (over) => {
    const { inner, outer } = await makeSide(over)
    const piping = inner.pipeTo(inner)
    const reading = readAll(outer)
    await expect(inner.receive()).rejects.toEqual(coded('ERR_URING_RECEIVE_PENDING'))
    await expect(inner.send(Buffer.from('x'))).rejects.toEqual(coded('ERR_URING_SEND_PENDING'))
    outer.end(whole)
    expect(await piping).toEqual(ended(inner, whole.length))
    await inner.shutdown()
    expect(digest(await reading)).toBe(digest(whole))
  })

  test.each(kinds)('a thousand bytes, one at a time, come in order: %s', async (over) => {
    const { client, source, destination, server } = await makeProxy(over)
    const piping = source.pipeTo(destination)
    const bytes = pattern(1000)
    for (const byte of bytes) {
      await write(client, Buffer.of(byte))
      expect(await take(server, 1)).toEqual(Buffer.of(byte))
    }
    client.end()
    expect(await piping).toEqual(ended(destination, 1000))
  })

  test('eight at once carry what is theirs', async () => {
    const size = 4 << 20
    const carry = async (i: number): Promise<[string, string]> => {
      const { client, source, destination, server } = await makeProxy(...ways[i % ways.length]!)
      const bytes = pattern(size, i)
      client.end(bytes)
      const reading = readAll(server)
      expect(await source.pipeTo(destination)).toEqual(ended(destination, size))
      await destination.shutdown()
      return [digest(await reading), digest(bytes)]
    }
    const carried = await Promise.all(Array.from({ length: 8 }, (_, i) => carry(i)))
    for (const [received, sent] of carried) expect(received).toBe(sent)
  })

  test('after the end of the stream it ends at once, and the next receive() gives null', async () => {
    const { client, source, destination, server } = await makeProxy()
    client.end('all')
    expect(await source.pipeTo(destination)).toEqual(ended(destination, 3))
    expect(await source.receive()).toBeNull()
    expect(await source.pipeTo(destination)).toEqual(ended(destination, 0))
    expect(await source.receive()).toBeNull()
    // It has sent no FIN.
    await destination.send(Buffer.from(' of it'))
    expect(String(await take(server, 9))).toBe('all of it')
  })

  test('it tells how far it is, never within the call', async () => {
    const { client, source, destination, server } = await makeProxy()
    const totals: number[] = []
    let isCalling = true
    let isWithin = false
    const reading = readAll(server)
    await wait({ client, source, destination, server }, Buffer.from('there already'))
    const piping = source.pipeTo(destination, {
      onProgress: (total) => {
        isWithin ||= isCalling
        totals.push(total)
      },
    })
    isCalling = false
    client.end(whole)
    const length = whole.length + 13
    expect(await piping).toEqual(ended(destination, length))
    expect(isWithin).toBe(false)
    expect(totals.length).toBeGreaterThan(1)
    expect(totals).toEqual([...new Set(totals)].sort((one, two) => one - two))
    expect(totals.at(-1)).toBe(length)
    await destination.shutdown()
    expect(await reading).toHaveLength(length)
  })

  // --- order --------------------------------------------------------------------------------------

  test('what was received before and not taken goes first', async () => {
    const proxy = await makeProxy()
    const { client, source, destination, server } = proxy
    await wait(proxy, whole.subarray(0, 150_000))
    client.end(whole.subarray(150_000))
    const reading = readAll(server)
    expect(await source.pipeTo(destination)).toEqual(ended(destination, whole.length))
    await destination.shutdown()
    expect(digest(await reading)).toBe(digest(whole))
  })

  test('what came together with a lease that was taken goes first', async () => {
    const { client, source, destination, server } = await makeProxy('TCP')
    await write(client, whole.subarray(0, 250_000))
    client.end(whole.subarray(250_000))
    const lease = (await source.receive())!
    const first = Buffer.from(lease.bytes)
    const reading = readAll(server)
    const end = await source.pipeTo(destination)
    expect(end).toEqual(ended(destination, whole.length - first.length))
    lease.release()
    await destination.shutdown()
    expect(digest(Buffer.concat([first, await reading]))).toBe(digest(whole))
  })

  test('leases that are out, as many as may be, do not hinder it', async () => {
    const { client, source, destination, server } = await makeProxy()
    client.end(whole)
    const leases = []
    while (leases.length < 16) leases.push((await source.receive())!)
    const before = Buffer.concat(leases.map((lease) => Buffer.from(lease.bytes)))
    const reading = readAll(server)
    const end = await source.pipeTo(destination)
    expect(end).toEqual(ended(destination, whole.length - before.length))
    for (const lease of leases) lease.release()
    await destination.shutdown()
    expect(digest(Buffer.concat([before, await reading]))).toBe(digest(whole))
  })

  test('an end of the stream that has come before nobody asked for it is noticed', async () => {
    const { client, source, destination } = await makeProxy()
    await expect(source.receive({ timeout: 1 })).rejects.toEqual(coded('ETIMEDOUT'))
    client.end()
    await until(() => core.driver.stats().inFlight === 0)
    expect(await source.pipeTo(destination)).toEqual(ended(destination, 0))
    expect(await source.receive()).toBeNull()
  })

  test('sends that were made before go before it', async () => {
    const { client, source, destination, server } = await makeProxy()
    const before = pattern(blockedBytes, 5)
    const sends = [destination.send(before), destination.send(Buffer.from('small'))]
    const piping = source.pipeTo(destination)
    client.end(other)
    const reading = readAll(server)
    expect(await piping).toEqual(ended(destination, other.length))
    expect((await Promise.all(sends)).map(({ ok }) => ok)).toEqual([true, true])
    const after = destination.send(Buffer.from('after'))
    await destination.shutdown()
    expect((await after).ok).toBe(true)
    expect(digest(await reading)).toBe(
      digest(Buffer.concat([before, Buffer.from('small'), other, Buffer.from('after')])),
    )
  })

  test('cancelled while it waits behind a send, it leaves all bytes where they are', async () => {
    const proxy = await makeProxy()
    const { client, source, destination, server } = proxy
    const before = pattern(blockedBytes, 5)
    const sending = destination.send(before)
    client.write('the rest')
    const end = await source.pipeTo(destination, { timeout: 30 })
    expect(end).toEqual({ ...failed(destination, 'ETIMEDOUT'), result: 0 })
    expect(digest(await take(server, before.length))).toBe(digest(before))
    expect((await sending).ok).toBe(true)
    await destination.send(Buffer.from('works'))
    expect(String(await take(server, 5))).toBe('works')
    await expectWhole(proxy, Buffer.from('the rest'), 0)
  })

  test('cancelled while it waits behind a send that has begun, it ends at once', async () => {
    const { source, destination, server } = await makeProxy()
    const abort = new AbortController()
    const small = destination.send(pattern(1 << 20))
    // It goes out in one operation with the mark behind which the pipe begins.
    const blocked = destination.send(pattern(blockedBytes))
    const piping = source.pipeTo(destination, { signal: abort.signal })
    await take(server, 1 << 20)
    expect((await small).ok).toBe(true)
    abort.abort()
    expect(await piping).toEqual(failed(destination, 'ECANCELED'))
    await take(server, blockedBytes)
    expect((await blocked).ok).toBe(true)
  })

  test('behind a send that was cut short nothing leaves', async () => {
    const { client, source, destination } = await makeProxy()
    const cut = await destination.send(pattern(blockedBytes), { timeout: 30 })
    expect(cut.ok).toBe(false)
    expect(cut.result).toBeGreaterThan(0)
    client.end('kept')
    const end = await source.pipeTo(destination)
    expect(end).toMatchObject({ ok: false, result: 0, error: { syscall: 'write' } })
    expect(String(await read(source))).toBe('kept')
  })

  // --- length -------------------------------------------------------------------------------------

  test.each(ways)(
    'of %s to %s it sends as many as it is told to, and the rest is received',
    async (from, to) => {
      const { client, source, destination, server } = await makeProxy(from, to)
      client.end(whole)
      const reading = readAll(server)
      let sent = 0
      for (const length of [1, 65_536, 65_537, 300_001, 5_000_000]) {
        expect(await source.pipeTo(destination, { length })).toEqual(ended(destination, length))
        sent += length
      }
      await destination.shutdown()
      const received = await reading
      expect(received).toHaveLength(sent)
      expect(digest(Buffer.concat([received, await read(source)]))).toBe(digest(whole))
    },
  )

  test('the length counts what was received before', async () => {
    const proxy = await makeProxy()
    const { client, source, destination, server } = proxy
    await wait(proxy, Buffer.from('abcdef'))
    expect(await source.pipeTo(destination, { length: 2 })).toEqual(ended(destination, 2))
    expect(await source.pipeTo(destination, { length: 4 })).toEqual(ended(destination, 4))
    expect(String(await take(server, 6))).toBe('abcdef')
    await wait(proxy, Buffer.from('ghijkl'))
    const piping = source.pipeTo(destination, { length: 8 })
    await write(client, 'mnop')
    expect(await piping).toEqual(ended(destination, 8))
    expect(String(await take(server, 8))).toBe('ghijklmn')
    client.end()
    expect(String(await read(source))).toBe('op')
  })

  test('a length that was received before a reset is sent, and the next receive() learns of that', async () => {
    const { client, source, destination } = await makeProxy('TCP')
    // It reads ahead.
    const first = source.receive()
    await write(client, 'x')
    ;(await first)!.release()
    const before = core.driver.stats().bytesReceived!
    await write(client, 'hello')
    await until(() => core.driver.stats().bytesReceived === before + 5)
    client.resetAndDestroy()
    await until(() => core.driver.stats().inFlight === 0)
    expect(await source.pipeTo(destination, { length: 5 })).toEqual(ended(destination, 5))
    await expect(source.receive()).rejects.toEqual(coded('ECONNRESET'))
  })

  test('a stream that ends before its length has come says how many there were', async () => {
    const { client, source, destination, server } = await makeProxy()
    client.end('short')
    const end = await source.pipeTo(destination, { length: Number.MAX_SAFE_INTEGER })
    expect(end).toEqual(ended(destination, 5))
    expect(String(await take(server, 5))).toBe('short')
    expect(await source.receive()).toBeNull()
  })

  test('messages with a header each are dealt out to two connections', async () => {
    const { client, source, destination, server } = await makeProxy('TCP')
    const second = await makeSide('TCP')
    const pool = new core.Pool({ count: 1, leaseBytes: 4 })
    const header = pool.acquire()!
    const sent: Buffer[][] = [[], []]
    const stream: Buffer[] = []
    for (let i = 0; i < 200; i++) {
      const message = pattern(1 + ((i * 7919) % 40_000), i)
      const head = Buffer.alloc(4)
      head.writeUInt32BE(message.length)
      stream.push(head, message)
      sent[i % 2]!.push(message)
    }
    client.end(Buffer.concat(stream))
    const reading = [readAll(server), readAll(second.outer)]
    const targets = [destination, second.inner]
    for (let i = 0; ; i++) {
      if ((await source.receive({ into: header, minimum: 4 })) === null) break
      const length = header.bytes.readUInt32BE(0)
      const to = targets[i % 2]!
      expect(await source.pipeTo(to, { length })).toEqual(ended(to, length))
    }
    for (const to of targets) await to.shutdown()
    const received = await Promise.all(reading)
    expect(received.map(digest)).toEqual(sent.map((parts) => digest(Buffer.concat(parts))))
    header.release()
  })

  // --- back-pressure ------------------------------------------------------------------------------

  test('a server that does not read stops the client, and when it reads all comes', async () => {
    const { client, source, destination, server } = await makeProxy()
    let written = 0
    const writing = (async () => {
      for (; written < whole.length; written += 65_536) {
        await write(client, whole.subarray(written, written + 65_536))
      }
      client.end()
    })()
    const piping = source.pipeTo(destination)
    await stuck(() => written)
    // Two sockets and the pipe, of some 200 KiB each.
    expect(written).toBeGreaterThan(300_000)
    expect(written).toBeLessThan(2 << 20)
    const reading = readAll(server)
    await writing
    expect(await piping).toEqual(ended(destination, whole.length))
    await destination.shutdown()
    expect(digest(await reading)).toBe(digest(whole))
    expect(await source.receive()).toBeNull()
  })

  test('the end of a stream comes behind what the server was slow to read', async () => {
    const { client, source, destination, server } = await makeProxy()
    // More than the second socket holds, and less than both and the pipe.
    const bytes = pattern(400_000, 9)
    let progress = 0
    const piping = source.pipeTo(destination, { onProgress: (total) => (progress = total) })
    client.end(bytes)
    await once(client, 'finish')
    await stuck(() => progress)
    expect(progress).toBeLessThan(bytes.length)
    const reading = readAll(server)
    expect(await piping).toEqual(ended(destination, bytes.length))
    await destination.shutdown()
    expect(digest(await reading)).toBe(digest(bytes))
  })

  // --- cancelled ----------------------------------------------------------------------------------

  test.each(kinds)(
    'cancelled while the server does not read, what is not sent is received: from %s',
    async (from) => {
      const abort = new AbortController()
      const blocked = await makeBlocked(from, { signal: abort.signal })
      abort.abort()
      const end = await blocked.piping
      expect(end).toEqual(failed(blocked.destination, 'ECANCELED'))
      expect(end.result).toBeGreaterThan(0)
      await expectWhole(blocked, blocked.bytes, end.result)
    },
  )

  test.each(kinds)('at its deadline what is not sent is received: from %s', async (from) => {
    const blocked = await makeBlocked(from, { timeout: 200 })
    const end = await blocked.piping
    expect(end).toEqual(failed(blocked.destination, 'ETIMEDOUT'))
    expect(end.result).toBeGreaterThan(0)
    await expectWhole(blocked, blocked.bytes, end.result)
  })

  test('the end of the stream comes behind what a cancelled pipe has left', async () => {
    const { client, source, destination, server } = await makeProxy()
    const bytes = pattern(400_000, 9)
    const abort = new AbortController()
    let progress = 0
    const onProgress = (total: number): void => void (progress = total)
    const piping = source.pipeTo(destination, { signal: abort.signal, onProgress })
    client.end(bytes)
    await once(client, 'finish')
    await stuck(() => progress)
    abort.abort()
    const { ok, result } = await piping
    expect(ok).toBe(false)
    expect(result).toBeLessThan(bytes.length)
    await expectWhole({ client, source, destination, server }, bytes, result)
  })

  test('what a cancelled pipe has left goes first with the next one, and can be left again', async () => {
    const abort = new AbortController()
    const blocked = await makeBlocked('Unix', { signal: abort.signal })
    const { client, source, destination, server, bytes } = blocked
    abort.abort()
    let { result } = await blocked.piping
    // It is still blocked, now with what was left. The server makes room for a part of that, which cuts it somewhere.
    const taken: Buffer[] = []
    for (let round = 0; round < 8; round++) {
      const again = await source.pipeTo(destination, { timeout: 30 })
      expect(again).toEqual(failed(destination, 'ETIMEDOUT'))
      result += again.result
      taken.push(await take(server, 34_000))
    }
    const reading = readAll(server)
    client.end()
    const last = await source.pipeTo(destination)
    expect(last).toEqual(ended(destination, bytes.length - result))
    await destination.shutdown()
    expect(digest(Buffer.concat([...taken, await reading]))).toBe(digest(bytes))
  })

  test.each(ways)(
    'cancelled again and again while bytes flow from %s to %s, none is lost and none comes twice',
    async (from, to) => {
      const { client, source, destination, server } = await makeProxy(from, to)
      const reading = readAll(server)
      client.end(whole)
      let sent = 0
      for (let round = 1; ; round++) {
        const abort = new AbortController()
        let left = round % 4
        const onProgress = (): void => {
          if (left-- === 0) abort.abort()
        }
        const end = await source.pipeTo(destination, { signal: abort.signal, onProgress })
        sent += end.result
        if (end.ok) break
        expect(end).toEqual(failed(destination, 'ECANCELED'))
        if (round % 3 !== 0) continue
        const lease = await source.receive()
        if (lease === null) break
        sent += (await destination.send(lease)).result
        lease.release()
      }
      expect(sent).toBe(whole.length)
      await destination.shutdown()
      expect(digest(await reading)).toBe(digest(whole))
    },
  )

  test('cancelled while nothing comes, both connections are as they were', async () => {
    const { client, source, destination, server } = await makeProxy()
    const end = await source.pipeTo(destination, { timeout: 20 })
    expect(end).toEqual({ ...failed(destination, 'ETIMEDOUT'), result: 0 })
    await write(client, 'late')
    expect(String(await read(source, 4))).toBe('late')
    expect((await destination.send(Buffer.from('works'))).ok).toBe(true)
    expect(String(await take(server, 5))).toBe('works')
    const abort = new AbortController()
    const piping = source.pipeTo(destination, { signal: abort.signal })
    abort.abort()
    expect(await piping).toEqual({ ...failed(destination, 'ECANCELED'), result: 0 })
    client.end('later')
    expect(await source.pipeTo(destination)).toEqual(ended(destination, 5))
    expect(String(await take(server, 5))).toBe('later')
  })

  test('no listener stays on the signal', async () => {
    const { client, source, destination } = await makeProxy()
    const { signal } = new AbortController()
    const add = jest.spyOn(signal, 'addEventListener')
    const remove = jest.spyOn(signal, 'removeEventListener')
    client.end('x')
    expect(await source.pipeTo(destination, { signal })).toEqual(ended(destination, 1))
    expect(add.mock.calls.length).toBeGreaterThan(0)
    expect(remove).toHaveBeenCalledTimes(add.mock.calls.length)
  })

  // --- failures -----------------------------------------------------------------------------------

  const broken = (buffer: Connection) => ({
    ...failed(buffer, ''),
    error: expect.objectContaining({
      code: expect.stringMatching(/^(EPIPE|ECONNRESET)$/) as unknown,
      syscall: 'write',
    }) as unknown,
  })

  test.each(kinds)(
    'a server that is gone ends it, and the bytes that it did not take are received: %s',
    async (over) => {
      const { client, source, destination, server } = await makeProxy('TCP', over)
      const bytes = pattern(2 << 20)
      await write(client, 'first')
      const piping = source.pipeTo(destination)
      await take(server, 5)
      if (over === 'TCP') server.resetAndDestroy()
      else server.destroy()
      const gone = destination.receive().catch(() => null)
      expect(await gone).toBeNull()
      client.end(bytes)
      const end = await piping
      expect(end).toEqual(broken(destination))
      expect(end.result).toBeGreaterThanOrEqual(5)
      const rest = await read(source)
      expect(rest).toHaveLength(5 + bytes.length - end.result)
      expect(digest(rest)).toBe(digest(bytes.subarray(end.result - 5)))
    },
  )

  test('a server that goes while it does not read ends it, and the rest is received', async () => {
    const { client, source, destination, server, piping, bytes } = await makeBlocked()
    server.destroy()
    const end = await piping
    expect(end).toEqual(broken(destination))
    client.end()
    const rest = await read(source)
    expect(rest).toHaveLength(bytes.length - end.result)
    expect(digest(rest)).toBe(digest(bytes.subarray(end.result)))
  })

  test('after a shutdown nothing is sent, and the bytes are received', async () => {
    const { client, source, destination } = await makeProxy()
    await destination.shutdown()
    client.end('kept')
    const end = await source.pipeTo(destination)
    expect(end).toEqual({ ...failed(destination, 'EPIPE', 'write'), result: 0 })
    expect(String(await read(source))).toBe('kept')
  })

  test('a client that resets ends it, every time: its stream has not ended', async () => {
    const { client, source, destination, server } = await makeProxy('TCP')
    const piping = source.pipeTo(destination)
    await write(client, 'abc')
    expect(String(await take(server, 3))).toBe('abc')
    client.resetAndDestroy()
    expect(await piping).toEqual({ ...failed(destination, 'ECONNRESET', 'read'), result: 3 })
    await expect(source.receive()).rejects.toEqual(coded('ECONNRESET'))
    const again = await source.pipeTo(destination)
    expect(again).toEqual({ ...failed(destination, 'ECONNRESET', 'read'), result: 0 })
    expect((await destination.send(Buffer.from('works'))).ok).toBe(true)
    expect(String(await take(server, 5))).toBe('works')
  })

  test('what came before a reset is sent, then it is told of', async () => {
    const { client, source, destination, server, piping, bytes } = await makeBlocked('TCP')
    client.resetAndDestroy()
    const reading = readAll(server)
    const end = await piping
    expect(end).toEqual(failed(destination, 'ECONNRESET', 'read'))
    await destination.shutdown()
    const received = await reading
    expect(received).toHaveLength(end.result)
    expect(digest(received)).toBe(digest(bytes.subarray(0, end.result)))
    await expect(source.receive()).rejects.toEqual(coded('ECONNRESET'))
  })

  // --- closed -------------------------------------------------------------------------------------

  const endings = (['source', 'destination'] as const).flatMap((which) =>
    (['close', 'reset'] as const).map((how) => [which, how] as const),
  )

  test.each(endings)(
    'while nothing comes it ends when the %s is gone by %s()',
    async (which, how) => {
      for (const over of ['TCP', 'Unix'] as const) {
        const proxy = await makeProxy(over)
        const piping = proxy.source.pipeTo(proxy.destination)
        await write(proxy.client, 'x')
        await take(proxy.server, 1)
        const closing = proxy[which][how]()
        expect(await piping).toEqual({ ...failed(proxy.destination, 'ECANCELED'), result: 1 })
        await closing
      }
    },
  )

  test.each(['close', 'reset'] as const)(
    'while the server does not read it ends when the source is gone by %s()',
    async (how) => {
      const { source, destination, server, piping, bytes } = await makeBlocked()
      const closing = source[how]()
      const end = await piping
      await closing
      expect(end).toEqual(failed(destination, 'ECANCELED'))
      await destination.shutdown()
      const received = await readAll(server)
      expect(received).toHaveLength(end.result)
      expect(digest(received)).toBe(digest(bytes.subarray(0, end.result)))
    },
  )

  test.each(['close', 'reset'] as const)(
    'while the server does not read it ends when the destination is gone by %s(), and the rest is received',
    async (how) => {
      const { client, source, destination, piping, bytes } = await makeBlocked()
      const closing = destination[how]()
      const end = await piping
      await closing
      expect(end).toEqual(failed(destination, 'ECANCELED'))
      client.end()
      const rest = await read(source)
      expect(rest).toHaveLength(bytes.length - end.result)
      expect(digest(rest)).toBe(digest(bytes.subarray(end.result)))
    },
  )

  test.each(['source', 'destination'] as const)(
    'while the server does not read what was received before, it ends when the %s is closed',
    async (which) => {
      const blocked = await makeBlockedAgain()
      const { client, source, destination, server, piping, bytes, before } = blocked
      const closing = blocked[which].close()
      const end = await piping
      await closing
      expect(end).toEqual(failed(destination, 'ECANCELED'))
      const sent = before + end.result
      client.end()
      if (which === 'source') await destination.shutdown()
      const [carried, expected] =
        which === 'source'
          ? [await readAll(server), bytes.subarray(0, sent)]
          : [await read(source), bytes.subarray(sent)]
      expect(carried).toHaveLength(expected.length)
      expect(digest(carried)).toBe(digest(expected))
    },
  )

  test.each(['close', 'reset'] as const)(
    'an echo ends with its connection by %s()',
    async (how) => {
      const { inner, outer } = await makeSide('Unix')
      outer.write(whole)
      let progress = 0
      const piping = inner.pipeTo(inner, { onProgress: (total) => (progress = total) })
      await stuck(() => progress)
      const closing = inner[how]()
      expect(await piping).toEqual(failed(inner, 'ECANCELED'))
      await closing
    },
  )

  test.each([
    ['nothing', false],
    ['a receive that was cancelled', true],
  ])('ended within the tick of the call it has sent nothing, behind %s', async (_what, isArmed) => {
    for (const which of ['source', 'destination', 'signal'] as const) {
      const { source, destination } = await makeProxy()
      const timedOut = { code: 'ETIMEDOUT' }
      if (isArmed) await expect(source.receive({ timeout: 1 })).rejects.toMatchObject(timedOut)
      const abort = new AbortController()
      const piping = source.pipeTo(destination, { signal: abort.signal })
      const closing = which === 'signal' ? abort.abort() : { source, destination }[which].close()
      expect(await piping).toEqual({ ...failed(destination, 'ECANCELED'), result: 0 })
      await closing
    }
  })

  test('its pipes are closed: their number does not grow', async () => {
    const carry = async (): Promise<void> => {
      const { client, source, destination } = await makeProxy()
      client.end('x')
      expect((await source.pipeTo(destination)).ok).toBe(true)
      const blocked = await makeProxy()
      const timedOut = await blocked.source.pipeTo(blocked.destination, { timeout: 1 })
      expect(timedOut.ok).toBe(false)
      const closed = blocked.source.pipeTo(blocked.destination)
      await Promise.all([source.close(), destination.close(), blocked.source.close()])
      expect((await closed).ok).toBe(false)
      await blocked.destination.close()
    }
    for (let i = 0; i < 3; i++) await carry()
    const before = openPipes()
    for (let i = 0; i < 30; i++) await carry()
    expect(openPipes()).toBeLessThanOrEqual(before)
  })

  test('connections on which nothing comes take turns with one pipe, and it is closed behind the last of them', async () => {
    const before = openPipes()
    const proxies = await Promise.all(Array.from({ length: 8 }, () => makeProxy()))
    const piping = proxies.map(({ source, destination }) => source.pipeTo(destination))
    for (const [i, { client, server }] of proxies.entries()) {
      client.write(`${i}`)
      expect(String(await take(server, 1))).toBe(`${i}`)
    }
    // One pipe has two descriptors.
    expect(openPipes() - before).toBe(pipes ? 2 : 0)
    for (const { client } of proxies) client.end()
    const ends = await Promise.all(piping)
    expect(ends).toEqual(proxies.map(({ destination }) => ended(destination, 1)))
    await until(() => openPipes() === before)
  })

  test('connections whose servers do not read have a pipe each, and a few are kept for the others', async () => {
    const before = openPipes()
    const last = await makeProxy()
    const lasting = last.source.pipeTo(last.destination)
    const blocked = await Promise.all(Array.from({ length: 20 }, () => makeBlocked()))
    await until(() => openPipes() - before === (pipes ? 40 : 0))
    for (const { client } of blocked) client.end()
    const reading = blocked.map(({ server }) => readAll(server))
    for (const { piping, destination } of blocked) {
      expect((await piping).result).toBe(blockedBytes)
      await destination.shutdown()
    }
    for (const bytes of await Promise.all(reading)) expect(bytes).toHaveLength(blockedBytes)
    await until(() => openPipes() - before === (pipes ? 32 : 0))
    last.client.end('x')
    expect(await lasting).toEqual(ended(last.destination, 1))
    await until(() => openPipes() === before)
  })

  // --- what is refused ----------------------------------------------------------------------------

  test('meanwhile what would come between is refused, and the other ways are free', async () => {
    const { client, source, destination, server } = await makeProxy()
    const second = await makeProxy()
    const lease = new core.Pool({ count: 1, leaseBytes: 8 }).acquire()!
    const piping = source.pipeTo(destination)
    const receiving = coded('ERR_URING_RECEIVE_PENDING')
    const sending = coded('ERR_URING_SEND_PENDING')
    // Within the tick of the call, and when it is under way.
    for (let turn = 0; turn < 2; turn++) {
      await expect(source.receive()).rejects.toEqual(receiving)
      await expect(source.receive({ into: lease })).rejects.toEqual(receiving)
      await expect(source.pipeTo(second.destination)).rejects.toEqual(receiving)
      await expect(source.pipeTo(destination)).rejects.toMatchObject({
        code: expect.stringMatching(/^ERR_URING_(RECEIVE|SEND)_PENDING$/) as unknown,
      })
      expect(() => core.toReadiness(source)).toThrow(receiving as Error)
      await expect(destination.send(Buffer.from('x'))).rejects.toEqual(sending)
      await expect(destination.sendFile(__filename)).rejects.toEqual(sending)
      await expect(destination.chain().send(lease).submit()).rejects.toEqual(sending)
      await expect(destination.shutdown()).rejects.toEqual(sending)
      await expect(second.source.pipeTo(destination)).rejects.toEqual(sending)
      expect(lease.state).toBe('owned')
      await write(client, 'piped')
      expect(String(await take(server, 5))).toBe('piped')
    }
    expect((await source.send(Buffer.from('answer'))).ok).toBe(true)
    expect(String(await take(client, 6))).toBe('answer')
    await write(server, 'answer')
    expect(String(await read(destination, 6))).toBe('answer')
    // Who was refused is as it was.
    second.client.end('second')
    const seconds = await second.source.pipeTo(second.destination)
    expect(seconds).toEqual(ended(second.destination, 6))
    client.end()
    expect(await piping).toEqual(ended(destination, 10))
    // What was locked is free.
    expect(await source.receive()).toBeNull()
    expect((await destination.send(Buffer.from('after'))).ok).toBe(true)
    expect(String(await take(server, 5))).toBe('after')
    await destination.shutdown()
    lease.release()
  })

  test('a loop over its source fails', async () => {
    const { source, destination } = await makeProxy()
    const piping = source.pipeTo(destination)
    const loop = (async () => {
      for await (const lease of source) lease.release()
    })()
    await expect(loop).rejects.toEqual(coded('ERR_URING_RECEIVE_PENDING'))
    // A loop that fails closes its connection.
    expect(await piping).toEqual(failed(destination, 'ECANCELED'))
  })

  test('it is refused while somebody receives, or sends a file, and locks nothing then', async () => {
    const proxy = await makeProxy()
    const { client, source, destination, server } = proxy
    const receiving = source.receive()
    await expect(source.pipeTo(destination)).rejects.toEqual(coded('ERR_URING_RECEIVE_PENDING'))
    expect((await destination.send(Buffer.from('free'))).ok).toBe(true)
    expect(String(await take(server, 4))).toBe('free')
    await write(client, 'x')
    ;(await receiving)!.release()
    const file = destination.sendFile(__filename)
    await expect(source.pipeTo(destination)).rejects.toEqual(coded('ERR_URING_SEND_PENDING'))
    const waiting = source.receive()
    await write(client, 'y')
    expect(String((await waiting)!.bytes)).toBe('y')
    const sent = (await Promise.all([file, take(server, 10)]))[0]
    expect(sent.ok).toBe(true)
    client.end('z')
    expect(await source.pipeTo(destination)).toEqual(ended(destination, 1))
  })

  test('what is no connection, length, timeout or signal is refused, and nothing is changed by it', async () => {
    const pair = await makePair(core)
    const { near, far } = pair
    const second = await makePair(loadCore(name))
    closes.push(pair.close, second.close)
    const lookalike: unknown = Object.create(core.Connection.prototype)
    const { outer } = await makeSide('Unix')
    for (const to of [undefined, null, {}, 5, 'x', far.channel, outer, lookalike, second.near]) {
      await expect(near.pipeTo(to as never)).rejects.toEqual(coded('ERR_INVALID_ARG_TYPE'))
    }
    for (const length of [0, -1, 1.5, NaN, Infinity, 2 ** 53, '5', null, {}, 5n]) {
      const options = { length: length as number }
      await expect(near.pipeTo(far, options)).rejects.toEqual(coded('ERR_OUT_OF_RANGE'))
    }
    for (const timeout of [0, -1, 1.5, NaN, Infinity, 2 ** 31, '5', null, {}]) {
      const options = { timeout: timeout as number }
      await expect(near.pipeTo(far, options)).rejects.toEqual(coded('ERR_OUT_OF_RANGE'))
    }
    for (const signal of [null, 5, {}, { aborted: false, throwIfAborted() {} }]) {
      const options = { signal: signal as unknown as AbortSignal }
      await expect(near.pipeTo(far, options)).rejects.toEqual(coded('ERR_INVALID_ARG_TYPE'))
    }
    const signal = AbortSignal.abort()
    await expect(near.pipeTo(far, { signal })).rejects.toBe(signal.reason)
    await expectWorks(pair)
    await expectWorks(second)
  })

  test('a connection that is closed or was handed off is refused', async () => {
    const pair = await makePair(core)
    const [one, two] = [await makeSide('Unix'), await makeSide('Unix')]
    const readiness = core.toReadiness(two.inner)
    for (const [from, to, code] of [
      [one.inner, two.inner, 'ERR_URING_HANDED_OFF'],
      [two.inner, one.inner, 'ERR_URING_HANDED_OFF'],
    ] as const) {
      await expect(from.pipeTo(to)).rejects.toEqual(coded(code))
    }
    void pair.near.close()
    await expect(pair.near.pipeTo(one.inner)).rejects.toEqual(coded('ERR_URING_CLOSED'))
    await expect(one.inner.pipeTo(pair.near)).rejects.toEqual(coded('ERR_URING_CLOSED'))
    await expect(pair.near.pipeTo(pair.near)).rejects.toEqual(coded('ERR_URING_CLOSED'))
    // It is free.
    one.outer.end('x')
    expect(String(await read(one.inner))).toBe('x')
    await Promise.all([readiness.close(), pair.close()])
  })

  // --- a process of its own -----------------------------------------------------------------------

  /** A program that pipes between two connections to here, and what it is connected to. */
  async function startProgram(
    body: string,
    flags: string[] = [],
  ): Promise<{ child: Child; client: Socket; server: Socket; stop(): void }> {
    const sockets: Socket[] = []
    const listener = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      socket.on('error', () => {})
      sockets.push(socket)
    })
    const path = socketPath()
    await once(listener.listen(path), 'listening')
    const source = `
      const { setImmediate: turn, setTimeout: sleep } = require('node:timers/promises')
      const path = ${JSON.stringify(path)}
      const told = ({ ok, result, error }) => print(ok, result, error?.code)
      ${pipes ? '' : refuse}
      ${body}`
    const child = start(name, source, { flags })
    let isExited = false
    void child.exited.then(() => (isExited = true))
    await until(() => sockets.length === 2 || isExited)
    listener.close()
    if (sockets.length < 2) throw new Error(child.output)
    const stop = (): void => sockets.forEach((socket) => socket.destroy())
    return { child, client: sockets[0]!, server: sockets[1]!, stop }
  }

  /** Until it has printed it, or has ended. */
  async function untilPrinted(child: Child, text: string): Promise<void> {
    let isExited = false
    void child.exited.then(() => (isExited = true))
    await until(() => isExited || child.output.includes(text))
    expect(child.output).toContain(text)
  }

  test('a program lives while it pipes, and ends when that is done', async () => {
    const { child, client, server, stop } = await startProgram(`
      const source = await core.connect({ path })
      const destination = await core.connect({ path })
      source.pipeTo(destination).then(told)
      // This one does not keep it alive.
      setTimeout(() => print('alive'), 200).unref()`)
    await untilPrinted(child, 'alive')
    await write(client, 'some')
    expect(String(await take(server, 4))).toBe('some')
    client.end(' more')
    expect(await child.exited).toEqual({ output: 'alive\ntrue 9 \n', code: 0 })
    expect(String(await readAll(server))).toBe(' more')
    stop()
  })

  test('a program lives while the server does not read, and ends when all is sent', async () => {
    const { child, client, server, stop } = await startProgram(`
      const source = await core.connect({ path })
      const destination = await core.connect({ path })
      let progress = 0
      source.pipeTo(destination, { onProgress: (total) => (progress = total) }).then(told)
      for (let last = -1; last !== progress || last === 0; ) {
        last = progress
        // Nor does this.
        await sleep(100, undefined, { ref: false })
      }
      print('blocked')`)
    client.end(pattern(blockedBytes))
    await untilPrinted(child, 'blocked')
    expect(await readAll(server)).toHaveLength(blockedBytes)
    const output = `blocked\ntrue ${blockedBytes} \n`
    expect(await child.exited).toEqual({ output, code: 0 })
    stop()
  })

  test.each(['signal', 'timeout'])(
    'a program ends when its pipe was cancelled by %s',
    async (by) => {
      const { child, stop } = await startProgram(`
      const source = await core.connect({ path })
      const destination = await core.connect({ path })
      const abort = new AbortController()
      const options = ${by === 'signal' ? '{ signal: abort.signal }' : '{ timeout: 20 }'}
      source.pipeTo(destination, options).then(told)
      setTimeout(() => abort.abort(), 20)`)
      const code = by === 'signal' ? 'ECANCELED' : 'ETIMEDOUT'
      expect(await child.exited).toEqual({ output: `false 0 ${code}\n`, code: 0 })
      stop()
    },
  )

  test('connections that nobody holds are not collected while one pipes to the other', async () => {
    const { child, client, server, stop } = await startProgram(
      `await (async () => {
        const source = await core.connect({ path })
        const destination = await core.connect({ path })
        source.pipeTo(destination).then(told)
      })()
      for (let i = 0; i < 20; i++) { gc(); await turn(); await sleep(1) }
      print('collected')`,
      ['--expose-gc'],
    )
    await untilPrinted(child, 'collected')
    await write(client, 'still')
    expect(String(await take(server, 5))).toBe('still')
    client.end(' there')
    expect(await child.exited).toEqual({ output: 'collected\ntrue 11 \n', code: 0 })
    expect(String(await readAll(server))).toBe(' there')
    stop()
  })

  test.each(['the client', 'the server'])(
    'a program that waits for %s costs no time',
    async (whom) => {
      const { child, client, server, stop } = await startProgram(`
      const source = await core.connect({ path })
      const destination = await core.connect({ path })
      let progress = 0
      source.pipeTo(destination, { onProgress: (total) => (progress = total) }).then(told)
      for (let last = -1; last !== progress || last === 0; ) {
        last = progress
        await sleep(100)
      }
      const before = process.cpuUsage()
      await sleep(500)
      const { user, system } = process.cpuUsage(before)
      const milliseconds = (user + system) / 1000
      print(milliseconds < 150 ? 'idle' : milliseconds)`)
      const bytes = pattern(whom === 'the client' ? 1000 : blockedBytes)
      client.write(bytes)
      await untilPrinted(child, '\n')
      expect(child.output).toBe('idle\n')
      client.end()
      expect(digest(await readAll(server))).toBe(digest(bytes))
      expect(await child.exited).toEqual({ output: `idle\ntrue ${bytes.length} \n`, code: 0 })
      stop()
    },
  )

  test('a program that pipes to a server that does not read gets no larger', async () => {
    const { child, client, server, stop } = await startProgram(`
      const source = await core.connect({ path })
      const destination = await core.connect({ path })
      const before = process.memoryUsage().arrayBuffers
      const { result } = await source.pipeTo(destination)
      const grown = process.memoryUsage().arrayBuffers - before
      print(result, grown < 4 << 20 ? 'and no larger' : grown)`)
    client.end(whole)
    expect(digest(await readAll(server))).toBe(digest(whole))
    expect(await child.exited).toEqual({ output: `${whole.length} and no larger\n`, code: 0 })
    stop()
  })
})

describe.each(drivers)('%s, what the kernel refuses', (name) => {
  const carries = `
    const net = require('node:net')
    const { once } = require('node:events')
    const text = 'x'.repeat(1_000_000)
    let received = ''
    const server = net.createServer((socket) => socket.setEncoding('latin1').on('data', (data) => (received += data)))
    const client = net.createServer((socket) => socket.end(text))
    const [source, destination] = await Promise.all([client, server].map(async (each) => {
      await once(each.listen(0, '127.0.0.1'), 'listening')
      const connected = once(each, 'connection')
      const connection = await core.connect({ port: each.address().port })
      await connected
      return connection
    }))
    const carry = async () => {
      const { ok, error } = await source.pipeTo(destination)
      await destination.shutdown()
      while (ok && received.length < text.length) await new Promise(setImmediate)
      print(ok, received === text, error?.code)
      process.exit()
    }`

  const said = `print(core.driver.features.includes('splice'))`

  test('where splice(2) is refused, bytes are copied, and the driver says so', async () => {
    const allowed = `${carries}
      ${said}
      await carry()`
    expect((await run(name, allowed)).output).toBe('true\ntrue true \n')
    const refused = `${refuse}${allowed}`
    expect((await run(name, refused)).output).toBe('false\ntrue true \n')
  })

  test('when it is refused later, bytes are copied from then on', async () => {
    const later = `${carries}
      ${said}
      const first = await source.pipeTo(destination, { length: 1000 })
      print(first.result)
      ${refuse}
      await source.pipeTo(destination, { length: 1000 })
      ${said}
      await carry()`
    expect((await run(name, later)).output).toBe('true\n1000\nfalse\ntrue true \n')
  })

  test('when no descriptor is left for a pipe, bytes are copied', async () => {
    const exhausted = `${carries}
      const fs = require('node:fs')
      const open = () => { try { return fs.openSync('/dev/null') } catch (error) { return error.code } }
      let last
      do last = open(); while (typeof last === 'number')
      print(last)
      await carry()`
    const { output } = await run(name, exhausted, {
      node: 'sh',
      flags: ['-c', 'ulimit -n 256; exec "$@"', 'sh', process.execPath],
    })
    expect(output).toBe('EMFILE\ntrue true \n')
  })
})
