/**
 * toReadiness on both drivers, and the reason it exists: one and the same prioritising writer corrupts the stream on a
 * naive completion wrapper and does not on ours. Every wait is for an event; Jest's deadline is the last resort.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import type { Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { programDeadlineMs } from '../deadlines'
import { FrameReader, PriorityWriter } from '../../examples/priority-writer'
import type { Sink } from '../../examples/priority-writer'
import type { Readiness } from '../../src/adapters/readiness'
import type { Connection } from '../../src/core/index'
import { loadAdapters } from './adapters'
import { drivers } from './subjects'
import { digest, listening, pattern, readAll } from './wire'

/**
 * What a wrapper does that takes "would block" for "not finished yet": it hands the bytes over, answers false, and gives
 * the outcome of that send as the answer to the next call, whatever bytes that one offers.
 */
class NaiveCompletionSink implements Sink {
  onWritable: (() => void) | null = null
  readonly #connection: Connection
  #state: 'idle' | 'sending' | 'sent' = 'idle'

  constructor(connection: Connection) {
    this.#connection = connection
  }

  tryWrite(bytes: Uint8Array): boolean {
    if (this.#state === 'sent') {
      this.#state = 'idle'
      return true
    }
    if (this.#state === 'idle') {
      this.#state = 'sending'
      void this.#connection.send(bytes).then(() => {
        this.#state = 'sent'
        this.onWritable?.()
      })
    }
    return false
  }
}

describe.each(drivers)('toReadiness on %s', (name) => {
  const { connect, driver, toReadiness } = loadAdapters(name)
  const folder = mkdtempSync(join(tmpdir(), 'uring-net-'))
  let server: Server
  let peer: Socket
  let connection: Connection

  // A Unix socket: the kernel buffers some 200 KiB of it and no more, so that pressure is cheap and certain.
  beforeEach(async () => {
    const path = join(folder, 'socket')
    server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
    server.listen(path)
    await once(server, 'listening')
    const accepted = once(server, 'connection')
    connection = await connect({ path })
    ;[peer] = (await accepted) as [Socket]
    peer.on('error', () => {})
  })

  afterEach(async () => {
    peer.destroy()
    const closed = once(server, 'close')
    server.close()
    await closed
    expect(driver.stats().unexpectedCompletions).toBe(0)
  })

  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  /** Resolves when the readiness calls back. */
  const readable = (socket: Readiness): Promise<void> =>
    new Promise((resolve) => (socket.onReadable = resolve))
  const writable = (socket: Readiness): Promise<void> =>
    new Promise((resolve) => (socket.onWritable = resolve))

  /** Reads to the end. */
  async function readToEnd(socket: Readiness, room = 5000): Promise<Buffer> {
    const chunks: Buffer[] = []
    for (;;) {
      const into = Buffer.alloc(room)
      const called = readable(socket)
      const count = socket.tryRead(into)
      if (count === 0) return Buffer.concat(chunks)
      if (count > 0) chunks.push(into.subarray(0, count))
      else await called
    }
  }

  const dataFrames = 100
  const urgentFrames = 5

  /** The same traffic for every sink: data until one is refused, then urgent frames, while the peer reads nothing. */
  async function writeUnderPressure(sink: Sink): Promise<PriorityWriter> {
    const writer = new PriorityWriter(sink)
    for (let i = 0; i < dataFrames; i++) writer.write('data', 40_000)
    expect(writer.waiting).toBeGreaterThan(0)
    for (let i = 0; i < urgentFrames; i++) writer.write('urgent', 8)
    return writer
  }

  it('the prioritising writer corrupts a naive completion wrapper', async () => {
    const reader = new FrameReader()
    const writer = await writeUnderPressure(new NaiveCompletionSink(connection))
    const reading = readAll(peer)
    await writer.idle()
    // What the wrapper still has in flight is sent, then the end.
    await connection.shutdown()
    reader.push(await reading)
    reader.finish({ data: dataFrames, urgent: urgentFrames })
    // The first data frame was handed over and "refused"; its completion passed for that of an urgent frame.
    expect(reader.corruption).toMatch(/came where|of \d+ (data|urgent) frames/)
    await connection.close()
  })

  it('without anything to overtake, the naive wrapper gets away with it', async () => {
    const reader = new FrameReader()
    const writer = new PriorityWriter(new NaiveCompletionSink(connection))
    for (let i = 0; i < dataFrames; i++) writer.write('data', 40_000)
    const reading = readAll(peer)
    await writer.idle()
    await connection.shutdown()
    reader.push(await reading)
    reader.finish({ data: dataFrames, urgent: 0 })
    expect(reader.corruption).toBeUndefined()
    await connection.close()
  })

  it('the same writer on toReadiness: every frame once, whole, in order, urgent ones early', async () => {
    const reader = new FrameReader()
    const socket = toReadiness(connection)
    const writer = await writeUnderPressure(socket)
    const acceptedAtFirst = writer.accepted
    const reading = readAll(peer)
    await writer.idle()
    socket.shutdown()
    reader.push(await reading)
    reader.finish({ data: dataFrames, urgent: urgentFrames })
    expect(reader.corruption).toBeUndefined()
    const places = reader.frames.flatMap(({ kind }, index) => (kind === 'urgent' ? [index] : []))
    expect(places).toHaveLength(urgentFrames)
    // Behind what was accepted before them, ahead of all that was refused.
    expect(Math.max(...places)).toBeLessThan(acceptedAtFirst + urgentFrames)
    expect(acceptedAtFirst).toBeLessThan(dataFrames / 2)
    await socket.close()
  })

  it('what is refused is never sent; what is accepted leaves without further calls', async () => {
    const socket = toReadiness(connection, { highWaterMark: 1000 })
    const accepted: Buffer[] = []
    const bytes = Buffer.alloc(700)
    let refusals = 0
    for (let i = 0; i < 2000; i++) {
      bytes.fill(i & 0xff)
      if (socket.tryWrite(bytes)) accepted.push(Buffer.from(bytes))
      else {
        refusals++
        if (i % 2 === 0) await new Promise(setImmediate)
      }
      expect(socket.queuedBytes).toBeLessThanOrEqual(1000)
      // The memory is the caller's again.
      bytes.fill(0xee)
    }
    expect(refusals).toBeGreaterThan(0)
    socket.shutdown()
    const received = await readAll(peer)
    expect(received.length).toBe(accepted.length * 700)
    expect(digest(received)).toBe(digest(Buffer.concat(accepted)))
    await socket.close()
  })

  it('a message larger than highWaterMark is accepted when nothing is queued', async () => {
    const socket = toReadiness(connection, { highWaterMark: 1000 })
    expect(socket.tryWrite(pattern(2 << 20))).toBe(true)
    expect(socket.tryWrite(Buffer.alloc(1))).toBe(false)
    const woken = writable(socket)
    const reading = readAll(peer)
    await woken
    expect(socket.queuedBytes).toBe(0)
    expect(socket.tryWrite(Buffer.from('x'))).toBe(true)
    socket.shutdown()
    const received = await reading
    expect(digest(received.subarray(0, -1))).toBe(digest(pattern(2 << 20)))
    await socket.close()
  })

  it('onWritable is called once for each refusal that is worth repeating, never inside a call', async () => {
    const socket = toReadiness(connection)
    let calls = 0
    socket.onWritable = () => calls++
    while (socket.tryWrite(Buffer.alloc(40_000)));
    const refused = Buffer.alloc(40_000)
    expect(socket.tryWrite(refused)).toBe(false)
    expect(calls).toBe(0)
    const woken = new Promise<void>((resolve) => {
      socket.onWritable = () => {
        calls++
        resolve()
      }
    })
    peer.resume()
    await woken
    expect(socket.tryWrite(refused)).toBe(true)
    socket.shutdown()
    await once(peer, 'end')
    expect(calls).toBe(1)
    await socket.close()
  })

  it('reads: would block, then bytes, then the end', async () => {
    const socket = toReadiness(connection)
    const into = Buffer.alloc(10)
    const called = readable(socket)
    expect(socket.tryRead(into)).toBe(-1)
    peer.write('hello, world')
    await called
    expect(socket.tryRead(into)).toBe(10)
    expect(socket.tryRead(into)).toBe(2)
    const again = readable(socket)
    expect(socket.tryRead(into)).toBe(-1)
    peer.end()
    await again
    expect(socket.tryRead(into)).toBe(0)
    expect(socket.tryRead(into)).toBe(0)
    expect(() => socket.tryRead(Buffer.alloc(0))).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
    )
    await socket.close()
  })

  it('takes a Uint8Array for as long as its memory, whatever its properties say', async () => {
    const socket = toReadiness(connection)
    const received = readAll(peer)
    const lying = (bytes: Buffer, length: number): Buffer =>
      Object.defineProperties(bytes, { length: { value: length }, byteLength: { value: length } })
    expect(socket.tryWrite(lying(Buffer.from('long '), 300))).toBe(true)
    expect(socket.tryWrite(lying(Buffer.from('short '), 1))).toBe(true)
    expect(socket.tryWrite(lying(Buffer.alloc(20_000, 'x'), 3))).toBe(true)
    const into = Buffer.alloc(4)
    const called = readable(socket)
    expect(socket.tryRead(lying(into, 0))).toBe(-1)
    peer.end('hello')
    await called
    expect(socket.tryRead(into)).toBe(4)
    expect(Buffer.from(into.buffer, into.byteOffset, 4).toString()).toBe('hell')
    socket.shutdown()
    expect((await received).toString('latin1')).toBe(`long short ${'x'.repeat(20_000)}`)
    await socket.close()
  })

  it('a reader that does not ask stops the kernel; nothing is lost', async () => {
    const before = driver.stats().bytesReceived!
    const socket = toReadiness(connection)
    const called = readable(socket)
    expect(socket.tryRead(Buffer.alloc(1))).toBe(-1)
    const bytes = pattern(8 << 20)
    peer.end(bytes)
    await called
    // Long enough for a driver that went on receiving to take it all: the peer's end is on this loop, too.
    for (let i = 0; i < 200; i++) await new Promise(setImmediate)
    expect(driver.stats().bytesReceived! - before).toBeLessThan(4 << 20)
    expect(digest(await readToEnd(socket))).toBe(digest(bytes))
    await socket.close()
  })

  it('what was received before it took over is read first', async () => {
    peer.write('first ')
    const lease = await connection.receive()
    lease!.release()
    peer.end('second')
    const socket = toReadiness(connection)
    expect((await readToEnd(socket)).toString()).toBe('second')
    await socket.close()
  })

  it('close() sends what the same tick accepted, then everything throws ERR_URING_CLOSED', async () => {
    const socket = toReadiness(connection)
    for (let i = 0; i < 100; i++) expect(socket.tryWrite(Buffer.from(`message ${i}\n`))).toBe(true)
    const closed = socket.close()
    expect(socket.close()).toBe(closed)
    const refusal = expect.objectContaining({ code: 'ERR_URING_CLOSED' }) as Error
    expect(() => socket.tryWrite(Buffer.from('late'))).toThrow(refusal)
    expect(() => socket.tryRead(Buffer.alloc(1))).toThrow(refusal)
    expect(() => socket.shutdown()).toThrow(refusal)
    await closed
    expect((await readAll(peer)).toString().split('\n')).toHaveLength(101)
  })

  it('after shutdown() writing throws EPIPE and reading goes on', async () => {
    const socket = toReadiness(connection)
    socket.tryWrite(Buffer.from('question'))
    socket.shutdown()
    socket.shutdown()
    expect(() => socket.tryWrite(Buffer.from('late'))).toThrow(
      expect.objectContaining({ code: 'EPIPE', syscall: 'write' }),
    )
    expect((await readAll(peer)).toString()).toBe('question')
    peer.end('answer')
    expect((await readToEnd(socket)).toString()).toBe('answer')
    await socket.close()
  })

  it('close() under pressure ends, and calls nothing back', async () => {
    const socket = toReadiness(connection)
    while (socket.tryWrite(Buffer.alloc(40_000)));
    socket.tryWrite(Buffer.alloc(40_000))
    socket.onWritable = socket.onReadable = () => {
      throw new Error('called after close()')
    }
    await socket.close()
    await new Promise(setImmediate)
  })

  it('after a failed send the error is told, and nothing follows', async () => {
    const socket = toReadiness(connection)
    while (socket.tryWrite(Buffer.alloc(40_000)));
    const woken = writable(socket)
    peer.destroy()
    await woken
    const failure = expect.objectContaining({ syscall: 'write' }) as Error
    // The first wake may come before the failure, when the kernel took one send more.
    const tryUntilRefused = async (): Promise<void> => {
      while (socket.tryWrite(Buffer.alloc(40_000)));
      await writable(socket)
    }
    await expect(
      (async () => {
        for (;;) await tryUntilRefused()
      })(),
    ).rejects.toEqual(failure)
    expect(() => socket.tryWrite(Buffer.from('x'))).toThrow(failure)
    expect(['EPIPE', 'ECONNRESET']).toContain((socket.error as NodeJS.ErrnoException).code)
    await socket.close()
  })

  it('a reset is told by tryRead, after what had arrived', async () => {
    await connection.close()
    const tcp = net.createServer()
    const port = await listening(tcp)
    const accepted = once(tcp, 'connection')
    const socket = toReadiness(await connect({ port, host: '127.0.0.1' }))
    const [other] = (await accepted) as [Socket]
    const called = readable(socket)
    expect(socket.tryRead(Buffer.alloc(4))).toBe(-1)
    other.write('last')
    await called
    const failed = readable(socket)
    const into = Buffer.alloc(4)
    expect(socket.tryRead(into)).toBe(4)
    expect(socket.tryRead(into)).toBe(-1)
    other.resetAndDestroy()
    await failed
    expect(() => socket.tryRead(into)).toThrow('read ECONNRESET')
    expect((socket.error as NodeJS.ErrnoException).code).toBe('ECONNRESET')
    await socket.close()
    tcp.close()
    await once(tcp, 'close')
  })

  it('what process.exit() finds accepted in its own tick still leaves', async () => {
    await connection.close()
    const tcp = net.createServer()
    const port = await listening(tcp)
    const accepted = once(tcp, 'connection')
    const script = `
      const { connect } = require('./dist/src/core/index.js')
      const { toReadiness } = require('./dist/src/adapters/readiness.js')
      connect({ port: ${port}, host: '127.0.0.1' }).then((connection) => {
        const socket = toReadiness(connection)
        for (let i = 0; i < 10; i++) socket.tryWrite(Buffer.from('tick '))
        process.exit()
      })`
    const root = resolve(__dirname, '../..')
    const env = { ...process.env, URING_NET_DRIVER: name }
    const running = promisify(execFile)(process.execPath, ['-e', script], {
      cwd: root,
      env,
      timeout: programDeadlineMs,
    })
    const [other] = (await accepted) as [Socket]
    expect((await readAll(other)).toString()).toBe('tick '.repeat(10))
    await running
    tcp.close()
    await once(tcp, 'close')
  })

  it.each([0, -1, 1.5, NaN])(
    'refuses a highWaterMark of %p and leaves the connection alone',
    async (mark) => {
      expect(() => toReadiness(connection, { highWaterMark: mark })).toThrow(
        expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
      )
      expect((await connection.send(Buffer.from('usable'))).ok).toBe(true)
      await connection.close()
    },
  )
})
