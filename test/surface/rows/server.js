'use strict'

/* Servers: listening in all forms, refusing and counting connections, closing, and the errors of each. */
const { EventEmitter } = require('node:events')
const { statSync, existsSync, writeFileSync } = require('node:fs')
const { loopback, told } = require('../row')

const life = ['listening', 'connection', 'drop', 'error', 'close']

/** Listens, says what came of it, and lets one client in. */
async function tryListen(t, ...args) {
  const server = t.server((socket) => socket.end('in'))
  const log = t.events(server, life)
  const refused = t.thrown(() => server.listen(...args))
  if (refused.value === undefined) return { refused }
  await Promise.race([t.once(server, 'listening'), t.once(server, 'error')])
  const address = server.address()
  const result = { log, listening: server.listening, address }
  if (!server.listening) return result
  if (typeof address === 'object') t.name(server)
  const target =
    typeof address === 'string'
      ? { path: address }
      : { port: address.port, host: address.family === 'IPv6' ? '::1' : loopback }
  const client = t.connect(target)
  result.text = await t.received(client)
  server.close()
  await t.allClosed(server)
  return result
}

/** Who connects on which address of a server that listens on any. */
async function reach(t, server, ipv4 = loopback) {
  const port = t.name(server)
  const results = {}
  for (const host of [ipv4, '::1']) {
    const client = t.connect({ port, host })
    const log = t.events(client, ['connect', 'error'])
    client.on('connect', () => client.destroy())
    await t.closed(client)
    results[host] = log.map((entry) => (Array.isArray(entry) ? entry[1].code : entry))
  }
  return results
}

exports.theme = 'servers'
exports.rows = {
  'listen() in every form listens': async (t) => {
    const controller = new AbortController()
    const results = {}
    const forms = {
      nothing: [],
      port: [0],
      'port and host': [0, loopback],
      'port, host and backlog': [0, loopback, 5],
      'port and backlog': [0, 5],
      options: [{ port: 0, host: loopback }],
      'options without a host': [{ port: 0 }],
      'options with a backlog': [{ port: 0, host: loopback, backlog: 1 }],
      exclusive: [{ port: 0, host: loopback, exclusive: true }],
      IPv6: [{ port: 0, host: '::1' }],
      'IPv6 only': [{ port: 0, host: '::', ipv6Only: true }],
      'any IPv4': [{ port: 0, host: '0.0.0.0' }],
      'a signal': [{ port: 0, host: loopback, signal: controller.signal }],
      text: ['0'],
      null: [null],
      path: [t.path('a')],
      'path in options': [{ path: t.path('b') }],
      'abstract path': ['\0' + t.path('c')],
    }
    for (const [title, args] of Object.entries(forms)) results[title] = await tryListen(t, ...args)
    return results
  },

  'listen() refuses what it cannot use, with the same errors': async (t) => {
    const results = {}
    const forms = {
      'a port too large': [65536],
      'a negative port': [-1],
      'a port in options': [{ port: 'x' }],
      'an empty object': [{}],
      'a boolean': [true],
      'a negative descriptor': [{ fd: -1 }],
      'a descriptor that is none': [{ fd: 3999 }],
      'an abstract path for all': [{ path: '\0' + t.path('d'), readableAll: true }],
      'a signal that is none': [{ port: 0, signal: 5 }],
      'a directory that is none': ['/no/such/directory/socket'],
      'a path that is too long': [t.path('x'.repeat(200))],
      'an address of another machine': [{ port: 0, host: '192.0.2.1' }],
    }
    for (const [title, args] of Object.entries(forms)) results[title] = await tryListen(t, ...args)
    return results
  },

  'listen() on a port or path that is taken is EADDRINUSE': async (t) => {
    const port = await t.listen(t.server())
    const path = t.path()
    const other = t.server()
    other.listen(path)
    await t.once(other, 'listening')
    const file = t.path('file')
    writeFileSync(file, '')
    return [
      await tryListen(t, port, loopback),
      await tryListen(t, { path }),
      await tryListen(t, { path: file }),
      await tryListen(t, { port, host: loopback, exclusive: true }),
    ]
  },

  'a server that could not listen listens elsewhere afterwards': async (t) => {
    const port = await t.listen(t.server())
    const server = t.server((socket) => socket.end('at last'))
    const log = t.events(server, life)
    server.listen(port, loopback)
    await t.once(server, 'error')
    await t.listen(server)
    return { text: await t.received(t.connect(server.address().port, loopback)), log }
  },

  'listen() twice is an error, before and after it listens': async (t) => {
    const server = t.server()
    const log = t.events(server, life)
    server.listen(0, loopback)
    const first = t.thrown(() => server.listen(0, loopback))
    await t.until(() => server.listening && log.length > 0)
    const second = t.thrown(() => server.listen(0, loopback))
    await t.turns()
    return { first, second, log }
  },

  'listening comes on the next tick, and the server has its address at once': async (t) => {
    const server = t.server()
    const log = t.events(server, ['listening'])
    let calls = 0
    server.listen(0, () => calls++)
    const now = [server.listening, server.address().family, [...log]]
    await new Promise((resolve) => process.nextTick(resolve))
    const named = t.server()
    named.listen(0, loopback)
    return { now, log, calls, named: [named.listening, named.address()] }
  },

  'listen() without a host listens on both families': async (t) => {
    const server = t.server()
    server.listen(0)
    await t.once(server, 'listening')
    return { address: server.address(), reach: await reach(t, server) }
  },

  'ipv6Only listens on one family': async (t) => {
    const server = t.server()
    // An address that no test of another process listens on.
    const ipv4 = '127.0.0.9'
    await t.listenAlone(server, { host: '::', ipv6Only: true }, [ipv4])
    return reach(t, server, ipv4)
  },

  'an IPv4 client of a dual-stack server has a mapped address': async (t) => {
    const server = t.server()
    server.listen(0)
    await t.once(server, 'listening')
    const client = t.connect(t.name(server), loopback)
    const [socket] = await t.once(server, 'connection')
    return [socket.remoteAddress, socket.remoteFamily, socket.localAddress, client.remoteAddress]
  },

  'listen() on a host by name asks dns and listens': async (t) => {
    const server = t.server()
    const log = t.events(server, life)
    server.listen(0, 'localhost')
    const before = [server.listening, server.address()]
    await Promise.race([t.once(server, 'listening'), t.once(server, 'error')])
    return { before, log, address: server.address() }
  },

  'listen() on a name that is none is an error': async (t) => {
    const server = t.server()
    server.listen(0, 'no.such.name.invalid')
    const [error] = await t.once(server, 'error')
    return [error.syscall, error.hostname, server.listening]
  },

  'close() during the lookup keeps the server from listening': async (t) => {
    const server = t.server()
    const log = t.events(server, life)
    server.listen(0, 'localhost')
    server.close((error) => log.push(['callback', told(error)]))
    await t.delay(50)
    return { log, listening: server.listening }
  },

  'reusePort lets two servers share a port': async (t) => {
    const first = t.server((socket) => socket.end())
    const log = t.events(first, life)
    first.listen({ port: 0, host: loopback, reusePort: true })
    await Promise.race([t.once(first, 'listening'), t.once(first, 'error')])
    const port = t.name(first)
    const second = t.server((socket) => socket.end())
    const other = t.events(second, life)
    second.listen({ port, host: loopback, reusePort: true })
    await Promise.race([t.once(second, 'listening'), t.once(second, 'error')])
    const strict = await tryListen(t, { port, host: loopback })
    return { log, other, strict }
  },

  'a backlog of one is enough for one after the other': async (t) => {
    const server = t.server((socket) => socket.end('x'))
    server.listen({ port: 0, host: loopback, backlog: 1 })
    await t.once(server, 'listening')
    let text = ''
    for (let n = 0; n < 5; n++) text += await t.received(t.connect(t.name(server), loopback))
    return text
  },

  'readableAll and writableAll give the path its rights': async (t) => {
    const modes = []
    const umask = process.umask(0o077)
    try {
      const all = [{}, { readableAll: true }, { writableAll: true }]
      all.push({ readableAll: true, writableAll: true })
      for (const [index, options] of all.entries()) {
        const path = t.path(`rights-${index}`)
        const server = t.server()
        server.listen({ path, ...options })
        await t.once(server, 'listening')
        modes.push((statSync(path).mode & 0o777).toString(8))
      }
    } finally {
      process.umask(umask)
    }
    return modes
  },

  'close() removes the path, and leaves one that was replaced as Node does': async (t) => {
    const path = t.path()
    const server = t.server()
    server.listen(path)
    await t.once(server, 'listening')
    const before = existsSync(path)
    server.close()
    await t.allClosed(server)
    return [before, existsSync(path), server.address()]
  },

  'listen() on another server, and on its handle, shares the port': async (t) => {
    const results = []
    const forms = {
      'the server': (server) => [server],
      'its handle': (server) => [server._handle],
      'an object with _handle': (server) => [{ _handle: server._handle }],
      'an object with handle': (server) => [{ handle: server._handle }],
    }
    for (const [title, argsOf] of Object.entries(forms)) {
      const first = t.server()
      await t.listen(first)
      const second = t.server((socket) => socket.end('through the second'))
      const log = t.events(second, ['listening', 'error'])
      const refused = t.thrown(() => second.listen(...argsOf(first)))
      if (refused.value !== undefined) {
        await Promise.race([t.once(second, 'listening'), t.once(second, 'error')])
      }
      const address = second.address()
      let text = ''
      if (second.listening) {
        text = await t.received(t.connect(t.name(first), loopback))
      }
      results.push({ title, refused, log, address, text })
      second.close()
      first.close()
      await t.turns()
    }
    return results
  },

  'listen({ fd }) takes over an inherited descriptor': async (t) => {
    const handle = t.nodeNet._createServerHandle(loopback, 0, 4)
    const name = {}
    handle.getsockname(name)
    t.ports.set(name.port, '<inherited port>')
    let text
    const outcome = await t.program(
      `const server = net.createServer((socket) => { socket.end('from the child'); server.close() });
       server.listen({ fd: 3 }, () => require('node:fs').writeSync(1, JSON.stringify(server.address())))`,
      {
        stdio: [handle.fd],
        onChild: (child) =>
          child.stdout.once('data', async () => {
            text = await t.received(t.connect(name.port, loopback))
          }),
      },
    )
    handle.close()
    await t.until(() => text !== undefined)
    const { port, ...address } = JSON.parse(outcome.stdout)
    return { text, code: outcome.code, address, isPort: port === name.port }
  },

  'a BoundSocket, where Node has it, is bound first and listened on later': async (t) => {
    const { BoundSocket } = t.net
    if (BoundSocket === undefined) return 'absent'
    const bound = new BoundSocket({ host: loopback, port: 0 })
    const server = t.server((socket) => socket.end('bound'))
    server.listen(bound)
    await t.once(server, 'listening')
    return t.received(t.connect(t.name(server), loopback))
  },

  'a signal closes the server when it is aborted': async (t) => {
    const controller = new AbortController()
    const server = t.server()
    const log = t.events(server, life)
    server.listen({ port: 0, host: loopback, signal: controller.signal })
    await t.once(server, 'listening')
    controller.abort()
    await t.allClosed(server)
    const early = t.server()
    const other = t.events(early, life)
    early.listen({ port: 0, host: loopback, signal: AbortSignal.abort() })
    await t.allClosed(early)
    return { log, other, listening: [server.listening, early.listening] }
  },

  'close() calls back after the last connection has closed': async (t) => {
    const { server, client, accepted } = await t.pair()
    const log = t.events(server, ['close'])
    accepted.on('close', () => log.push('connection closed'))
    const returned = server.close((...args) => log.push(['callback', ...args.map(told)])) === server
    const now = [server.listening, server.address()]
    await t.turns()
    log.push('end')
    accepted.resume()
    client.end()
    client.resume()
    await t.allClosed(server, accepted)
    return { returned, now, log }
  },

  'close() of a server that is not listening calls back with an error': async (t) => {
    const server = t.server()
    const log = t.events(server, ['error', 'close'])
    const returned = server.close((error) => log.push(['first', told(error)])) === server
    await t.turns()
    await t.listen(server)
    server.close((error) => log.push(['second', told(error)]))
    server.close((error) => log.push(['third', told(error)]))
    await t.allClosed(server)
    await t.turns()
    return { returned, log }
  },

  'a closed server refuses connections, and listens again': async (t) => {
    const server = t.server((socket) => socket.end('again'))
    const port = t.refusedPort()
    await t.listen(server, { port })
    server.close()
    await t.closed(server)
    const refused = t.connect(port, loopback)
    refused.on('error', () => {})
    const [error] = await t.once(refused, 'error')
    await t.listen(server, { port })
    return { code: error.code, text: await t.received(t.connect(port, loopback)) }
  },

  'connections that were not accepted when close() was called are reset or ended': async (t) => {
    const server = t.server((socket) => socket.resume())
    const port = await t.listen(server)
    const { next } = t.peerClient(port, (socket, report) => {
      socket.on('connect', () => report('connected'))
      socket.on('close', () => report('closed'))
      socket.resume()
    })
    await next()
    await t.until(() => server._connections === 1)
    server.close()
    for (const socket of t.tracked) if (socket !== server) socket.destroy()
    return next()
  },

  'getConnections counts': async (t) => {
    const server = t.server((socket) => socket.resume())
    const port = await t.listen(server)
    const count = () =>
      new Promise((resolve) => server.getConnections((error, n) => resolve([error, n])))
    const counts = [await count()]
    const clients = []
    for (let n = 0; n < 3; n++) {
      clients.push(t.connect(port, loopback))
      await t.once(server, 'connection')
    }
    counts.push(await count())
    clients[0].destroy()
    await t.until(() => server._connections === 2)
    counts.push(await count())
    const returned = server.getConnections(() => {}) === server
    return { counts, returned }
  },

  'maxConnections drops what is too much, and says whom': async (t) => {
    const server = t.server((socket) => socket.write('in'))
    const drops = []
    server.on('drop', (data) => drops.push(data))
    server.maxConnections = 2
    const port = await t.listen(server)
    const logs = []
    const clients = []
    for (let n = 0; n < 4; n++) {
      const client = t.connect(port, loopback)
      t.ports.set(client.localPort, '<client port>')
      clients.push(client)
      client.on('error', () => {})
      logs.push(n < 2 ? t.events(client, ['data']) : t.events(client, ['data', 'close']))
      if (n < 2) await t.once(client, 'data')
      else await t.closed(client)
    }
    clients[0].destroy()
    await t.until(() => server._connections === 1)
    const again = t.connect(port, loopback)
    const [data] = await t.once(again, 'data')
    const fields = drops.map((drop) =>
      Object.entries(drop).map(([key, value]) => [key, typeof value]),
    )
    return { logs, fields, drop: { ...drops[0], remotePort: 0 }, again: String(data) }
  },

  'maxConnections of zero means what it means in this Node': async (t) => {
    const server = t.server((socket) => socket.write('in'))
    server.maxConnections = 0
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    client.on('error', () => {})
    return Promise.race([
      t.once(client, 'data').then(([data]) => String(data)),
      t.closed(client).then(() => 'dropped'),
    ])
  },

  'maxConnections set while listening takes effect': async (t) => {
    const server = t.server((socket) => socket.write('in'))
    const port = await t.listen(server)
    await t.once(t.connect(port, loopback), 'data')
    server.maxConnections = 1
    const second = t.connect(port, loopback)
    await t.closed(second)
    server.maxConnections = 5
    const [data] = await t.once(t.connect(port, loopback), 'data')
    return { second: second.bytesRead, third: String(data) }
  },

  'options of the server are options of its connections': async (t) => {
    const results = []
    for (const options of [
      { allowHalfOpen: true },
      { allowHalfOpen: false },
      { highWaterMark: 99 },
    ]) {
      const { accepted } = await t.pair({ server: options })
      results.push([accepted.allowHalfOpen, accepted.readableHighWaterMark])
    }
    return results
  },

  'pauseOnConnect leaves bytes where they are until somebody reads': async (t) => {
    const server = t.server({ pauseOnConnect: true })
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    client.end('waiting')
    const [accepted] = await t.once(server, 'connection')
    const paused = accepted.isPaused()
    await t.delay(30)
    const { bytesRead } = accepted
    accepted.resume()
    return { paused, bytesRead, text: await t.received(accepted) }
  },

  'server options that cannot be used are refused': async (t) =>
    [{ highWaterMark: 'x' }, 5, { keepAliveInitialDelay: 'x' }, { blockList: {} }, null].map(
      (options) => t.thrown(() => t.net.createServer(options)),
    ),

  'a connection knows its server': async (t) => {
    const { server, accepted, client } = await t.pair()
    return [accepted.server === server, accepted._server === server, client.server ?? 'none']
  },

  'ref() and unref() return the server, before and after listening': async (t) => {
    const server = t.server()
    const before = [server.unref() === server, server.ref() === server]
    await t.listen(server)
    return [...before, server.unref() === server, server.ref() === server]
  },

  'an unref’d server, also before it listens, does not keep the process': async (t) => [
    await t.program(
      `const server = net.createServer().unref(); server.listen(0, '127.0.0.1', () => console.log('up'))`,
    ),
    await t.program(
      `const server = net.createServer().listen(0, '127.0.0.1', () => server.unref());
       process.on('exit', () => console.log('exit'))`,
    ),
    await t.program(
      `const server = net.createServer((socket) => { socket.unref(); server.close() }).listen(0, '127.0.0.1', () => {
         const client = net.connect(server.address().port, '127.0.0.1', () => client.unref()); client.resume() });
       process.on('exit', () => console.log('exit'))`,
    ),
  ],

  'a socket that waits for its connection keeps the process, unref’d ones do not': async (t) => [
    await t.program(
      `const server = net.createServer((socket) => { socket.end('x'); server.close() }).listen(0, '127.0.0.1', () =>
         net.connect(server.address().port, '127.0.0.1').on('data', (data) => console.log(String(data))))`,
    ),
    await t.program(
      `const socket = new net.Socket(); socket.unref(); socket.connect(9, '192.0.2.1'); socket.on('error', () => {});
       process.on('exit', () => console.log('exit'))`,
    ),
  ],

  'a server disposes of itself at the end of a scope': async (t) => {
    const server = t.server()
    if (typeof server[Symbol.asyncDispose] !== 'function') return 'absent'
    const log = t.events(server, ['error', 'close'])
    await t.listen(server)
    await server[Symbol.asyncDispose]()
    const again = await server[Symbol.asyncDispose]().then(
      () => 'nothing',
      (error) => told(error),
    )
    return { log, listening: server.listening, again }
  },

  'captureRejections destroys the connection whose listener rejected': async (t) => {
    EventEmitter.captureRejections = true
    t.onOver(() => (EventEmitter.captureRejections = false))
    const server = t.server()
    const log = t.events(server, ['error'])
    server.on('connection', async () => {
      throw new Error('rejected')
    })
    const errors = t.log()
    server.on('connection', (socket) => t.events(socket, ['error', 'close'], errors))
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    client.on('error', () => {})
    await t.until(() => errors.length === 2)
    return { log, errors }
  },

  'a connection listener that throws is an uncaught exception, and the server goes on': async (
    t,
  ) => {
    let connections = 0
    const server = t.server(() => {
      if (++connections === 1) throw new Error('thrown by the listener')
    })
    const port = await t.listen(server)
    const first = t.connect(port, loopback)
    await t.until(() => connections === 1)
    t.connect(port, loopback)
    await t.until(() => connections === 2)
    return { connections, destroyed: first.destroyed, counted: server._connections }
  },

  'connections come in the order of the clients': async (t) => {
    const server = t.server()
    const order = []
    const port = await t.listen(server)
    server.on('connection', (socket) => order.push(socket.remotePort))
    const clients = []
    for (let n = 0; n < 10; n++) {
      const client = t.connect(port, loopback)
      await t.once(client, 'connect')
      clients.push(client.localPort)
    }
    await t.until(() => order.length === 10)
    return order.every((remotePort, index) => remotePort === clients[index])
  },

  'a server has no address before it listens and after it has closed': async (t) => {
    const server = t.server()
    const before = server.address()
    await t.listen(server)
    const during = Object.keys(server.address())
    server.close()
    const closing = server.address()
    return { before, during, closing, listening: server.listening }
  },

  'the port of a server that only just closed can be taken again': async (t) => {
    const { server, client, accepted } = await t.pair()
    const { port } = server.address()
    server.close()
    accepted.destroy()
    client.destroy()
    await t.allClosed(server)
    const next = t.server((socket) => socket.end('taken'))
    await t.listen(next, { port })
    return t.received(t.connect(port, loopback))
  },
}
