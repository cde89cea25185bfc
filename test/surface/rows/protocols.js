'use strict'

/* What stands on sockets: http, https, http2, tls and fetch, and the bytes that change hands between them. */
const { join } = require('node:path')
const { loopback, shape, told } = require('../row')

const { createCertificate } = require(
  join(__dirname, '..', '..', '..', 'dist', 'examples', 'demo', 'certificate.js'),
)

let certificate
const pair = () => (certificate ??= createCertificate(['localhost']))

/** A server of http, https, http2 or tls in the mode, listening. */
async function serve(t, server, options) {
  t.track(t.attach(server))
  server.on('connection', (socket) => socket.on('error', () => {}))
  const port = await t.listen(server, options)
  return { server, port }
}

/** A request and its whole response. */
function ask(t, options, body) {
  return new Promise((resolve) => {
    const { protocol = 'http:', agent, ...rest } = options
    const secure = protocol === 'https:'
    const chosen = agent ?? (secure ? t.httpsAgent({}) : t.httpAgent({}))
    const request = (secure ? t.https : t.http).request({ host: loopback, agent: chosen, ...rest })
    request.on('error', (error) => resolve({ error: shape(error) }))
    request.on('response', (response) => {
      let text = ''
      response.on('data', (data) => (text += data))
      response.on('error', (error) => resolve({ text: text.length, error: shape(error) }))
      response.on('end', () => {
        const { statusCode, headers } = response
        const { connection } = headers
        resolve({ statusCode, connection, text, reused: request.reusedSocket })
      })
    })
    request.end(body)
  })
}

function text(stream) {
  return new Promise((resolve, reject) => {
    let whole = ''
    stream.on('data', (data) => (whole += data))
    stream.on('end', () => resolve(whole))
    stream.on('error', reject)
  })
}

const namesOf = (socket) => [
  socket.remoteAddress,
  socket.remoteFamily,
  typeof socket.remotePort,
  socket.localAddress,
  typeof socket.localPort,
]

exports.theme = 'protocols'
exports.rows = {
  'http: a request sees both ends’ addresses and counters': async (t) => {
    let seen
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => {
        const { socket } = request
        seen = [namesOf(socket), socket.bytesRead > 0, socket instanceof t.nodeNet.Socket]
        response.end('ok')
      }),
    )
    const result = await ask(t, { port, path: '/' })
    return { result, seen }
  },

  'http: a large body goes there and back': async (t) => {
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => request.pipe(response)),
    )
    const { text: back, statusCode } = await ask(t, { port, method: 'POST' }, 'x'.repeat(3_000_000))
    return [statusCode, back.length]
  },

  'http: a chunked response with trailers and early hints': async (t) => {
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => {
        response.writeContinue()
        response.writeProcessing()
        response.writeHead(200, { trailer: 'x-end' })
        response.write('one ')
        setImmediate(() => {
          response.write('two')
          response.addTrailers({ 'x-end': 'yes' })
          response.end()
        })
      }),
    )
    return new Promise((resolve) => {
      const log = t.log()
      const request = t.http.get({ port, host: loopback, agent: t.httpAgent({}) })
      t.events(request, ['continue', 'information', 'finish', 'close'], log)
      request.on('response', async (response) => {
        const body = await text(response)
        await t.turns()
        resolve({ body, trailers: response.trailers, log: log.map(([name]) => name) })
      })
    })
  },

  'http: an agent keeps connections and uses them again': async (t) => {
    let connections = 0
    const { server, port } = await serve(
      t,
      t.http.createServer((request, response) => response.end(request.url)),
    )
    server.on('connection', () => connections++)
    const agent = t.httpAgent({ keepAlive: true, maxSockets: 1 })
    const results = []
    for (let n = 0; n < 4; n++) results.push(await ask(t, { port, agent, path: `/${n}` }))
    const together = await Promise.all(
      ['a', 'b', 'c'].map((name) => ask(t, { port, agent, path: `/${name}` })),
    )
    await t.turns()
    const free = Object.values(agent.freeSockets).flat().length
    agent.destroy()
    return { results, together, connections, free }
  },

  'http: an idle connection that the server closes is not used again': async (t) => {
    const { server, port } = await serve(
      t,
      t.http.createServer((request, response) => response.end('x')),
    )
    const agent = t.httpAgent({ keepAlive: true })
    const first = await ask(t, { port, agent })
    await t.turns()
    server.closeIdleConnections()
    await t.until(() => Object.keys(agent.freeSockets).length === 0)
    const second = await ask(t, { port, agent })
    agent.destroy()
    return [first, second]
  },

  'http: events of request and response, in order': async (t) => {
    const log = t.log()
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => {
        t.events(request, ['data', 'end', 'close'], log)
        const of = (name) => () => log.push(`response ${name}`)
        response.on('finish', of('finish')).on('close', of('close'))
        request.on('end', () => response.end('answer'))
      }),
    )
    const client = t.log()
    const agent = t.httpAgent({})
    const request = t.http.request({ port, host: loopback, method: 'PUT', agent })
    t.events(request, ['socket', 'finish', 'response', 'close'], client)
    request.on('response', (response) => {
      for (const name of ['data', 'end', 'close']) response.on(name, () => client.push(`its ${name}`))
    })
    request.end('body')
    await t.closed(request)
    await t.until(() => log.includes('response close'))
    await t.turns()
    return { log, client: client.map((entry) => (Array.isArray(entry) ? entry[0] : entry)) }
  },

  'http: pipelined requests are answered in order': async (t) => {
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => {
        const delay = request.url === '/0' ? 20 : 0
        setTimeout(() => response.end(`<${request.url}>`), delay)
      }),
    )
    const socket = t.connect(port, loopback)
    const requests = [0, 1, 2].map((n) => `GET /${n} HTTP/1.1\r\nHost: x\r\n\r\n`).join('')
    socket.end(requests.replace(/\r\n\r\n$/, '\r\nConnection: close\r\n\r\n'))
    const all = await t.received(socket)
    return all.match(/<[^>]+>/g)
  },

  'http: a request that comes byte by byte': async (t) => {
    const { port } = await serve(
      t,
      t.http.createServer(async (request, response) => response.end(await text(request))),
    )
    const socket = t.connect({ port, host: loopback, noDelay: true })
    const message = 'POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello'
    for (const byte of message) {
      socket.write(byte)
      await t.turns(1)
    }
    return (await t.received(socket)).split('\r\n\r\n')[1]
  },

  'http: upgrade hands the connection over with every byte': async (t) => {
    const { server, port } = await serve(t, t.http.createServer())
    let seen
    server.on('upgrade', (request, socket, head) => {
      seen = [String(head), socket === request.socket, socket.constructor.name]
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nfirst ')
      socket.on('data', (data) => socket.write(`echo ${data}`))
      socket.on('end', () => socket.end('bye'))
    })
    const headers = { connection: 'Upgrade', upgrade: 'x' }
    const request = t.http.request({ port, host: loopback, headers, agent: t.httpAgent({}) })
    request.end()
    const [, socket, head] = await t.once(request, 'upgrade')
    t.track(socket)
    let all = String(head)
    socket.on('data', (data) => (all += data))
    socket.write('hi ')
    await t.until(() => all.includes('hi'))
    socket.end()
    await t.allClosed(socket)
    return { seen, all }
  },

  'http: bytes that follow an upgrade request at once are its head or its data': async (t) => {
    const { server, port } = await serve(t, t.http.createServer())
    server.on('upgrade', (request, socket, head) => {
      let all = String(head)
      socket.on('data', (data) => (all += data))
      socket.on('end', () => socket.end(`all ${all}`))
    })
    const socket = t.connect(port, loopback)
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhead ')
    await t.turns()
    socket.end('and more')
    return t.received(socket)
  },

  'http: CONNECT makes a tunnel to another server': async (t) => {
    const target = await t.listen(t.server((socket) => socket.pipe(socket)))
    const { server, port } = await serve(t, t.http.createServer())
    server.on('connect', (request, socket, head) => {
      const upstream = t.connect(target, loopback, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        upstream.write(head)
        upstream.pipe(socket)
        socket.pipe(upstream)
      })
    })
    const path = `${loopback}:${target}`
    const request = t.http.request({ port, host: loopback, method: 'CONNECT', path, agent: t.httpAgent({}) })
    request.end()
    const [response, socket] = await t.once(request, 'connect')
    t.track(socket)
    socket.end('through the tunnel')
    return [response.statusCode, await t.received(socket)]
  },

  'http: a connection that breaks is the error it is on node:net': async (t) => {
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => {
        if (request.url === '/destroy') request.socket.destroy()
        else if (request.url === '/reset') request.socket.resetAndDestroy()
        else {
          response.writeHead(200, { 'content-length': 100 })
          response.write('part')
          setImmediate(() => request.socket.destroy())
        }
      }),
    )
    const refused = await t.freePort()
    return [
      await ask(t, { port, path: '/destroy' }),
      await ask(t, { port, path: '/reset' }),
      await ask(t, { port, path: '/part' }),
      await ask(t, { port: refused }),
    ]
  },

  'http: a client that goes away closes request and response': async (t) => {
    const log = t.log()
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => {
        t.events(request, ['aborted', 'error', 'close'], log)
        response.on('close', () => log.push(['response close', response.writableFinished]))
        response.write('started')
      }),
    )
    const request = t.http.get({ port, host: loopback, agent: t.httpAgent({}) })
    request.on('error', () => {})
    await t.once(request, 'response')
    request.destroy()
    await t.until(() => log.length >= 4)
    return log
  },

  'http: what is no request is a client error with what was parsed': async (t) => {
    const { server, port } = await serve(t, t.http.createServer())
    let seen
    server.on('clientError', (error, socket) => {
      seen = [error.code, error.bytesParsed, String(error.rawPacket), socket.writable]
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    })
    const socket = t.connect(port, loopback)
    socket.write('nonsense\r\n\r\n')
    return { answer: await t.received(socket), seen }
  },

  'http: timeouts of server and request': async (t) => {
    const { server, port } = await serve(t, t.http.createServer())
    const log = t.log()
    server.setTimeout(30, (socket) => {
      log.push('server timeout')
      socket.destroy()
    })
    const request = t.http.get({ port, host: loopback, agent: t.httpAgent({}), timeout: 15 })
    t.events(request, ['timeout', 'error', 'close'], log)
    await t.closed(request)
    return log.map((entry) => (Array.isArray(entry) ? [entry[0], entry[1].code] : entry))
  },

  'http: over a path': async (t) => {
    const path = t.path()
    const server = t.track(
      t.attach(
        t.http.createServer((request, response) =>
          response.end(`from ${request.socket.remoteAddress}`),
        ),
      ),
    )
    server.listen(path)
    await t.once(server, 'listening')
    return ask(t, { socketPath: path, host: undefined, agent: t.httpAgent({}) })
  },

  'http: close() waits for requests and ends idle connections': async (t) => {
    const { server, port } = await serve(
      t,
      t.http.createServer((request, response) => response.end('x')),
    )
    const agent = t.httpAgent({ keepAlive: true })
    await ask(t, { port, agent })
    await t.turns()
    server.close()
    server.closeAllConnections()
    await t.allClosed(server)
    await t.until(() => Object.keys(agent.freeSockets).length === 0)
    return 'closed'
  },

  'https: a request sees addresses, and the certificate is checked': async (t) => {
    const { cert, key } = pair()
    let seen
    const { port } = await serve(
      t,
      t.https.createServer({ cert, key }, (request, response) => {
        seen = [namesOf(request.socket), request.socket.encrypted]
        response.end('secret')
      }),
    )
    const agent = t.httpsAgent({ keepAlive: true })
    const options = { protocol: 'https:', port, ca: cert, servername: 'localhost', agent }
    const results = [await ask(t, options), await ask(t, options)]
    const bad = await ask(t, { protocol: 'https:', port, servername: 'localhost' })
    agent.destroy()
    return { results, bad: [bad.error?.code], seen }
  },

  'tls: events of both ends, in order': async (t) => {
    const { cert, key } = pair()
    const log = t.log()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key, ALPNProtocols: ['p'] }))
    server.on('secureConnection', (socket) => {
      t.events(socket, ['data', 'end', 'finish', 'close'], log)
      socket.on('data', () => socket.end('answer'))
    })
    const socket = t.track(
      t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost', ALPNProtocols: ['p'] }),
    )
    const client = t.events(socket, ['connect', 'secureConnect', 'data', 'end', 'finish', 'close'])
    socket.on('secureConnect', () => socket.write('question'))
    await t.once(socket, 'secureConnect')
    const { authorized, alpnProtocol, encrypted } = socket
    const facts = [authorized, alpnProtocol, encrypted, namesOf(socket), socket.getProtocol()]
    await t.allClosed(socket)
    await t.until(() => log.some(([name]) => name === 'close'))
    return { facts, log, client: client.filter((entry) => entry !== 'connect') }
  },

  'tls: a lot of data both ways is complete': async (t) => {
    const { cert, key } = pair()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key }))
    server.on('secureConnection', (socket) => socket.pipe(socket))
    const socket = t.track(t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }))
    socket.end(Buffer.alloc(2_000_000, 'tls'))
    let received = 0
    let isSame = true
    socket.on('data', (data) => {
      isSame &&= 'tls'.charCodeAt(received % 3) === data[0]
      received += data.length
    })
    await t.once(socket, 'end')
    return { received, isSame, read: socket.bytesRead, written: socket.bytesWritten }
  },

  'tls: a slow reader loses nothing': async (t) => {
    const { cert, key } = pair()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key }))
    server.on('secureConnection', (socket) => socket.end(Buffer.alloc(400_000)))
    const socket = t.track(t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }))
    let received = 0
    for await (const chunk of socket) {
      received += chunk.length
      await t.turns(2)
    }
    return received
  },

  'tls: a plain connection becomes a secure one, on both ends': async (t) => {
    const { cert, key } = pair()
    const server = t.server((socket) => {
      socket.once('data', () => {
        socket.write('go')
        const secure = new t.tls.TLSSocket(socket, { isServer: true, cert, key })
        secure.on('data', (data) => secure.end(`secret ${data}`))
      })
    })
    const port = await t.listen(server)
    const plain = t.connect(port, loopback)
    plain.write('STARTTLS')
    await t.once(plain, 'data')
    const secure = t.tls.connect({ socket: plain, ca: cert, servername: 'localhost' })
    secure.write('word')
    const answer = await text(secure)
    return { answer, address: secure.remoteAddress, authorized: secure.authorized }
  },

  'tls: errors of a handshake that fails': async (t) => {
    const { cert, key } = pair()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key }))
    const log = t.log()
    server.on('tlsClientError', (error) => log.push(error.code))
    const garbage = t.connect(port, loopback)
    garbage.on('error', () => {})
    garbage.write('this is no handshake, whatever it is\n')
    garbage.resume()
    await t.closed(garbage)
    const vanishing = t.connect(port, loopback)
    await t.once(vanishing, 'connect')
    vanishing.destroy()
    await t.until(() => log.length === 2)
    const closing = await t.listen(t.server((socket) => socket.end()))
    const socket = t.track(t.connectTls({ port: closing, host: loopback }))
    const [error] = await t.once(socket, 'error')
    return { log, client: shape(error) }
  },

  'tls: a reset is an error of the secure socket': async (t) => {
    const { cert, key } = pair()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key }))
    server.on('connection', (socket) => (t.raw = socket))
    const socket = t.track(t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }))
    const log = t.events(socket, ['error', 'close'])
    await t.once(socket, 'secureConnect')
    socket.resume()
    t.raw.resetAndDestroy()
    await t.allClosed(socket)
    return log
  },

  'tls: a timeout fires and data puts it off': async (t) => {
    const { cert, key } = pair()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key }))
    server.on('secureConnection', (socket) => socket.on('error', () => {}))
    const socket = t.track(t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }))
    await t.once(socket, 'secureConnect')
    socket.setTimeout(40)
    await t.once(socket, 'timeout')
    return socket.destroyed
  },

  'http2: a session without TLS: addresses, streams and an orderly end': async (t) => {
    const log = t.log()
    const { server, port } = await serve(t, t.http2.createServer())
    server.on('stream', (stream, headers) => {
      log.push(['stream', headers[':path'], namesOf(stream.session.socket)])
      stream.respond({ ':status': 200 })
      stream.end(`answer to ${headers[':path']}`)
    })
    server.on('session', (session) => t.events(session, ['close'], log))
    const session = t.connectHttp2(`http://${loopback}:${port}`)
    const client = t.events(session, ['connect', 'close', 'error', 'goaway'])
    const answers = await Promise.all(
      ['/a', '/b', '/c'].map((path) => text(session.request({ ':path': path }))),
    )
    const ping = await new Promise((resolve) => session.ping((error) => resolve(error)))
    const names = namesOf(session.socket)
    session.close()
    await t.closed(session)
    await t.until(() => log.includes('close'))
    return { answers, ping, names, log, client: client.map((e) => (Array.isArray(e) ? e[0] : e)) }
  },

  'http2: a lot of data both ways is complete': async (t) => {
    const { server, port } = await serve(t, t.http2.createServer())
    server.on('stream', (stream) => {
      stream.respond()
      stream.pipe(stream)
    })
    const session = t.connectHttp2(`http://${loopback}:${port}`)
    const streams = [1, 2, 3].map(async () => {
      const stream = session.request({ ':method': 'POST' })
      stream.end(Buffer.alloc(500_000))
      return (await text(stream)).length
    })
    const lengths = await Promise.all(streams)
    session.close()
    return lengths
  },

  'http2: a session that is destroyed tells both ends what it tells on node:net': async (t) => {
    const log = t.log()
    const { server, port } = await serve(t, t.http2.createServer())
    server.on('stream', (stream) => {
      stream.on('error', (error) => log.push(['stream', error.code]))
      stream.on('close', () => log.push(['stream close', stream.rstCode]))
      stream.respond()
      stream.write('part')
    })
    server.on('sessionError', (error) => log.push(['session', error.code]))
    const session = t.connectHttp2(`http://${loopback}:${port}`)
    session.on('error', () => {})
    const stream = session.request()
    const client = t.events(stream, ['aborted', 'error', 'close'])
    stream.resume()
    await t.once(stream, 'response')
    session.destroy(new Error('enough'), 2)
    await t.closed(stream)
    await t.until(() => log.some(([name]) => name === 'stream close'))
    return { log: log.sort(), client }
  },

  'http2: GOAWAY with data reaches the other end': async (t) => {
    const { server, port } = await serve(t, t.http2.createServer())
    server.on('session', (session) => session.goaway(0, 0, Buffer.from('leaving')))
    const session = t.connectHttp2(`http://${loopback}:${port}`)
    session.on('error', () => {})
    const [code, last, data] = await t.once(session, 'goaway')
    session.destroy()
    return [code, last, String(data)]
  },

  'http2: over TLS, and http/1.1 for those who ask for it': async (t) => {
    const { cert, key } = pair()
    let seen
    const { port } = await serve(
      t,
      t.http2.createSecureServer({ cert, key, allowHTTP1: true }, (request, response) => {
        seen = [request.httpVersion, namesOf(request.socket), request.socket.encrypted]
        response.end(request.httpVersion)
      }),
    )
    const session = t.connectHttp2(`https://${loopback}:${port}`, { ca: cert, servername: 'localhost' })
    const second = await text(session.request({ ':path': '/' }))
    const ofSecond = seen
    session.close()
    const first = await ask(t, { protocol: 'https:', port, ca: cert, servername: 'localhost' })
    return { second, ofSecond, first, seen }
  },

  'fetch: requests, bodies, streams and an abort': async (t) => {
    let connections = 0
    const { server, port } = await serve(
      t,
      t.http.createServer(async (request, response) => {
        if (request.url === '/hang') return response.write('never ends')
        return response.end(`${request.method} ${(await text(request)).length}`)
      }),
    )
    server.on('connection', () => connections++)
    const base = `http://${loopback}:${port}`
    const results = [await (await fetch(`${base}/`)).text()]
    const body = 'x'.repeat(300_000)
    results.push(await (await fetch(`${base}/`, { method: 'POST', body })).text())
    const controller = new AbortController()
    const hanging = await fetch(`${base}/hang`, { signal: controller.signal })
    const reader = hanging.body.getReader()
    await reader.read()
    controller.abort()
    results.push(told(await reader.read().catch(({ name }) => name)))
    const refused = await t.freePort()
    const failure = await fetch(`http://${loopback}:${refused}/`).catch((error) => error)
    const { code, syscall, address } = failure.cause
    server.closeAllConnections()
    return { results, connections, failure: [failure.name, code, syscall, address] }
  },
}
