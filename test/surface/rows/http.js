'use strict'

/* http and fetch: requests, agents, upgrades, tunnels, timeouts and errors. */
const { loopback, told } = require('../row')
const { ask, namesOf, serve, text } = require('../exchange')

exports.theme = 'http'
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
      for (const name of ['data', 'end', 'close'])
        response.on(name, () => client.push(`its ${name}`))
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
    const message =
      'POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello'
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
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nfirst ',
      )
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
    const request = t.http.request({
      port,
      host: loopback,
      method: 'CONNECT',
      path,
      agent: t.httpAgent({}),
    })
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
    const refused = t.refusedPort()
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

  'fetch: requests, bodies, streams and an abort': async (t) => {
    const { server, port } = await serve(
      t,
      t.http.createServer(async (request, response) => {
        if (request.url === '/hang') return response.write('never ends')
        return response.end(`${request.method} ${(await text(request)).length}`)
      }),
    )
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
    const refused = t.refusedPort()
    const failure = await fetch(`http://${loopback}:${refused}/`).catch((error) => error)
    const { code, syscall, address } = failure.cause
    server.closeAllConnections()
    return { results, failure: [failure.name, code, syscall, address] }
  },

  'http: a store entered in a request listener stays with the request': async (t) => {
    const { AsyncLocalStorage } = require('node:async_hooks')
    const store = new AsyncLocalStorage()
    const log = []
    const { port } = await serve(
      t,
      t.http.createServer((request, response) =>
        store.run(request.url, async () => {
          const seen = (name) => log.push([request.url, name, store.getStore() ?? 'none'])
          response.on('finish', () => seen('finish'))
          await text(request)
          seen('read')
          response.write('x', () => seen('written'))
          setImmediate(() => response.end('y', () => seen('ended')))
        }),
      ),
    )
    const agent = t.httpAgent({ keepAlive: true, maxSockets: 1 })
    await Promise.all(['/a', '/b', '/c'].map((path) => ask(t, { port, path, agent })))
    await t.until(() => log.length === 12)
    agent.destroy()
    return log.sort()
  },

  'http: a store around a request is there in its response, also on a socket used before': async (
    t,
  ) => {
    const { AsyncLocalStorage } = require('node:async_hooks')
    const store = new AsyncLocalStorage()
    const { port } = await serve(
      t,
      t.http.createServer((request, response) => response.end('x')),
    )
    const agent = t.httpAgent({ keepAlive: true, maxSockets: 1 })
    const get = (name) =>
      store.run(name, () => {
        const log = [name]
        const seen = (event) => () => log.push([event, store.getStore() ?? 'none'])
        return new Promise((resolve) => {
          const request = t.http.get({ port, host: loopback, agent }, (response) => {
            seen('response')()
            response.on('data', seen('data')).on('end', seen('end'))
          })
          request.on('socket', seen('socket')).on('finish', seen('finish'))
          request.on('close', () => resolve(log))
        })
      })
    const logs = [await get('first'), await get('second')]
    agent.destroy()
    return logs
  },

  'http: many requests at once are each answered': async (t) => {
    const { port } = await serve(
      t,
      t.http.createServer(async (request, response) => response.end(await text(request))),
    )
    const names = Array.from({ length: 60 }, (_, n) => `body ${n}`)
    const agent = t.httpAgent({ keepAlive: true, maxSockets: 20 })
    const answers = await Promise.all(
      names.map((name) => ask(t, { port, method: 'POST', agent }, name)),
    )
    agent.destroy()
    return answers.every(({ text: answer }, n) => answer === names[n])
  },
}
