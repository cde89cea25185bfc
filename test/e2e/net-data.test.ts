/**
 * Bytes through sockets of every subject: nothing lost, repeated, reordered or changed (W1-W3, R1-R3), judged by what
 * arrives at the peer.
 */
import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import { digest, pair, pattern, readAll } from './wire'
import { subjects } from './subjects'

/** Whether Node's own chunks have an ArrayBuffer of their length. On Node 26 large ones keep the 64 KiB they were read into. */
async function chunksAreAlone(): Promise<boolean> {
  const server = net
    .createServer((socket) => socket.end(Buffer.alloc(60_000)))
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  await once(socket, 'close')
  server.close()
  return chunk.buffer.byteLength === chunk.length
}

describe.each(subjects())('$name', (subject) => {
  test.each([1, 2, 63, 64, 65, 1000, 16384, 16385, 65536, 65537, 1 << 20, 10 << 20])(
    'a chunk of %i bytes arrives whole in both directions, then FIN',
    async (length) => {
      const { accepted, connected, stop } = await pair(subject)
      const bytes = pattern(length, length)
      const [atServer, atClient] = [readAll(accepted), readAll(connected)]
      connected.end(bytes)
      accepted.end(bytes)
      expect(digest(await atServer)).toBe(digest(bytes))
      expect(digest(await atClient)).toBe(digest(bytes))
      await stop()
    },
  )

  test('two thousand writes of many sizes, strings among them, arrive in order', async () => {
    const { accepted, connected, stop } = await pair(subject)
    const expected: Buffer[] = []
    const received = readAll(accepted)
    for (let i = 0; i < 2000; i++) {
      const kind = i % 4
      if (kind === 0) {
        const text = `héllo wörld ${i} `.repeat((i % 7) + 1)
        expected.push(Buffer.from(text, 'utf8'))
        connected.write(text)
      } else if (kind === 1) {
        const text = `latin ÿ ${i}`
        expected.push(Buffer.from(text, 'latin1'))
        connected.write(text, 'latin1')
      } else {
        const bytes = pattern(((i * 7919) % 40000) + 1, i)
        expected.push(bytes)
        connected.write(bytes)
      }
    }
    connected.end()
    expect(digest(await received)).toBe(digest(Buffer.concat(expected)))
    await stop()
  })

  test('corked writes of more chunks than an iovec holds arrive in order', async () => {
    const { accepted, connected, stop } = await pair(subject)
    const received = readAll(accepted)
    const expected: Buffer[] = []
    for (let round = 0; round < 3; round++) {
      connected.cork()
      for (let i = 0; i < 1500; i++) {
        const bytes = pattern((i % 90) + 1, i + round)
        expected.push(bytes)
        connected.write(bytes)
      }
      connected.uncork()
    }
    connected.end()
    expect(digest(await received)).toBe(digest(Buffer.concat(expected)))
    await stop()
  })

  test('a write to a peer that does not read waits, then arrives whole', async () => {
    const { accepted, connected, stop } = await pair(subject)
    accepted.pause()
    const bytes = pattern(20 << 20, 3)
    let isWritten = false
    expect(connected.write(bytes, () => (isWritten = true))).toBe(false)
    connected.end('tail')
    // A write callback means that the kernel has the bytes (W4); these do not fit into any socket buffer.
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(isWritten).toBe(false)
    const received = await readAll(accepted)
    expect(isWritten).toBe(true)
    expect(digest(received)).toBe(digest(Buffer.concat([bytes, Buffer.from('tail')])))
    await stop()
  })

  test('what the caller does to its buffer after write() does not change the wire', async () => {
    const { accepted, connected, stop } = await pair(subject)
    const received = readAll(accepted)
    const expected: Buffer[] = []
    for (const length of [1, 64, 16384]) {
      const bytes = pattern(length, length)
      expected.push(Buffer.from(bytes))
      const written = new Promise((resolve) => connected.write(bytes, resolve))
      bytes.fill(0)
      await written
    }
    connected.end()
    expect(digest(await received)).toBe(digest(Buffer.concat(expected)))
    await stop()
  })

  test('a received chunk never changes afterwards, and has an ArrayBuffer of its own where Node’s has', async () => {
    const isAlone = await chunksAreAlone()
    const { accepted, connected, stop } = await pair(subject)
    const kept: { chunk: Buffer; copy: string }[] = []
    accepted.on('data', (chunk: Buffer) => kept.push({ chunk, copy: digest(chunk) }))
    for (let i = 0; i < 300; i++) {
      await new Promise((resolve) => connected.write(pattern((i % 50) * 97 + 1, i), resolve))
    }
    connected.end()
    await once(accepted, 'end')
    for (const { chunk, copy } of kept) {
      expect(digest(chunk)).toBe(copy)
      if (!isAlone) continue
      expect(chunk.byteOffset).toBe(0)
      expect(chunk.buffer.byteLength).toBe(chunk.length)
    }
    await stop()
  })

  test('nothing is delivered between pause and resume, and nothing is lost', async () => {
    const { accepted, connected, stop } = await pair(subject)
    const bytes = pattern(4 << 20, 9)
    const chunks: Buffer[] = []
    let isPaused = false
    let pauses = 0
    accepted.on('data', (chunk: Buffer) => {
      expect(isPaused).toBe(false)
      chunks.push(chunk)
      if (pauses++ % 3 === 0) {
        accepted.pause()
        isPaused = true
        setTimeout(() => {
          isPaused = false
          accepted.resume()
        }, 1)
      }
    })
    connected.end(bytes)
    await once(accepted, 'end')
    expect(digest(Buffer.concat(chunks))).toBe(digest(bytes))
    await stop()
  })

  test('a paused reader stops the sender: the amount in between is bounded', async () => {
    const { accepted, connected, stop } = await pair(subject)
    accepted.pause()
    let written = 0
    const chunk = pattern(65536)
    const fill = (): void => {
      while (written < 256 << 20 && connected.write(chunk)) written += chunk.length
    }
    connected.on('drain', () => {
      written += chunk.length
      fill()
    })
    fill()
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(written).toBeLessThan(64 << 20)
    await stop()
  })

  test('half-close: what the peer sends after our end() still arrives', async () => {
    const { accepted, connected, stop } = await pair(subject)
    const bytes = pattern(1 << 20, 5)
    accepted.resume()
    accepted.on('end', () => accepted.end(bytes))
    connected.end('request')
    expect(digest(await readAll(connected))).toBe(digest(bytes))
    await stop()
  })

  test('data and FIN that came before anybody listens are delivered, end after data', async () => {
    const { accepted, connected, stop } = await pair(subject)
    const bytes = pattern(50000, 6)
    connected.end(bytes)
    await once(connected, 'finish')
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(digest(await readAll(accepted))).toBe(digest(bytes))
    await stop()
  })

  test('an onread buffer gets the bytes in order, one buffer at a time, also over a pause', async () => {
    const server = subject.server.createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const bytes = pattern(300000, 8)
    server.on('connection', (socket) => socket.end(bytes))
    const chunks: Buffer[] = []
    let isPaused = false
    const client = subject.client.connect({
      port,
      host: '127.0.0.1',
      onread: {
        buffer: Buffer.alloc(4096),
        callback(size: number, buffer: Uint8Array) {
          expect(isPaused).toBe(false)
          chunks.push(Buffer.from(buffer.subarray(0, size)))
          if (chunks.length % 5 !== 0) return true
          isPaused = true
          setTimeout(() => {
            isPaused = false
            client.resume()
          }, 1)
          return false
        },
      },
    } as never)
    await once(client, 'end')
    expect(digest(Buffer.concat(chunks))).toBe(digest(bytes))
    client.destroy()
    server.close()
  })
})
