/**
 * toDuplex against node:net as peer, on both drivers. Every wait is for an event; Jest's deadline is the last resort.
 */
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import type { Server, Socket } from 'node:net'
import { PassThrough, finished } from 'node:stream'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import tls from 'node:tls'
import { createCertificate } from '../../examples/demo/certificate'
import type { Connection } from '../../src/core/index'
import { loadAdapters } from './adapters'
import { drivers } from './subjects'
import { digest, listening, pattern, readAll } from './wire'

const host = '127.0.0.1'

describe.each(drivers)('toDuplex on %s', (name) => {
  const { connect, driver, toDuplex } = loadAdapters(name)
  const servers: Server[] = []
  const sockets = new Set<Socket>()

  async function serve(server: Server): Promise<number> {
    servers.push(server)
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
    })
    return listening(server)
  }

  /** A Duplex and the node:net socket at the other end, which does not read yet. */
  async function pair(options = {}): Promise<{ duplex: Duplex; peer: Socket }> {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
    const port = await serve(server)
    const accepted = once(server, 'connection')
    const duplex = toDuplex(await connect({ port, host }), options)
    const [peer] = (await accepted) as [Socket]
    return { duplex, peer }
  }

  /** Names of events in the order they come. */
  function record(duplex: Duplex): string[] {
    const events: string[] = []
    for (const event of ['end', 'finish', 'error', 'close']) {
      duplex.on(event, () => events.push(event))
    }
    return events
  }

  afterEach(async () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    const closed = servers.splice(0).map((server) => {
      const isClosed = once(server, 'close')
      server.close()
      return isClosed
    })
    await Promise.all(closed)
    expect(driver.stats().unexpectedCompletions).toBe(0)
  })

  it('runs on the driver it names', () => {
    expect(driver.name).toBe(name)
  })

  it.each([1, 1000, 65536, 65537, 1 << 20, 10 << 20])('echoes %i bytes', async (length) => {
    const port = await serve(net.createServer((socket) => socket.pipe(socket)))
    const duplex = toDuplex(connect({ port, host }))
    const bytes = pattern(length, length)
    const closed = once(duplex, 'close')
    duplex.end(bytes)
    const received = await readAll(duplex)
    expect(received.length).toBe(length)
    expect(digest(received)).toBe(digest(bytes))
    await closed
  })

  it('sends strings and corked chunks in order, with the encoding of end()', async () => {
    const { duplex, peer } = await pair()
    duplex.cork()
    duplex.write('a')
    duplex.write('ff00', 'hex')
    duplex.write(new Uint8Array([1, 2]))
    duplex.uncork()
    duplex.end('abcd', 'hex')
    expect((await readAll(peer)).toString('hex')).toBe('61ff000102abcd')
    duplex.destroy()
  })

  it('keeps what was written before the connection, also with an uncork() that has no cork()', async () => {
    const server = net.createServer((socket) => socket.pipe(socket))
    const port = await serve(server)
    let arrive = (): void => {}
    const gate = new Promise<void>((resolve) => (arrive = resolve))
    const duplex = toDuplex(gate.then(() => connect({ port, host })))
    const bytes = Buffer.from('before')
    duplex.write(bytes)
    bytes.fill(0)
    duplex.uncork()
    duplex.end(' and after')
    arrive()
    expect((await readAll(duplex)).toString()).toBe('before and after')
  })

  it('keeps of a chunk as many bytes as its memory has, whatever its properties say', async () => {
    const server = net.createServer((socket) => socket.pipe(socket))
    const port = await serve(server)
    const duplex = toDuplex(connect({ port, host }))
    const lying = (text: string, length: number): Buffer =>
      Object.defineProperty(Buffer.from(text), 'length', { value: length })
    duplex.write(lying('long ', 300))
    duplex.write(lying('short ', 1))
    duplex.end('end')
    expect((await readAll(duplex)).toString()).toBe('long short end')
  })

  it('sends the bytes of the moment of write()', async () => {
    const { duplex, peer } = await pair()
    const bytes = Buffer.alloc(100_000, 1)
    for (let i = 1; i <= 20; i++) {
      bytes.fill(i)
      duplex.write(bytes)
    }
    bytes.fill(0xff)
    duplex.end()
    const received = await readAll(peer)
    expect(received.length).toBe(2_000_000)
    expect(received.every((byte, index) => byte === Math.floor(index / 100_000) + 1)).toBe(true)
    duplex.destroy()
  })

  it('end() closes only our half: what the peer sends afterwards still arrives', async () => {
    const { duplex, peer } = await pair()
    const events = record(duplex)
    duplex.end('question')
    const question = await readAll(peer)
    expect(question.toString()).toBe('question')
    expect(duplex.destroyed).toBe(false)
    peer.end(pattern(1 << 20))
    expect(digest(await readAll(duplex))).toBe(digest(pattern(1 << 20)))
    if (!duplex.closed) await once(duplex, 'close')
    expect(events).toEqual(['finish', 'end', 'close'])
  })

  it('the end of the peer leaves our half open', async () => {
    const { duplex, peer } = await pair()
    const events = record(duplex)
    duplex.resume()
    peer.end()
    await once(duplex, 'end')
    duplex.write('late ')
    duplex.end('words')
    expect((await readAll(peer)).toString()).toBe('late words')
    if (!duplex.closed) await once(duplex, 'close')
    expect(events).toEqual(['end', 'finish', 'close'])
  })

  it('the end of the peer ends our half when allowHalfOpen is false', async () => {
    const { duplex, peer } = await pair({ allowHalfOpen: false })
    const events = record(duplex)
    duplex.resume()
    peer.resume()
    peer.end()
    await once(duplex, 'close')
    expect(events).toEqual(['end', 'finish', 'close'])
  })

  it('calls back once for every write, in order, never inside write(), and for end()', async () => {
    const { duplex, peer } = await pair()
    const calls: string[] = []
    peer.resume()
    for (let i = 0; i < 10; i++) {
      duplex.write(i % 2 === 0 ? 'x' : Buffer.alloc(100_000), () => calls.push(`write ${i}`))
      expect(calls).toEqual([])
    }
    const ended = new Promise<void>((resolve) => {
      duplex.end(() => {
        calls.push('end')
        resolve()
      })
    })
    await ended
    expect(calls).toEqual([...Array.from({ length: 10 }, (_, i) => `write ${i}`), 'end'])
    duplex.destroy()
  })

  it.each([10, 40_000, 100_000])(
    'a write callback of %i bytes waits for the kernel',
    async (size) => {
      const { duplex, peer } = await pair()
      const before = driver.stats().bytesSent!
      let called = 0
      let early = 0
      for (let i = 0; i < 100; i++) {
        duplex.write(Buffer.alloc(size), () => {
          called++
          if (called * size > driver.stats().bytesSent! - before) early++
        })
      }
      duplex.end()
      await Promise.all([readAll(peer), once(duplex, 'finish')])
      expect({ called, early }).toEqual({ called: 100, early: 0 })
      duplex.destroy()
    },
  )

  it('a write callback waits for a peer that does not read', async () => {
    const { duplex, peer } = await pair()
    let isTaken = false
    // More than the kernel buffers on both ends of a loopback connection.
    duplex.write(Buffer.alloc(32 << 20), () => (isTaken = true))
    for (let i = 0; i < 50; i++) await new Promise(setImmediate)
    expect(isTaken).toBe(false)
    peer.resume()
    await once(duplex, 'drain')
    expect(isTaken).toBe(true)
    duplex.destroy()
  })

  it('destroy() ends every waiting callback with one error, then closes', async () => {
    const { duplex } = await pair()
    const events = record(duplex)
    const calls: unknown[] = []
    const note = (error?: Error | null): void => void calls.push((error as { code?: string })?.code)
    duplex.write(Buffer.alloc(32 << 20), note)
    duplex.write('queued', note)
    duplex.end(note)
    duplex.destroy()
    duplex.write('after', note)
    await once(duplex, 'close')
    // As on a net.Socket: the write under way was cancelled, and what waited behind it gets its error.
    expect(calls).toEqual(['ERR_STREAM_WRITE_AFTER_END', 'ECANCELED', 'ECANCELED', 'ECANCELED'])
    await new Promise(setImmediate)
    expect(events).toEqual(['close'])
  })

  it('destroy(error) emits the error, then close', async () => {
    const { duplex, peer } = await pair()
    const events = record(duplex)
    const error = new Error('enough')
    const thrown = once(duplex, 'error')
    duplex.destroy(error)
    duplex.destroy(new Error('again'))
    expect(await thrown).toEqual([error])
    if (!duplex.closed) await once(duplex, 'close')
    expect(events).toEqual(['error', 'close'])
    peer.resume()
    await once(peer, 'end')
  })

  it('emits nothing after close, also when it had data', async () => {
    const { duplex, peer } = await pair()
    peer.write(pattern(200_000))
    await once(duplex, 'readable')
    duplex.destroy()
    await once(duplex, 'close')
    const after: unknown[] = []
    duplex.on('data', () => after.push('data'))
    duplex.on('end', () => after.push('end'))
    duplex.resume()
    await new Promise(setImmediate)
    expect(after).toEqual([])
  })

  it('everything asked of it before the connection arrives is done when it does', async () => {
    const server = net.createServer((socket) => socket.pipe(socket))
    const port = await serve(server)
    const duplex = toDuplex(connect({ port, host }))
    const events = record(duplex)
    const echoed = readAll(duplex)
    const chunk = Buffer.from('bytes of their moment, ')
    const called: string[] = []
    duplex.write(chunk, () => called.push('first'))
    chunk.fill('x')
    duplex.cork()
    duplex.write('corked ', () => called.push('second'))
    duplex.write(Buffer.from('and joined'), () => called.push('third'))
    duplex.uncork()
    expect(duplex.writableLength).toBeGreaterThan(0)
    duplex.end('.', () => called.push('end'))
    await once(duplex, 'close')
    expect((await echoed).toString()).toBe('bytes of their moment, corked and joined.')
    expect(called).toEqual(['first', 'second', 'third', 'end'])
    expect(events).toEqual(['finish', 'end', 'close'])
  })

  it('a callback that throws when the connection arrives breaks nothing else', async () => {
    const server = net.createServer((socket) => socket.pipe(socket))
    const port = await serve(server)
    const duplex = toDuplex(connect({ port, host }))
    const events = record(duplex)
    const caught: unknown[] = []
    process.setUncaughtExceptionCaptureCallback((error) => void caught.push(error))
    try {
      const error = new Error('thrown by a callback')
      duplex.write('before ', () => {
        throw error
      })
      expect(String((await once(duplex, 'data'))[0])).toBe('before ')
      const rest = readAll(duplex)
      duplex.end('and after')
      expect((await rest).toString()).toBe('and after')
      if (!duplex.closed) await once(duplex, 'close')
      expect(caught).toEqual([error])
      expect(events).toEqual(['finish', 'end', 'close'])
    } finally {
      process.setUncaughtExceptionCaptureCallback(null)
    }
  })

  it('destroyed before the connection arrives closes it when it does', async () => {
    const server = net.createServer()
    const port = await serve(server)
    const accepted = once(server, 'connection')
    const connecting = connect({ port, host })
    const duplex = toDuplex(connecting)
    const calls: unknown[] = []
    duplex.write('never', (error) => calls.push((error as { code?: string }).code))
    duplex.on('close', () => calls.push('close'))
    duplex.destroy()
    expect(calls).toEqual([])
    expect(duplex.errored).toBeNull()
    await once(duplex, 'close')
    await new Promise(setImmediate)
    expect(calls).toEqual(['close', 'ERR_STREAM_DESTROYED'])
    const [peer] = (await accepted) as [Socket]
    expect((await readAll(peer)).length).toBe(0)
    await connecting
  })

  it('a rejected promise destroys it with that error', async () => {
    const server = net.createServer()
    const port = await serve(server)
    servers.splice(0)
    server.close()
    await once(server, 'close')
    const duplex = toDuplex(connect({ port, host }))
    const events = record(duplex)
    const calls: unknown[] = []
    duplex.write('never', (error) => calls.push((error as { code?: string }).code))
    const [error] = (await once(duplex, 'error')) as [NodeJS.ErrnoException]
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address: host, port })
    expect(calls).toEqual(['ECONNREFUSED'])
    expect(events).toEqual(['error', 'close'])
  })

  it('a connection that was taken already is refused', async () => {
    const port = await serve(net.createServer())
    const connection = await connect({ port, host })
    const duplex = toDuplex(connection)
    expect(() => toDuplex(connection)).toThrow(
      expect.objectContaining({ code: 'ERR_URING_HANDED_OFF' }),
    )
    const second = toDuplex(Promise.resolve<Connection>(connection))
    const [error] = (await once(second, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ERR_URING_HANDED_OFF')
    duplex.destroy()
    await once(duplex, 'close')
  })

  it('a reset by the peer destroys it with the error of read', async () => {
    const { duplex, peer } = await pair()
    const events = record(duplex)
    duplex.resume()
    peer.resetAndDestroy()
    const [error] = (await once(duplex, 'error')) as [NodeJS.ErrnoException]
    expect(error).toMatchObject({ code: 'ECONNRESET', syscall: 'read', errno: -104 })
    expect(error.message).toBe('read ECONNRESET')
    expect(events).toEqual(['error', 'close'])
  })

  it('a failed write destroys it; every callback gets the error once', async () => {
    const { duplex, peer } = await pair()
    const events = record(duplex)
    const calls: unknown[] = []
    const note = (error?: Error | null): void => void calls.push((error as { code?: string })?.code)
    // Not reading: the write is what has to find out.
    duplex.write(Buffer.alloc(32 << 20), note)
    duplex.write('queued', note)
    peer.resetAndDestroy()
    const [error] = (await once(duplex, 'error')) as [NodeJS.ErrnoException]
    expect(['ECONNRESET', 'EPIPE']).toContain(error.code)
    // Whichever half of the socket learns of it first; the receive, where both have.
    expect(['read', 'write']).toContain(error.syscall)
    expect(calls).toHaveLength(2)
    for (const code of calls) expect(['ECONNRESET', 'EPIPE']).toContain(code)
    expect(events).toEqual(['error', 'close'])
  })

  it.each([[42], [null], ['x', 'klingon']])(
    'write(%p) throws what Node throws',
    async (...args) => {
      const { duplex, peer } = await pair()
      const write = (stream: Duplex): unknown => {
        try {
          return stream.write(args[0], args[1] as BufferEncoding)
        } catch (error) {
          return (error as Error).message
        }
      }
      expect(write(duplex)).toBe(write(new PassThrough()))
      duplex.end('fine')
      expect((await readAll(peer)).toString()).toBe('fine')
      duplex.destroy()
    },
  )

  it('write after end() is ERR_STREAM_WRITE_AFTER_END', async () => {
    const { duplex } = await pair()
    duplex.end()
    const failed = once(duplex, 'error')
    const called = new Promise<unknown>((resolve) => duplex.write('late', resolve))
    expect((await failed)[0]).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' })
    expect(await called).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' })
  })

  it('a peer that does not read holds the writer back; then all of it arrives', async () => {
    const { duplex, peer } = await pair()
    const chunk = pattern(65536)
    const total = 512
    let written = 0
    let waits = 0
    const writing = (async () => {
      while (written < total) {
        written++
        if (duplex.write(chunk)) continue
        waits++
        expect(duplex.writableLength).toBeLessThanOrEqual(2 * 65536)
        // The first time the peer is not reading: it starts when the writer has to wait for the first time.
        peer.resume()
        await once(duplex, 'drain')
      }
      duplex.end()
    })()
    const received = await readAll(peer)
    await writing
    expect(waits).toBeGreaterThan(0)
    expect(received.length).toBe(total * 65536)
    for (let at = 0; at < received.length; at += 65536) {
      expect(received.compare(chunk, 0, 65536, at, at + 65536)).toBe(0)
    }
    duplex.destroy()
  })

  it('a reader that does not read holds the peer back; then all of it arrives', async () => {
    const { duplex, peer } = await pair({ highWaterMark: 16384 })
    const bytes = pattern(32 << 20)
    const before = driver.stats().bytesReceived!
    let isSent = false
    peer.end(bytes, () => (isSent = true))
    await once(duplex, 'readable')
    // Long enough for a driver that went on receiving to take it all: 200 turns with the other end on this loop.
    for (let i = 0; i < 200; i++) await new Promise(setImmediate)
    expect(isSent).toBe(false)
    expect(duplex.readableLength).toBeLessThan(1 << 20)
    expect(driver.stats().bytesReceived! - before).toBeLessThan(8 << 20)
    expect(digest(await readAll(duplex))).toBe(digest(bytes))
    expect(isSent).toBe(true)
    duplex.destroy()
  })

  it('a received chunk never changes', async () => {
    const { duplex, peer } = await pair()
    const kept: Buffer[] = []
    const copies: Buffer[] = []
    duplex.on('data', (chunk: Buffer) => {
      kept.push(chunk)
      copies.push(Buffer.from(chunk))
    })
    peer.end(pattern(4 << 20))
    await once(duplex, 'end')
    expect(Buffer.concat(kept).equals(Buffer.concat(copies))).toBe(true)
    duplex.destroy()
  })

  it('works in pipeline() and finished(), and in for await left early', async () => {
    const port = await serve(net.createServer((socket) => socket.pipe(socket)))
    const duplex = toDuplex(connect({ port, host }))
    const bytes = pattern(3 << 20)
    const source = new PassThrough()
    const target = new PassThrough()
    const collected = readAll(target)
    source.end(bytes)
    const isFinished = new Promise<unknown>((resolve) => finished(duplex, resolve))
    await pipeline(source, duplex, target)
    expect(digest(await collected)).toBe(digest(bytes))
    expect(await isFinished).toBeUndefined()

    const second = toDuplex(connect({ port, host }))
    // Of every stream of Node's whose other half has not ended.
    const aborted = once(second, 'error') as Promise<[Error]>
    second.write('some')
    for await (const chunk of second) {
      expect(String(chunk)).toBe('some')
      break
    }
    expect(second.destroyed).toBe(true)
    expect((await aborted)[0].name).toBe('AbortError')
    if (!second.closed) await once(second, 'close')
  })

  it('pipeline() fails when the peer resets', async () => {
    const { duplex, peer } = await pair()
    const piping = pipeline(duplex, new PassThrough().resume())
    peer.resetAndDestroy()
    await expect(piping).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(duplex.destroyed).toBe(true)
  })

  it('carries http.request()', async () => {
    const body = pattern(1 << 20)
    const server = http.createServer((request, response) => request.pipe(response))
    const port = await serve(server)
    const request = http.request({
      method: 'POST',
      host,
      createConnection: () => toDuplex(connect({ port, host })),
    })
    request.end(body)
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    expect(response.statusCode).toBe(200)
    expect(digest(await readAll(response))).toBe(digest(body))
  })

  it('http.request() reports a refused connection', async () => {
    const server = net.createServer()
    const port = await serve(server)
    servers.splice(0)
    server.close()
    await once(server, 'close')
    const request = http.get({ host, createConnection: () => toDuplex(connect({ port, host })) })
    const [error] = (await once(request, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNREFUSED')
  })

  it('carries tls.connect()', async () => {
    const { key, cert } = createCertificate(['localhost'])
    const server = tls.createServer({ key, cert }, (socket) => socket.pipe(socket))
    server.on('tlsClientError', () => {})
    const port = await serve(server)
    const duplex = toDuplex(connect({ port, host }))
    const secure = tls.connect({ socket: duplex, ca: cert, servername: 'localhost' })
    await once(secure, 'secureConnect')
    const bytes = pattern(2 << 20)
    secure.end(bytes)
    expect(digest(await readAll(secure))).toBe(digest(bytes))
    if (!duplex.closed) await once(duplex, 'close')
    expect(duplex.errored).toBeNull()
  })
})
