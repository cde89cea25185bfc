'use strict'

/* tls, https and http2, with native code between the socket and the program. */
const { loopback, shape } = require('../row')
const { ask, namesOf, pair, serve, text } = require('../exchange')

exports.theme = 'tls and http2'
exports.rows = {
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
      t.connectTls({
        port,
        host: loopback,
        ca: cert,
        servername: 'localhost',
        ALPNProtocols: ['p'],
      }),
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
    const socket = t.track(
      t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }),
    )
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
    const socket = t.track(
      t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }),
    )
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

  'tls: a reset on the wire is an error of the secure sockets': async (t) => {
    const { cert, key } = pair()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key }))
    const log = t.log()
    server.on('secureConnection', (socket) => {
      t.events(socket, ['data', 'error', 'close'], log)
      socket.write('up')
    })
    // Passes everything on, until a connection says R.
    const wire = (socket) =>
      socket.once('data', (first) => {
        if (first[0] === 0x52) globalThis.legs.forEach((leg) => leg.resetAndDestroy())
        else {
          const upstream = globalThis.net.connect(PORT, '127.0.0.1')
          globalThis.legs = [socket, upstream]
          for (const leg of globalThis.legs) leg.on('error', () => {})
          upstream.write(first)
          socket.pipe(upstream).pipe(socket)
        }
      })
    const between = await t.peerServer(String(wire).replace('PORT', port))
    const options = { port: between.port, host: loopback, ca: cert, servername: 'localhost' }
    const socket = t.track(t.connectTls(options))
    const client = t.events(socket, ['error', 'close'])
    await t.once(socket, 'data')
    socket.write('down')
    await t.until(() => log.length === 1)
    t.connect(between.port, loopback).end('R')
    await t.allClosed(socket)
    await t.until(() => log.some(([name]) => name === 'close'))
    return { client, log }
  },

  'tls: resetting the connection below a secure socket': async (t) => {
    const { cert, key } = pair()
    const { server, port } = await serve(t, t.tls.createServer({ cert, key }))
    server.on('connection', (socket) => (t.raw = socket))
    const socket = t.track(
      t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }),
    )
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
    const socket = t.track(
      t.connectTls({ port, host: loopback, ca: cert, servername: 'localhost' }),
    )
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
    let isOver = false
    server.on('session', (session) => session.on('close', () => (isOver = true)))
    server.on('sessionError', (error) => log.push(['session', error.code]))
    const session = t.connectHttp2(`http://${loopback}:${port}`)
    session.on('error', () => {})
    const stream = session.request()
    const client = t.events(stream, ['aborted', 'error', 'close'])
    stream.resume()
    await t.once(stream, 'response')
    session.destroy(new Error('enough'), 2)
    await t.closed(stream)
    await t.until(() => isOver)
    await t.turns()
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
    const session = t.connectHttp2(`https://${loopback}:${port}`, {
      ca: cert,
      servername: 'localhost',
    })
    const second = await text(session.request({ ':path': '/' }))
    const ofSecond = seen
    session.close()
    const first = await ask(t, { protocol: 'https:', port, ca: cert, servername: 'localhost' })
    return { second, ofSecond, first, seen }
  },
}
