'use strict'

/* The ends of a connection: FIN, destroy, reset, errors of the peer, and connecting again. */
const { pipeline: pipe } = require('node:stream')
const { loopback, shape } = require('../row')
const { countersOf, life, noting, stateOf } = require('../sockets')

exports.theme = 'ending'
exports.rows = {
  'end() before the connection sends FIN after it': async (t) => {
    const server = t.server((socket) => socket.resume())
    const port = await t.listen(server)
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, life)
    socket.connect(port, loopback)
    socket.end(noting(log, 'ended'))
    socket.resume()
    await t.closed(socket)
    return log
  },

  'end() in all its forms calls back, and the data is sent': async (t) => {
    const results = []
    for (const args of [[], ['data'], ['6869', 'hex'], [Buffer.from('bytes')]]) {
      const { client, accepted } = await t.pair()
      const log = t.events(client, ['finish', 'end', 'close'])
      const returned = client.end(...args, noting(log, 'callback'))
      client.resume()
      const text = await t.received(accepted)
      await t.allClosed(client)
      results.push([text, returned === client, log])
    }
    return results
  },

  'end() twice, and write() after end(), are errors of the same shape': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.resume()
    const log = t.events(client, ['finish', 'error', 'close'])
    client.end('once')
    client.end(noting(log, 'second end'))
    const returned = client.write('late', noting(log, 'late write'))
    await t.closed(client)
    client.end(noting(log, 'third end'))
    await t.turns()
    return { returned, log }
  },

  'write() after destroy() calls back with an error and emits none': async (t) => {
    const { client } = await t.pair()
    const log = t.events(client, life)
    client.destroy()
    const returned = client.write('late', noting(log, 'write'))
    client.end(noting(log, 'end'))
    await t.closed(client)
    client.write('later', noting(log, 'write later'))
    await t.turns()
    return { returned, log }
  },

  'write() to a socket that never connected is refused': async (t) => {
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, life)
    const returned = socket.write('nowhere', noting(log, 'written'))
    await t.turns()
    const state = [stateOf(socket), countersOf(socket)]
    return { returned, state, log }
  },

  'write() after the peer has ended is EPIPE': async (t) => {
    const { client, accepted } = await t.pair()
    const log = t.events(client, life)
    client.resume()
    accepted.end()
    await t.once(client, 'end')
    const returned = client.write('after FIN', noting(log, 'callback'))
    await t.allClosed(client)
    await t.turns()
    return { returned, log }
  },

  'writing on after the peer has gone ends with an error and close(true)': async (t) => {
    const { port } = await t.peerServer((socket) => socket.destroy())
    const socket = t.connect({ port, host: loopback, allowHalfOpen: true })
    const log = t.events(socket, ['error', 'close'])
    socket.resume()
    await t.once(socket, 'end')
    const timer = setInterval(() => socket.write('x'), 5)
    await t.closed(socket)
    clearInterval(timer)
    return log
  },

  'a reset by the peer is ECONNRESET and close(true)': async (t) => {
    const { port } = await t.peerServer((socket) =>
      socket.once('data', () => socket.resetAndDestroy()),
    )
    const socket = t.connect(port, loopback)
    const log = t.events(socket, life)
    socket.resume()
    socket.write('reset me')
    await t.closed(socket)
    return { log, state: stateOf(socket), hadError: socket._hadError }
  },

  'a reset by the peer ends pending writes, each callback once': async (t) => {
    const { port } = await t.peerServer((socket) => {
      socket.pause()
      setTimeout(() => socket.resetAndDestroy(), 60)
    })
    const socket = t.connect(port, loopback)
    await t.once(socket, 'connect')
    const log = t.events(socket, ['error', 'close'])
    const callbacks = []
    socket.write(Buffer.alloc(32 << 20), (error) => callbacks.push(error?.code ?? 'none'))
    socket.write('behind', (error) => callbacks.push(error?.code ?? 'none'))
    await t.closed(socket)
    await t.turns()
    const normal = log.map((entry) => (entry[0] === 'error' ? 'error' : entry))
    // Whether the read or the write hears of the reset first is the kernel's affair; both are told once.
    return { log: normal, callbacks: callbacks.length }
  },

  'destroy() closes once, without an error': async (t) => {
    const { client, accepted } = await t.pair()
    const log = t.events(client, life)
    const other = t.events(accepted, ['end', 'error', 'close'])
    accepted.resume()
    const returned = client.destroy() === client
    client.destroy()
    const state = stateOf(client)
    await t.allClosed(client, accepted)
    await t.turns()
    return { returned, state, log, other, after: stateOf(client) }
  },

  'destroy(error) emits the error, then close(true)': async (t) => {
    const { client } = await t.pair()
    const log = t.events(client, life)
    const error = Object.assign(new Error('mine'), { code: 'MINE' })
    client.destroy(error)
    client.destroy(new Error('a second one'))
    await t.closed(client)
    await t.turns()
    return { log, errored: client.errored === error, state: stateOf(client) }
  },

  'destroy() while connecting emits close and no connect': async (t) => {
    const server = t.server((socket) => socket.resume())
    const port = await t.listen(server)
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, life)
    socket.connect(port, loopback)
    socket.write('never', noting(log, 'write'))
    socket.destroy()
    const state = stateOf(socket)
    await t.closed(socket)
    await t.turns()
    return { log, state, after: stateOf(socket) }
  },

  'destroy() inside the connect listener closes': async (t) => {
    const port = await t.listen(t.server((socket) => socket.resume()))
    const socket = t.connect(port, loopback, () => socket.destroy())
    const log = t.events(socket, life)
    await t.closed(socket)
    return log
  },

  'destroy() of a socket that never connected emits close': async (t) => {
    const socket = new t.net.Socket()
    const log = t.events(socket, life)
    const before = stateOf(socket)
    socket.destroy(new Error('unused'))
    await t.closed(socket)
    return { before, log, after: stateOf(socket) }
  },

  'destroySoon() sends what was written, then closes': async (t) => {
    const { port, next } = await t.peerServer((socket, report) => {
      let length = 0
      socket.on('data', (data) => (length += data.length))
      socket.on('end', () => report(length))
    })
    const socket = t.connect(port, loopback)
    await t.once(socket, 'connect')
    const log = t.events(socket, ['finish', 'end', 'close'])
    socket.write(Buffer.alloc(3_000_000))
    socket.write('more')
    socket.destroySoon()
    const state = stateOf(socket)
    await t.closed(socket)
    return { log, state, received: await next() }
  },

  'end() with a lot of data, then destroy() on finish, delivers all': async (t) => {
    const { port, next } = await t.peerServer((socket, report) => {
      let length = 0
      socket.on('data', (data) => (length += data.length))
      socket.on('close', () => report(length))
    })
    const socket = t.connect(port, loopback)
    socket.end(Buffer.alloc(5_000_000), () => socket.destroy())
    await t.closed(socket)
    return next()
  },

  'a write that fits the kernel, then destroy(), is delivered': async (t) => {
    const { port, next } = await t.peerServer((socket, report) => {
      let text = ''
      socket.on('data', (data) => (text += data))
      socket.on('close', () => report(text))
    })
    const socket = t.connect(port, loopback)
    await t.once(socket, 'connect')
    socket.write('one ')
    socket.cork()
    socket.write('two ')
    socket.uncork()
    socket.write('three')
    socket.destroy()
    return next()
  },

  'resetAndDestroy() of a connected socket is a reset for the peer': async (t) => {
    const { client, accepted } = await t.pair()
    const log = t.events(client, life)
    const other = t.events(accepted, ['end', 'error', 'close'])
    accepted.resume()
    const returned = client.resetAndDestroy() === client
    client.resetAndDestroy()
    await t.allClosed(client, accepted)
    return { returned, log, other }
  },

  'resetAndDestroy() while connecting waits for the connection': async (t) => {
    const server = t.server()
    const port = await t.listen(server)
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, life)
    socket.connect(port, loopback)
    const [[accepted]] = [await (socket.resetAndDestroy(), t.once(server, 'connection'))]
    const other = t.events(accepted, ['end', 'error', 'close'])
    accepted.resume()
    await t.allClosed(socket, accepted)
    return { log, other }
  },

  'resetAndDestroy() without a connection, and of a path, is an error': async (t) => {
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, life)
    const result = t.thrown(() => socket.resetAndDestroy())
    await t.turns()
    const { client } = await t.pair({ path: t.path() })
    const ofPath = t.events(client, life)
    const refused = t.thrown(() => client.resetAndDestroy())
    await t.turns()
    return { result, log, refused, ofPath, state: stateOf(client) }
  },

  'a destroyed socket connects again': async (t) => {
    const server = t.server((socket) => socket.pipe(socket))
    const port = await t.listen(server)
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, life)
    const texts = []
    for (let round = 0; round < 3; round++) {
      const closing = t.closed(socket)
      socket.connect(port, loopback)
      socket.end(`round ${round}`)
      texts.push(await t.received(socket))
      await closing
      texts.push([socket.bytesRead, socket.bytesWritten])
    }
    return { texts, log }
  },

  'a socket that was refused connects again to a path or port that listens': async (t) => {
    const bad = t.refusedPort()
    const path = t.path()
    const server = t.server((socket) => socket.end('at last'))
    server.listen(path)
    await t.once(server, 'listening')
    const port = await t.listen(t.server((socket) => socket.end('by port')))
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, ['connect', 'error', 'close'])
    socket.connect(bad, loopback)
    await t.closed(socket)
    const texts = []
    for (const target of [{ path }, { port, host: loopback }]) {
      const closing = t.closed(socket)
      socket.connect(target)
      texts.push(await t.received(socket))
      await closing
    }
    return { texts, log }
  },

  'connect() on the close event reconnects': async (t) => {
    const port = await t.listen(t.server((socket) => socket.end('x')))
    const socket = t.connect(port, loopback)
    let rounds = 0
    let received = ''
    socket.on('data', (data) => (received += data))
    await new Promise((resolve) =>
      socket.on('close', () => (++rounds < 4 ? socket.connect(port, loopback) : resolve())),
    )
    return { rounds, received }
  },

  'events of a client: all of a normal life, in order': async (t) => {
    const server = t.server((socket) => socket.end('bye'))
    const port = await t.listen(server)
    const socket = t.track(new t.net.Socket())
    const names = ['lookup', 'connectionAttempt', 'pause', 'resume', 'prefinish', 'data', ...life]
    const log = t.events(socket, names)
    socket.connect(port, loopback, () => log.push('listener'))
    await t.closed(socket)
    return log
  },

  'events of an accepted socket: all of a normal life, in order': async (t) => {
    const server = t.server()
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    const [socket] = await t.once(server, 'connection')
    const log = t.events(socket, ['pause', 'resume', 'prefinish', 'data', ...life])
    client.end('hello')
    client.resume()
    await t.closed(socket)
    return log
  },

  'data that nobody has read keeps end and close back': async (t) => {
    const { client, accepted } = await t.pair()
    const log = t.events(client, ['end', 'close'])
    accepted.end('unread')
    await t.delay(40)
    const before = [...log, stateOf(client)]
    const text = await t.received(client)
    await t.allClosed(client)
    return { before, text, log }
  },

  'both ends may end at the same time': async (t) => {
    const { client, accepted } = await t.pair({ server: { allowHalfOpen: true } })
    const logs = [client, accepted].map((socket) =>
      t.events(socket, ['data', 'end', 'finish', 'close']),
    )
    client.end('from the client')
    accepted.end('from the server')
    await t.allClosed(client, accepted)
    return logs.map((log) => [log.filter((name) => name !== 'finish'), log.includes('finish')])
  },

  'one half may go on for long after the other has ended': async (t) => {
    const { client, accepted } = await t.pair({ server: { allowHalfOpen: true } })
    client.end()
    accepted.resume()
    await t.once(accepted, 'end')
    let received = 0
    client.on('data', (data) => (received += data.length))
    for (let n = 0; n < 20; n++) {
      accepted.write(Buffer.alloc(30_000))
      await t.turns(2)
    }
    accepted.end()
    await t.allClosed(client, accepted)
    return received
  },

  'the peer of a path goes away: the errors are those of node:net': async (t) => {
    const path = t.path()
    const server = t.server((socket) => {
      socket.on('error', () => {})
      socket.once('readable', () => socket.destroy())
    })
    server.listen(path)
    await t.once(server, 'listening')
    const socket = t.connect({ path, allowHalfOpen: true })
    const log = t.events(socket, ['end', 'error', 'close'])
    socket.resume()
    socket.write('read me not')
    await Promise.race([t.once(socket, 'end'), t.once(socket, 'error')])
    if (!socket.destroyed) socket.write('after')
    await t.allClosed(socket)
    return log
  },
}
