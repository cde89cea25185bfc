'use strict'

/* Connecting: all forms of the arguments, all options, happy eyeballs, block lists, signals and given descriptors. */
const { chmodSync, closeSync, openSync } = require('node:fs')
const { loopback, shape, told } = require('../row')

/** A lookup that answers the same addresses for every name, in either of the two forms. */
function lookupOf(addresses, calls = []) {
  return (hostname, options, callback) => {
    calls.push([hostname, { family: options.family, hints: options.hints, all: options.all }])
    process.nextTick(() => {
      if (options.all) callback(null, addresses)
      else callback(null, addresses[0].address, addresses[0].family)
    })
  }
}

/** Happy eyeballs; no attempt is given up because the machine stood still. */
const patient = { autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 60_000 }

const v4 = (address = loopback) => ({ address, family: 4 })
const v6 = (address = '::1') => ({ address, family: 6 })
const attempts = [
  'lookup',
  'connectionAttempt',
  'connectionAttemptFailed',
  'connectionAttemptTimeout',
]
const life = [...attempts, 'connect', 'ready', 'end', 'error', 'close']

/** Connects, notes the events until the end, and what is known about the connection when it is there. */
async function follow(t, options, prepare) {
  const socket = t.track(new t.net.Socket())
  const log = t.events(socket, life)
  let names
  socket.on('connect', () => {
    const { localAddress, remoteAddress, remotePort, remoteFamily, localFamily } = socket
    names = { localAddress, remoteAddress, remotePort, remoteFamily, localFamily }
    socket.end()
    socket.resume()
  })
  prepare?.(socket)
  socket.connect(options)
  await t.closed(socket)
  return { log, names, attempted: socket.autoSelectFamilyAttemptedAddresses }
}

async function overload(t, connect) {
  let accepted = 0
  const server = t.server((socket) => {
    accepted++
    socket.end('welcome')
  })
  const port = await t.listen(server, { host: undefined })
  let callbacks = 0
  const onConnect = () => callbacks++
  const socket = t.track(connect({ net: t.net, port, onConnect }))
  const text = await t.received(socket)
  return { text, callbacks, accepted, host: socket._host ?? null }
}

async function overloadOfPath(t, connect) {
  const server = t.server((socket) => socket.end('welcome'))
  const path = t.path()
  server.listen(path)
  await t.once(server, 'listening')
  let callbacks = 0
  const socket = t.track(connect({ net: t.net, path, onConnect: () => callbacks++ }))
  const text = await t.received(socket)
  const { remoteAddress, remotePort, remoteFamily, localAddress } = socket
  const names = [remoteAddress, remotePort, remoteFamily, localAddress].map(
    (name) => name ?? 'none',
  )
  return { text, callbacks, names }
}

const tcpForms = {
  'connect(port, host)': ({ net, port }) => net.connect(port, loopback),
  'connect(port, host, listener)': ({ net, port, onConnect }) =>
    net.connect(port, loopback, onConnect),
  'connect of a port given as text': ({ net, port }) => net.connect(String(port), loopback),
  'connect({ port, host }, listener)': ({ net, port, onConnect }) =>
    net.connect({ port, host: loopback }, onConnect),
  'createConnection({ port, host }, listener)': ({ net, port, onConnect }) =>
    net.createConnection({ port, host: loopback }, onConnect),
  'connect(port) to the default host': ({ net, port }) =>
    net.connect({ port, lookup: lookupOf([v4()]) }),
  'connect({ port, host, family }) with an address of that family': ({ net, port }) =>
    net.connect({ port, host: '::1', family: 6 }),
  'new Socket().connect(port, host, listener)': ({ net, port, onConnect }) =>
    new net.Socket().connect(port, loopback, onConnect),
  'new Socket().connect({ port, host }, listener)': ({ net, port, onConnect }) =>
    new net.Socket().connect({ port, host: loopback }, onConnect),
}

const pathForms = {
  'connect(path)': ({ net, path }) => net.connect(path),
  'connect(path, listener)': ({ net, path, onConnect }) => net.connect(path, onConnect),
  'connect({ path }, listener)': ({ net, path, onConnect }) => net.connect({ path }, onConnect),
  'new Socket().connect(path, listener)': ({ net, path, onConnect }) =>
    new net.Socket().connect(path, onConnect),
  'new Socket().connect({ path })': ({ net, path }) => new net.Socket().connect({ path }),
}

const forms = {}
for (const [title, connect] of Object.entries(tcpForms)) {
  forms[`${title} connects`] = (t) => overload(t, connect)
}
for (const [title, connect] of Object.entries(pathForms)) {
  forms[`${title} connects`] = (t) => overloadOfPath(t, connect)
}

const refusals = {
  'no arguments': (net) => net.connect(),
  'an empty object': (net) => net.connect({}),
  'no arguments for a socket': (net) => new net.Socket().connect(),
  'a port that is too large': (net) => net.connect(65536),
  'a negative port': (net) => net.connect({ port: -1 }),
  'a port that is no number': (net) => net.connect({ port: 'x1' }),
  'a port that is an object': (net) => net.connect({ port: {} }),
  'a path that is no text': (net) => net.connect({ path: 5 }),
  'a local address that is none': (net) => net.connect({ port: 1, localAddress: 'here' }),
  'a local port that is none': (net) => net.connect({ port: 1, localPort: 'here' }),
  'a lookup that is no function': (net) => net.connect({ port: 1, host: 'h', lookup: 'l' }),
  'bad hints': (net) => net.connect({ port: 1, host: 'h', hints: 0x80000 }),
  'autoSelectFamily that is no boolean': (net) => net.connect({ port: 1, autoSelectFamily: 'no' }),
  'an attempt timeout of zero': (net) =>
    net.connect({ port: 1, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 0 }),
  'a host with NUL in it': (net) => net.connect({ port: 1, host: 'a\0b' }),
  objectMode: (net) => net.connect({ port: 1, objectMode: true }),
  'an onread without a callback': (net) => net.connect({ port: 1, onread: { buffer: 5 } }),
  'a descriptor that is a file': (net) => {
    const fd = openSync(__filename)
    try {
      return new net.Socket({ fd })
    } finally {
      closeSync(fd)
    }
  },
  'a negative descriptor': (net) => new net.Socket({ fd: -1 }),
  'a signal that is none': (net) => net.connect({ port: 1, signal: 'no' }),
  'a block list that is none': (net) => new net.Socket({ blockList: {} }),
}

exports.theme = 'connecting'
exports.rows = {
  ...forms,

  'arguments that cannot be used are refused at once, with the same errors': async (t) => {
    const results = {}
    for (const [title, connect] of Object.entries(refusals)) {
      results[title] = t.thrown(() => {
        const socket = t.track(connect(t.net))
        socket.on('error', () => {})
        socket.destroy()
        return socket
      })
    }
    await t.turns()
    return results
  },

  'a connection by address tells its whole life': async (t) => {
    const port = await t.listen(t.server((socket) => socket.end()))
    return follow(t, { port, host: loopback })
  },

  'a connection by name asks the lookup with the options given': async (t) => {
    const port = await t.listen(t.server((socket) => socket.end()))
    const calls = []
    const lookup = lookupOf([v4()], calls)
    const results = []
    for (const options of [{}, { family: 4 }, { hints: 32 }, { autoSelectFamily: false }]) {
      results.push(await follow(t, { port, host: 'some.name', lookup, ...options }))
    }
    return { calls, results }
  },

  'a lookup that fails is an error with the name in it': async (t) => {
    const lookup = (hostname, options, callback) => {
      const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), {
        errno: -3008,
        code: 'ENOTFOUND',
        syscall: 'getaddrinfo',
        hostname,
      })
      process.nextTick(callback, error)
    }
    return [
      await follow(t, { port: 9, host: 'no.such', lookup }),
      await follow(t, { port: 9, host: 'no.such', lookup, autoSelectFamily: false }),
    ]
  },

  'a lookup that answers nonsense is an error': async (t) => {
    const answers = [
      [undefined, 4],
      ['not an address', 4],
      [loopback, 7],
      [5, 4],
    ]
    const results = []
    for (const [address, family] of answers) {
      const lookup = (hostname, options, callback) =>
        process.nextTick(() =>
          options.all ? callback(null, [{ address, family }]) : callback(null, address, family),
        )
      results.push(await follow(t, { port: 9, host: 'h', lookup }))
      results.push(await follow(t, { port: 9, host: 'h', lookup, autoSelectFamily: false }))
    }
    return results
  },

  'a lookup that throws is thrown by connect': async (t) =>
    t.thrown(() =>
      t.connect({
        port: 9,
        host: 'h',
        lookup() {
          throw new RangeError('from the lookup')
        },
      }),
    ),

  'a lookup that answers at once connects': async (t) => {
    const port = await t.listen(t.server((socket) => socket.end()))
    const lookup = (hostname, options, callback) =>
      options.all ? callback(null, [v4()]) : callback(null, loopback, 4)
    return follow(t, { port, host: 'h', lookup })
  },

  'happy eyeballs goes on to the next address when one refuses': async (t) => {
    const server = t.server((socket) => socket.end())
    const port = await t.listenAlone(server, { host: '127.0.0.3' }, ['::1', '127.0.0.2'])
    const lookup = lookupOf([v6(), v4('127.0.0.2'), v4('127.0.0.3')])
    return follow(t, { ...patient, port, host: 'h', lookup })
  },

  'happy eyeballs reports all failures together': async (t) => {
    const port = t.refusedPort([loopback, '::1', '127.0.0.2'])
    const lookup = lookupOf([v4(), v6(), v4('127.0.0.2')])
    return follow(t, { ...patient, port, host: 'h', lookup })
  },

  'happy eyeballs gives up an attempt that takes too long, and tries the next': async (t) => {
    // An accept queue that is full and never emptied: the process that could do it sleeps.
    const child = require('node:child_process').spawn(
      process.execPath,
      [
        '-e',
        `const server = require('node:net').createServer().listen({ port: 0, host: '${loopback}', backlog: 1 }, () => {
          require('node:fs').writeSync(1, String(server.address().port))
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120000) })`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } },
    )
    try {
      const [text] = await t.once(child.stdout, 'data')
      const port = Number(text)
      t.ports.set(port, '<full port>')
      let connected = 0
      for (let n = 0; n < 4; n++) {
        const filler = t.track(t.nodeNet.connect(port, loopback, () => connected++))
        filler.on('error', () => {})
      }
      await t.until(() => connected >= 2)
      await t.listen(
        t.server((socket) => socket.end()),
        { host: '127.0.0.2', port },
      )
      t.ports.set(port, '<full port>')
      const lookup = lookupOf([v4(), v4('127.0.0.2')])
      const options = { port, host: 'h', lookup, autoSelectFamily: true }
      return await follow(t, { ...options, autoSelectFamilyAttemptTimeout: 60 })
    } finally {
      child.kill('SIGKILL')
    }
  },

  'data written before a happy eyeballs connection is there leaves on the one that wins': async (
    t,
  ) => {
    const server = t.server((socket) => socket.pipe(socket))
    const port = await t.listenAlone(server, { host: '127.0.0.2' }, ['::1', loopback])
    const lookup = lookupOf([v6(), v4(), v4('127.0.0.2')])
    const socket = t.connect({ ...patient, port, host: 'h', lookup })
    socket.write('early ')
    socket.write('words')
    socket.on('connect', () => socket.end())
    const text = await t.received(socket)
    return { text, bytesWritten: socket.bytesWritten, bytesRead: socket.bytesRead }
  },

  'options set before a happy eyeballs connection are set on the one that wins': async (t) => {
    const server = t.server((socket) => socket.resume())
    // Not 127.0.0.1: a server of another test may get the same port there meanwhile.
    const port = await t.listenAlone(server, { host: '127.0.0.2' }, ['127.0.0.3'])
    const lookup = lookupOf([v4('127.0.0.3'), v4('127.0.0.2')])
    const socket = t.track(new t.net.Socket())
    socket.setNoDelay(true).setKeepAlive(true, 7000).setTimeout(9000)
    socket.connect({ ...patient, port, host: 'h', lookup })
    await t.once(socket, 'connect')
    return { timeout: socket.timeout, remote: socket.remoteAddress }
  },

  'destroy() between two attempts stops them': async (t) => {
    const port = t.refusedPort([loopback, '127.0.0.2', '127.0.0.3'])
    const lookup = lookupOf([v4(), v4('127.0.0.2'), v4('127.0.0.3')])
    return follow(t, { ...patient, port, host: 'h', lookup }, (socket) =>
      socket.on('connectionAttemptFailed', () => socket.destroy()),
    )
  },

  'localAddress is the address the server sees': async (t) => {
    const server = t.server((socket) => socket.end(socket.remoteAddress))
    const port = await t.listen(server)
    const socket = t.connect({ port, host: loopback, localAddress: '127.0.0.5' })
    return { seen: await t.received(socket) }
  },

  'localPort is the port the server sees': async (t) => {
    const server = t.server((socket) => socket.end(String(socket.remotePort)))
    const port = await t.listen(server)
    const localPort = await t.freePort()
    const socket = t.connect({ port, host: loopback, localPort })
    const seen = await t.received(socket)
    return { same: Number(seen) === localPort, isLocal: socket.localPort }
  },

  'localAddress of IPv6 is the address the server sees': async (t) => {
    const server = t.server((socket) => socket.end(socket.remoteAddress))
    const port = await t.listen(server, { host: '::1' })
    return t.received(t.connect({ port, host: '::1', localAddress: '::1' }))
  },

  'a local port that is taken is an error': async (t) => {
    const port = await t.listen(t.server())
    const other = t.server()
    const localPort = await t.listen(other)
    t.name(other, 'other')
    return follow(t, { port, host: loopback, localAddress: loopback, localPort })
  },

  'a local address of another machine is an error': async (t) => {
    const port = await t.listen(t.server())
    return follow(t, { port, host: loopback, localAddress: '192.0.2.1' })
  },

  'a local address of the other family is an error': async (t) => {
    const port = await t.listen(t.server())
    return [
      await follow(t, { port, host: loopback, localAddress: '::1' }),
      await follow(t, { port, host: '::1', localAddress: loopback }),
    ]
  },

  'a client’s block list keeps it from connecting': async (t) => {
    const blockList = new t.net.BlockList()
    blockList.addAddress(loopback)
    let accepted = 0
    const server = t.server((socket) => {
      accepted++
      socket.end()
    })
    const port = await t.listen(server)
    const results = []
    for (const options of [
      { host: loopback },
      { host: 'h', lookup: lookupOf([v4()]), autoSelectFamily: false },
      { host: 'h', lookup: lookupOf([v4(), v4('127.0.0.2')]), autoSelectFamily: true },
    ]) {
      results.push(await follow(t, { port, blockList, ...options }))
    }
    return { results, accepted }
  },

  'a server’s block list closes connections before anybody sees them': async (t) => {
    const blockList = new t.net.BlockList()
    blockList.addAddress('127.0.0.7')
    const server = t.server({ blockList }, (socket) => socket.end('in'))
    const log = t.events(server, ['drop'])
    const port = await t.listen(server)
    const texts = []
    for (const localAddress of ['127.0.0.7', '127.0.0.8']) {
      const socket = t.connect({ port, host: loopback, localAddress })
      const events = t.events(socket, ['connect', 'end', 'error', 'close'])
      socket.on('error', () => {})
      let text = ''
      socket.on('data', (data) => (text += data))
      await t.closed(socket)
      texts.push(text, events)
    }
    return { texts, log }
  },

  'onread with a buffer gives bytes there and emits no data': async (t) => {
    const server = t.server((socket) => socket.end('0123456789abcdef'))
    const port = await t.listen(server)
    const pieces = []
    const buffer = Buffer.alloc(5)
    const onread = {
      buffer,
      callback(length, given) {
        pieces.push([given === buffer, given.toString('latin1', 0, length)])
        return true
      },
    }
    const socket = t.connect({ port, host: loopback, onread })
    const log = t.events(socket, ['data', 'readable', 'end', 'close'])
    await t.closed(socket)
    const text = pieces.map(([, piece]) => piece).join('')
    return { text, same: pieces.every(([same]) => same), log, bytesRead: socket.bytesRead }
  },

  'onread with a function asks it for each buffer': async (t) => {
    const server = t.server((socket) => socket.end('x'.repeat(20)))
    const port = await t.listen(server)
    const given = []
    let received = 0
    const onread = {
      buffer() {
        given.push(Buffer.alloc(8))
        return given.at(-1)
      },
      callback(length, buffer) {
        received += length
        return given.includes(buffer)
      },
    }
    const socket = t.connect({ port, host: loopback, onread })
    await t.closed(socket)
    return { received, asked: given.length >= 3 }
  },

  'an onread callback that returns false pauses, and resume() goes on where it stopped': async (
    t,
  ) => {
    const server = t.server((socket) => socket.end('aabbccdd'))
    const port = await t.listen(server)
    const pieces = []
    const onread = {
      buffer: Buffer.alloc(2),
      callback(length, buffer) {
        pieces.push(buffer.toString('latin1', 0, length))
        setImmediate(() => {
          pieces.push('resume')
          socket.resume()
        })
        return false
      },
    }
    const socket = t.connect({ port, host: loopback, onread })
    await t.closed(socket)
    return pieces
  },

  'a socket with onread is paused by pause() and goes on with resume()': async (t) => {
    const { next, port } = await t.peerServer((socket, report) => {
      socket.write('one')
      socket.on('data', () => socket.end('two'))
      socket.on('close', () => report('closed'))
    })
    const pieces = []
    const onread = {
      buffer: Buffer.alloc(16),
      callback(length, buffer) {
        pieces.push(buffer.toString('latin1', 0, length))
        socket.pause()
        socket.write('go on')
        setTimeout(() => {
          pieces.push('resume')
          socket.resume()
        }, 50)
        return true
      },
    }
    const socket = t.connect({ port, host: loopback, onread })
    await t.closed(socket)
    return { pieces, peer: await next() }
  },

  'allowHalfOpen leaves the writable half open after the peer has ended': async (t) => {
    const results = {}
    for (const allowHalfOpen of [true, false]) {
      const { client, accepted } = await t.pair({ client: { allowHalfOpen } })
      const log = t.events(client, ['end', 'finish', 'close'])
      accepted.end('over')
      client.resume()
      await t.once(client, 'end')
      await t.turns()
      const state = [client.writable, client.readyState, client.destroyed]
      let text = ''
      accepted.on('data', (data) => (text += data))
      if (allowHalfOpen) client.end('mine')
      await t.allClosed(client, accepted)
      results[allowHalfOpen] = { state, text, log }
    }
    return results
  },

  'high water marks are those asked for, or Node’s': async (t) => {
    const marks = ({ readableHighWaterMark, writableHighWaterMark }) => [
      readableHighWaterMark,
      writableHighWaterMark,
    ]
    const first = await t.pair()
    const second = await t.pair({
      server: { highWaterMark: 1234 },
      client: { highWaterMark: 4321 },
    })
    const third = await t.pair({
      client: { readableHighWaterMark: 11, writableHighWaterMark: 22 },
    })
    return [first, second, third].map(({ client, accepted }) => [marks(client), marks(accepted)])
  },

  'a signal that is aborted already destroys before connecting': async (t) => {
    const port = await t.listen(t.server())
    return follow2(t, port, AbortSignal.abort(), () => {})
  },

  'a signal aborted while connecting destroys': async (t) => {
    const port = await t.listen(t.server())
    const controller = new AbortController()
    return follow2(t, port, controller.signal, () => controller.abort(new Error('enough')))
  },

  'a signal aborted after connecting destroys': async (t) => {
    const port = await t.listen(t.server())
    const controller = new AbortController()
    return follow2(t, port, controller.signal, (socket) =>
      socket.on('connect', () => controller.abort()),
    )
  },

  'a signal aborted during the lookup destroys': async (t) => {
    const controller = new AbortController()
    const lookup = (hostname, options, callback) => {
      setImmediate(() => {
        controller.abort()
        setImmediate(callback, null, options.all ? [v4()] : loopback, 4)
      })
    }
    const socket = t.track(new t.net.Socket({ signal: controller.signal }))
    const log = t.events(socket, life)
    socket.connect({ port: 9, host: 'h', lookup })
    await t.closed(socket)
    await t.turns()
    return log
  },

  'the timeout option is a timeout from the start': async (t) => {
    const port = await t.listen(t.server())
    const socket = t.connect({ port, host: loopback, timeout: 400 })
    const { timeout } = socket
    const log = t.events(socket, ['connect', 'timeout', 'close'])
    await t.once(socket, 'timeout')
    return { timeout, log, destroyed: socket.destroyed }
  },

  'noDelay and keepAlive may be asked for in options, before and after connecting': async (t) => {
    const timerOf = ({ localPort, remotePort }) => {
      const hex = (port) => port.toString(16).toUpperCase().padStart(4, '0')
      const pattern = new RegExp(
        `:${hex(localPort)} \\w+:${hex(remotePort)} \\w+ \\w+:\\w+ (\\w+):(\\w+)`,
      )
      const [, kind, when] = pattern.exec(require('node:fs').readFileSync('/proc/net/tcp', 'utf8'))
      return kind === '02' ? `keep-alive after ${Math.ceil(parseInt(when, 16) / 100)} s` : 'none'
    }
    const results = {}
    const byOptions = await t.pair({
      server: { keepAlive: true, keepAliveInitialDelay: 40_000, noDelay: true },
      client: { keepAlive: true, keepAliveInitialDelay: 30_000, noDelay: true },
    })
    results.byOptions = [timerOf(byOptions.client), timerOf(byOptions.accepted)]
    const later = await t.pair()
    const chained = later.client.setKeepAlive(true, 20_000).setNoDelay().setNoDelay(false)
    results.after = [timerOf(later.client), timerOf(later.accepted), chained === later.client]
    later.client.setKeepAlive(false)
    await t.turns()
    results.off = timerOf(later.client)
    const socket = t.track(new t.net.Socket())
    socket.setKeepAlive(true, 50_000).setNoDelay(true)
    socket.connect(later.server.address().port, loopback)
    await t.once(socket, 'connect')
    results.before = timerOf(socket)
    return results
  },

  'a connection to a path tells its whole life': async (t) => {
    const path = t.path()
    const server = t.server((socket) => socket.end())
    server.listen(path)
    await t.once(server, 'listening')
    return follow(t, { path })
  },

  'a connection to an abstract path': async (t) => {
    const path = `\0surface-${process.pid}-${Math.random()}`
    const server = t.server((socket) => socket.pipe(socket))
    server.listen(path)
    await t.once(server, 'listening')
    const socket = t.connect(path)
    socket.end('abstract')
    return { text: await t.received(socket), same: server.address() === path }
  },

  'a socket on a descriptor of a pipe reads and writes': async (t) =>
    t
      .program(
        `const socket = new net.Socket({ fd: 3 });
       socket.on('data', (data) => socket.end('got ' + data));
       socket.on('close', () => console.log('closed', socket.bytesRead, socket.bytesWritten))`,
        {
          stdio: ['pipe'],
          onChild: (child) => {
            child.stdio[3].write('through a descriptor')
            child.stdio[3].on('data', (data) => (t.note = String(data)))
          },
        },
      )
      .then((outcome) => ({ ...outcome, echoed: t.note })),

  'a socket on an inherited descriptor of a connection reads and writes': async (t) => {
    const server = t.track(t.nodeNet.createServer({ pauseOnConnect: true }))
    const port = await t.listen(server)
    const client = t.track(t.nodeNet.connect(port, loopback))
    const [accepted] = await t.once(server, 'connection')
    const ending = t.program(
      `const socket = new net.Socket({ fd: 3 });
       socket.on('data', (data) => socket.end('child got ' + data));
       socket.on('close', (hadError) => console.log(hadError, socket.remoteAddress, socket.bytesRead))`,
      // A descriptor of ours has no number that a child could inherit in a program that does not know of us.
      { stdio: [accepted._handle.fd] },
    )
    client.end('words')
    const text = await t.received(client)
    accepted.destroy()
    return { text, ...(await ending) }
  },

  'connect() while connecting and while connected is what it is on node:net': async (t) => {
    const port = await t.listen(t.server())
    const socket = t.connect(port, loopback)
    const log = t.events(socket, ['connect', 'error', 'close'])
    const during = t.thrown(() => socket.connect(port, loopback))
    await t.turns(20)
    const { client } = await t.pair()
    const other = t.events(client, ['connect', 'error', 'close'])
    const connected = t.thrown(() => client.connect(port, loopback))
    await t.turns(20)
    return { during, log, connected, other }
  },

  'a socket made of another’s handle takes the connection over': async (t) => {
    const server = t.server({ pauseOnConnect: true })
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    const [first] = await t.once(server, 'connection')
    const second = t.track(
      new t.net.Socket({ handle: first._handle, readable: true, writable: true }),
    )
    second.on('data', (data) => second.end(`taken ${data}`))
    client.write('over')
    const text = await t.received(client)
    return { text, remote: second.remoteAddress, pending: second.pending }
  },

  'connect() returns the socket, and its listener is called once with no arguments': async (t) => {
    const port = await t.listen(t.server())
    const socket = t.track(new t.net.Socket())
    const calls = []
    const returned = socket.connect(port, loopback, function (...args) {
      calls.push([this === socket, args.map(told)])
    })
    await t.once(socket, 'ready')
    return { same: returned === socket, calls }
  },

  'a port nobody listens on, a path that is none: the whole life': async (t) => {
    const port = t.refusedPort([loopback, '::1'])
    const path = t.path('nobody')
    const file = t.path('file')
    require('node:fs').writeFileSync(file, '')
    return [
      await follow(t, { port, host: loopback }),
      await follow(t, { port, host: '::1' }),
      await follow(t, { port, host: 'h', lookup: lookupOf([v4()]), autoSelectFamily: false }),
      await follow(t, { port, host: loopback, localAddress: loopback }),
      await follow(t, { path }),
      await follow(t, { path: file }),
      await follow(t, { path: `\0nobody-at-all` }),
      await follow(t, { path: t.path('x'.repeat(200)) }),
    ]
  },

  'an address without a route is an error': async (t) =>
    follow(t, { port: 9, host: '255.255.255.255' }),

  'a path that may not be used is EACCES, also after setuid()': async (t) => {
    const path = t.path('forbidden')
    const server = t.server((socket) => socket.end())
    server.listen(path)
    await t.once(server, 'listening')
    chmodSync(path, 0o700)
    chmodSync(t.directory, 0o755)
    return t.program(
      `if (process.getuid() === 0) net.connect(${JSON.stringify(path)}).on('connect', function () { this.destroy(); process.setuid(65534); go() }); else go();
       const tell = ({ code, syscall, message }) => console.log(code, syscall, message.split(' ', 2).join(' '));
       function go() {
         net.connect(${JSON.stringify(path)}).on('error', (error) => { tell(error);
           net.createServer().on('error', tell).listen(${JSON.stringify(`${path}-too`)}) }) }`,
    )
  },

  'port 0 is an error': async (t) => follow(t, { port: 0, host: loopback }),

  'typeOfService, where Node has it, is set and read': async (t) => {
    const { client } = await t.pair()
    if (typeof client.setTypeOfService !== 'function') return 'absent'
    const results = [client.getTypeOfService(), client.setTypeOfService(0x10) === client]
    results.push(client.getTypeOfService())
    const port = await t.listen(t.server())
    const other = t.connect({ port, host: loopback, typeOfService: 0x08 })
    await t.once(other, 'connect')
    results.push(other.getTypeOfService())
    results.push(shape(catching(() => client.setTypeOfService(256))))
    const before = new t.net.Socket()
    before.setTypeOfService(0x04)
    results.push(before.getTypeOfService())
    return results
  },
}

function catching(action) {
  try {
    return action()
  } catch (error) {
    return error
  }
}

async function follow2(t, port, signal, prepare) {
  const socket = t.track(new t.net.Socket({ signal }))
  const log = t.events(socket, ['connect', 'ready', 'error', 'close'])
  socket.on('error', (error) => log.push(['cause', told(error.cause)]))
  socket.connect(port, loopback)
  prepare(socket)
  await t.closed(socket)
  await t.turns()
  return { log, destroyed: socket.destroyed }
}
