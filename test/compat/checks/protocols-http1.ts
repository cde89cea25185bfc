/** HTTP/1.1 of Node's own on the judged end; the peer speaks it by hand. */
import * as assert from 'node:assert/strict'
import * as http from 'node:http'
import type { Socket } from 'node:net'
import type { Check, CheckContext } from '../check'
import type { Recorder } from '../observe'
import { turn } from '../turns'
import { assertWire, payload } from '../wire'

const area = 'protocols'
/** A server that was given this connection; nothing listens. */
function serve(
  context: CheckContext,
  socket: Socket,
  listener?: http.RequestListener,
): http.Server {
  const server = http.createServer({ keepAliveTimeout: 0 }, listener)
  server.emit('connection', socket)
  context.after(() => server.closeAllConnections())
  return server
}

interface Message {
  head: string
  body: Buffer
}

/** The messages that are complete in these bytes. Bodies have a length or are chunked (RFC 9112, 6 and 7.1). */
function messagesIn(bytes: Buffer): Message[] {
  const messages: Message[] = []
  let at = 0
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n', at)
    if (end < 0) return messages
    const head = bytes.toString('latin1', at, end)
    at = end + 4
    if (/^transfer-encoding: chunked/im.test(head)) {
      const parts: Buffer[] = []
      for (;;) {
        const line = bytes.indexOf('\r\n', at)
        if (line < 0) return messages
        const hex = bytes.toString('latin1', at, line)
        if (!/^[0-9a-f]+$/i.test(hex))
          assert.fail(`no chunk length where one belongs, after ${at} bytes`)
        const length = parseInt(hex, 16)
        at = line + 2
        if (bytes.length < at + length + 2) return messages
        parts.push(bytes.subarray(at, at + length))
        at += length + 2
        if (length === 0) break
      }
      messages.push({ head, body: Buffer.concat(parts) })
    } else {
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
      if (bytes.length < at + length) return messages
      messages.push({ head, body: bytes.subarray(at, at + length) })
      at += length
    }
  }
}

/** Resolves when that many messages have come, which take at least so many bytes. */
async function messages(
  context: CheckContext,
  seen: Recorder,
  { count, bytes }: { count: number; bytes: number },
  what: string,
): Promise<Message[]> {
  await context.within(seen.received(bytes), what)
  let found: Message[] = []
  let parsed = -1
  await context.until(() => {
    if (seen.length !== parsed) found = messagesIn(seen.bytes)
    parsed = seen.length
    return found.length >= count
  }, what)
  return found
}

export const http1Checks: readonly Check[] = [
  {
    id: 'W3-53',
    rule: 'W3',
    strength: 'required',
    area,
    requirement:
      'pipelined HTTP requests are answered in order and whole, also when the client stops reading in between',
    intent:
      "Node's server pauses a connection whose answers pile up, and resumes it: a lost request shifts every answer after it",
    hazards: [25, 47],
    async run(context) {
      const { a, b, seenB } = await context.pair({ smallBuffers: true })
      const count = 100
      const urls: string[] = []
      serve(context, a, (request, response) => {
        const number = Number(request.url!.slice(1))
        urls.push(request.url!)
        response.end(payload(4000, number))
      })
      seenB.read()
      b.pause()
      const requests = Array.from(
        { length: count },
        (_, i) => `GET /${i} HTTP/1.1\r\nHost: x\r\n\r\n`,
      )
      // In two pieces, cut in the middle of a request; when the second one comes the server has stopped reading.
      const bytes = Buffer.from(requests.join(''))
      b.write(bytes.subarray(0, bytes.length / 2 + 10))
      await context.silence()
      b.write(bytes.subarray(bytes.length / 2 + 10))
      await context.silence()
      b.resume()
      const expected = { count, bytes: count * 4000 }
      const answers = await messages(context, seenB, expected, 'answers to all pipelined requests')
      const order = Array.from({ length: count }, (_, i) => `/${i}`)
      assert.deepEqual(urls, order, 'pipelined requests were lost or out of order')
      answers.forEach(({ body }, i) => assertWire(body, payload(4000, i), `answer ${i}`))
      assert.equal(answers.length, count, 'more answers than requests')
    },
  },
  {
    id: 'W3-54',
    rule: 'W3',
    strength: 'required',
    area,
    requirement:
      'HTTP requests on a kept connection are echoed in chunks, 1 MB through a client that stops reading',
    intent: 'uploads and downloads in flight at the same time, with back-pressure from end to end',
    hazards: [2, 5, 47],
    async run(context) {
      const { a, b, seenB } = await context.pair({ smallBuffers: true })
      serve(context, a, (request, response) => void request.pipe(response))
      seenB.read()
      const lengths = [1, 1_000_000, 30_000]
      for (const [i, length] of lengths.entries()) {
        b.write('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
        for (let at = 0; at < length; at += 20_000) {
          const chunk = payload(Math.min(20_000, length - at), i, at)
          b.write(`${chunk.length.toString(16)}\r\n`)
          b.write(chunk)
          b.write('\r\n')
        }
        b.write('0\r\n\r\n')
        const expected = { count: i + 1, bytes: seenB.length + length }
        b.pause()
        await context.silence()
        b.resume()
        const answers = await messages(context, seenB, expected, `the echo of ${length} bytes`)
        assertWire(answers[i]!.body, payload(length, i), 'the echoed body')
      }
    },
  },
  {
    id: 'W3-55',
    rule: 'W3',
    strength: 'required',
    area,
    requirement: 'an HTTP client on it sends a body of 1 MB and reads an answer of 1 MB slowly',
    intent: 'http.request() over a socket that an agent or a tunnel has made',
    hazards: [2, 5, 47],
    async run(context) {
      const { a, b, seenB } = await context.pair({ smallBuffers: true })
      const length = 1_000_000
      const request = http.request({ method: 'POST', createConnection: () => a })
      context.after(() => void request.destroy())
      const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).once('error', reject)
      })
      // Listened to below; a failure before that is told there.
      answered.catch(() => {})
      request.setHeader('Content-Length', length)
      for (let at = 0; at < length; at += 50_000) request.write(payload(50_000, 1, at))
      request.end()
      await context.silence()
      seenB.read()
      const expected = { count: 1, bytes: length }
      const [{ body }] = (await messages(context, seenB, expected, 'the request')) as [Message]
      assertWire(body, payload(length, 1), 'the body of the request')
      b.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`)
      b.write(payload(length, 2))
      const response = await context.within(answered, 'the response')
      const chunks: Buffer[] = []
      const read = async (): Promise<void> => {
        for await (const chunk of response) {
          chunks.push(chunk as Buffer)
          await turn()
        }
      }
      await context.within(read(), 'the end of the response')
      assertWire(Buffer.concat(chunks), payload(length, 2), 'the body of the response')
    },
  },
  {
    id: 'R1-51',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      'HTTP Upgrade: what came with the request and what comes while nobody reads reaches the new owner, in order',
    intent: 'a WebSocket client sends its first frames at once',
    hazards: [55],
    async run(context) {
      const { a, b, seenB } = await context.pair()
      const server = serve(context, a)
      server.on('upgrade', (_request, socket: Socket, head: Buffer) => {
        socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n',
        )
        socket.unshift(head)
        socket.pipe(socket)
      })
      seenB.read()
      const [ahead, later] = [payload(1000, 1), payload(200_000, 1, 1000)]
      const request = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'
      b.write(Buffer.concat([Buffer.from(request), ahead]))
      b.write(later)
      const expected = payload(201_000, 1)
      await context
        .until(() => bodyAfterHead(seenB.bytes).length >= expected.length, 'the echo')
        // What has come tells more than that something is missing.
        .catch(() => {})
      assertWire(bodyAfterHead(seenB.bytes), expected, 'the echo after an Upgrade')
    },
  },
  {
    id: 'R1-52',
    rule: 'R1',
    strength: 'required',
    area,
    requirement:
      'HTTP CONNECT: what the client sends before the tunnel is open waits, and goes through whole, with its end',
    intent:
      'a tunnel is opened after a DNS lookup and a connect: TLS bytes of the client come before',
    hazards: [46, 55],
    needs: ['halfOpen'],
    async run(context) {
      const client = await context.pair()
      const upstream = await context.pair()
      const server = serve(context, client.a)
      const asked = new Promise<{ socket: Socket; head: Buffer }>((resolve) => {
        server.on('connect', (_request, socket: Socket, head: Buffer) => resolve({ socket, head }))
      })
      client.b.write(
        Buffer.concat([Buffer.from('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'), payload(500, 1)]),
      )
      const { socket, head } = await context.within(asked, 'the CONNECT request')
      client.b.end(payload(99_500, 1, 500))
      // Nobody reads yet: the upstream is being connected.
      await context.silence()
      upstream.seenB.read()
      client.seenB.read()
      if (head.length > 0) upstream.a.write(head)
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(upstream.a)
      upstream.a.pipe(socket)
      await context.within(upstream.seenB.seen('end'), 'the end of the tunnel')
      assertWire(upstream.seenB.bytes, payload(100_000, 1), 'the tunnel')
      upstream.b.end(payload(50_000, 2))
      await context.within(client.seenB.seen('end'), 'the end of the answer through the tunnel')
      assertWire(bodyAfterHead(client.seenB.bytes), payload(50_000, 2), 'the way back')
    },
  },
]

function bodyAfterHead(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\r\n\r\n')
  return end < 0 ? Buffer.alloc(0) : bytes.subarray(end + 4)
}
