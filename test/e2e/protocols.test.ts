/**
 * HTTP/1.1, HTTPS, HTTP/2 (plain and over TLS), TLS and WebSocket, unmodified, on adapted sockets: Node's own clients and
 * servers on each driver, every byte compared.
 */
import { once } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import * as https from 'node:https'
import * as nodeNet from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { pipeline } from 'node:stream'
import type { Duplex } from 'node:stream'
import * as tls from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { createCertificate } from '../../examples/demo/certificate'
import { drivers, load } from './subjects'
import { digest, listening, pattern, readAll } from './wire'

const { key, cert } = createCertificate(['localhost', '127.0.0.1'])
const sizes = [0, 1, 1000, 16384, 65537, 1 << 20, 10 << 20]

/** Node ends streams of a session that buffers more than 10 MB. */
const roomy = { maxSessionMemory: 200 }

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  await closed
}

function echo(request: http.IncomingMessage, response: http.ServerResponse): void {
  response.writeHead(200, { 'x-method': request.method })
  request.pipe(response)
}

async function post(
  module: typeof http | typeof https,
  options: https.RequestOptions,
  body: Buffer,
): Promise<Buffer> {
  const request = module.request({ host: '127.0.0.1', method: 'POST', ...options })
  request.end(body)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  return readAll(response)
}

async function echoOverHttp2(session: http2.ClientHttp2Session, body: Buffer): Promise<Buffer> {
  const stream = session.request({ ':method': 'POST', ':path': '/' })
  stream.end(body)
  return readAll(stream)
}

describe.each(drivers)('%s', (driver) => {
  const net = load(driver)
  const asNet = net as unknown as typeof nodeNet

  test('HTTP/1.1: bodies of every size through a keep-alive agent', async () => {
    const server = net.attach(http.createServer(echo))
    // A connection that is used again is not given up meanwhile.
    server.keepAliveTimeout = 0
    const port = await listening(server)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 2 })
    for (const size of sizes) {
      const body = pattern(size, size)
      expect(digest(await post(http, { port, agent }, body))).toBe(digest(body))
    }
    agent.destroy()
    await close(server)
  })

  test('HTTP/1.1: our sockets as the client', async () => {
    const server = http.createServer(echo)
    const port = await listening(server)
    const createConnection = (): Socket => asNet.connect(port, '127.0.0.1')
    for (const size of sizes) {
      const body = pattern(size, size)
      expect(digest(await post(http, { port, createConnection }, body))).toBe(digest(body))
    }
    await close(server)
  })

  test('HTTP/1.1: a thousand pipelined requests are answered in order', async () => {
    const server = net.attach(http.createServer((request, response) => response.end(request.url)))
    const port = await listening(server)
    const client = nodeNet.connect(port, '127.0.0.1')
    let requests = ''
    for (let i = 0; i < 1000; i++) {
      const last = i === 999 ? 'Connection: close\r\n' : ''
      requests += `GET /${i} HTTP/1.1\r\nHost: x\r\n${last}\r\n`
    }
    client.write(requests)
    const text = (await readAll(client)).toString()
    const order = [...text.matchAll(/\r\n\r\n\/(\d+)/g)].map((match) => Number(match[1]))
    expect(order).toEqual(Array.from({ length: 1000 }, (_, i) => i))
    await close(server)
  })

  test('HTTP upgrade: bytes read ahead with the request reach the new owner in order', async () => {
    const server = net.attach(http.createServer())
    server.on('upgrade', (_request, socket: Duplex, head: Buffer) => {
      socket.write('HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
      socket.unshift(head)
      socket.pipe(socket)
    })
    const port = await listening(server)
    const client = nodeNet.connect(port, '127.0.0.1')
    const body = pattern(500000, 4)
    client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhead')
    client.end(body)
    const received = await readAll(client)
    const begin = received.indexOf('\r\n\r\n') + 4
    expect(digest(received.subarray(begin))).toBe(
      digest(Buffer.concat([Buffer.from('head'), body])),
    )
    await close(server)
  })

  test('HTTPS: bodies of every size', async () => {
    const server = net.attach(https.createServer({ key, cert }, echo))
    server.keepAliveTimeout = 0
    const port = await listening(server)
    for (const size of sizes) {
      const body = pattern(size, size)
      const options = { port, ca: cert, servername: 'localhost' }
      expect(digest(await post(https, options, body))).toBe(digest(body))
    }
    https.globalAgent.destroy()
    await close(server)
  })

  test('TLS: our sockets below both ends, addresses visible through it', async () => {
    const server = net.attach(tls.createServer({ key, cert }, (socket) => socket.pipe(socket)))
    const port = await listening(server)
    for (const size of sizes.slice(1)) {
      const socket = asNet.connect(port, '127.0.0.1')
      const secure = tls.connect({ socket, ca: cert, servername: 'localhost' })
      const body = pattern(size, size)
      secure.end(body)
      const received = await readAll(secure)
      expect(digest(received)).toBe(digest(body))
    }
    const secure = tls.connect({ port, host: '127.0.0.1', ca: cert, servername: 'localhost' })
    const [accepted] = (await once(server, 'secureConnection')) as [tls.TLSSocket]
    expect(accepted.remoteAddress).toBe('127.0.0.1')
    expect(accepted.remotePort).toBe(secure.localPort)
    secure.destroy()
    await close(server)
  })

  test('STARTTLS: a live socket changes to TLS without losing a byte', async () => {
    const server = net.createServer((socket) => {
      socket.once('data', (data) => {
        expect(data.toString()).toBe('STARTTLS')
        socket.write('OK')
        const secure = new tls.TLSSocket(socket, { isServer: true, key, cert })
        secure.pipe(secure)
      })
    })
    const port = await listening(server)
    const socket = asNet.connect(port, '127.0.0.1')
    socket.write('STARTTLS')
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toBe('OK')
    const secure = tls.connect({ socket, ca: cert, servername: 'localhost' })
    const body = pattern(300000, 2)
    secure.end(body)
    expect(digest(await readAll(secure))).toBe(digest(body))
    await close(server)
  })

  test('HTTP/2 in plain text: many streams at once', async () => {
    const server = http2.createServer(roomy)
    server.on('stream', (stream) => {
      stream.respond()
      stream.pipe(stream)
    })
    net.attach(server as unknown as Server)
    const port = await listening(server as unknown as Server)
    const session = http2.connect(`http://127.0.0.1:${port}`, {
      ...roomy,
      createConnection: () => asNet.connect(port, '127.0.0.1'),
    })
    const bodies = [...sizes, ...Array.from({ length: 40 }, (_, i) => i * 1013)].map((size, i) =>
      pattern(size, i),
    )
    const echoes = await Promise.all(bodies.map((body) => echoOverHttp2(session, body)))
    echoes.forEach((received, i) => expect(digest(received)).toBe(digest(bodies[i]!)))
    session.close()
    await close(server as unknown as Server)
  })

  test('HTTP/2 over TLS by ALPN, with HTTP/1.1 on the same port', async () => {
    const server = http2.createSecureServer(
      { key, cert, allowHTTP1: true },
      (request, response) => {
        response.setHeader('x-version', request.httpVersion)
        request.pipe(response as unknown as NodeJS.WritableStream)
      },
    )
    net.attach(server as unknown as Server)
    const port = await listening(server as unknown as Server)
    const session = http2.connect(`https://localhost:${port}`, { ca: cert, ...roomy })
    const bodies = sizes.map((size) => pattern(size, size))
    const echoes = await Promise.all(bodies.map((body) => echoOverHttp2(session, body)))
    echoes.forEach((received, i) => expect(digest(received)).toBe(digest(bodies[i]!)))
    const body = pattern(100000, 1)
    const options = { port, ca: cert, servername: 'localhost' }
    expect(digest(await post(https, options, body))).toBe(digest(body))
    session.close()
    https.globalAgent.destroy()
    await close(server as unknown as Server)
  })

  test('a socket of ours passed by hand to http2Server.emit("connection")', async () => {
    const h2 = http2.createServer((request, response) => {
      request.pipe(response as unknown as NodeJS.WritableStream)
    })
    const server = net.createServer((socket) => h2.emit('connection', socket))
    const port = await listening(server)
    const session = http2.connect(`http://127.0.0.1:${port}`)
    const body = pattern(1 << 20, 1)
    expect(digest(await echoOverHttp2(session, body))).toBe(digest(body))
    session.close()
    await close(server)
  })

  test('HTTP/2: a peer that stalls mid-stream gets every frame once it reads', async () => {
    const server = http2.createServer(roomy)
    const body = pattern(8 << 20, 7)
    server.on('stream', (stream) => {
      stream.respond()
      stream.end(body)
    })
    net.attach(server as unknown as Server)
    const port = await listening(server as unknown as Server)
    const socket = nodeNet.connect(port, '127.0.0.1')
    const session = http2.connect(`http://127.0.0.1:${port}`, {
      ...roomy,
      createConnection: () => socket,
    })
    const streams = [1, 2, 3].map(() => session.request({ ':path': '/' }))
    await once(streams[0]!, 'response')
    socket.pause()
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (let i = 0; i < 20; i++) session.ping(() => {})
    socket.resume()
    const received = await Promise.all(streams.map((stream) => readAll(stream)))
    for (const bytes of received) expect(digest(bytes)).toBe(digest(body))
    session.close()
    await close(server as unknown as Server)
  })

  test.each([
    ['node:net', nodeNet],
    ['ours', asNet],
  ])(
    'HTTP/2 over TLS: the server sees resets by clients on %s mid-stream',
    async (_name, client) => {
      const server = http2.createSecureServer({ key, cert }, (request, response) => {
        pipeline(request, response as unknown as NodeJS.WritableStream, () => {})
      })
      net.attach(server as unknown as Server)
      const port = await listening(server as unknown as Server)
      const closed: Promise<unknown>[] = []
      server.on('sessionError', () => {})
      server.on('connection', (socket: Socket) => {
        closed.push(new Promise((resolve) => socket.on('close', resolve)))
      })
      const clients = Array.from({ length: 20 }, () => {
        const socket = client.connect(port, '127.0.0.1')
        const options = { socket, ca: cert, servername: 'localhost', ALPNProtocols: ['h2'] }
        const session = http2.connect('https://localhost', {
          createConnection: () => tls.connect(options),
        })
        const stream = session.request({ ':method': 'POST', ':path': '/' })
        for (const emitter of [socket, session, stream]) emitter.on('error', () => {})
        stream.write(pattern(400000))
        return new Promise<void>((resolve) => {
          stream.once('data', () => {
            socket.resetAndDestroy()
            resolve()
          })
        })
      })
      await Promise.all(clients)
      await Promise.all(closed)
      expect(closed).toHaveLength(20)
      await close(server as unknown as Server)
    },
  )

  test('WebSocket: messages of every size, text and binary', async () => {
    const server = net.attach(http.createServer())
    const sockets = new WebSocketServer({ server, maxPayload: 64 << 20 })
    sockets.on('connection', (socket) => {
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    })
    const port = await listening(server)
    const client = new WebSocket(`ws://127.0.0.1:${port}`)
    await once(client, 'open')
    for (const size of sizes) {
      const body = pattern(size, size)
      client.send(body)
      const [data, isBinary] = (await once(client, 'message')) as [Buffer, boolean]
      expect(isBinary).toBe(true)
      expect(digest(data)).toBe(digest(body))
    }
    client.send('grüße')
    const [text] = (await once(client, 'message')) as [Buffer]
    expect(text.toString()).toBe('grüße')
    client.close()
    await once(client, 'close')
    sockets.close()
    await close(server)
  })

  test('attach refuses what is no server and what listens already', async () => {
    expect(() => net.attach({} as Server)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    )
    const server = nodeNet.createServer()
    const port = await listening(server)
    expect(() => net.attach(server)).toThrow(
      expect.objectContaining({ code: 'ERR_SERVER_ALREADY_LISTEN' }),
    )
    expect((server.address() as AddressInfo).port).toBe(port)
    await close(server)
  })
})
