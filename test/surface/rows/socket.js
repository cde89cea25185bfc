'use strict'

/* The methods and properties of a connected socket: writing, ending, destroying, reading in all ways, and the counters. */
const { pipeline: pipe, finished } = require('node:stream')
const { promisify } = require('node:util')
const { loopback, shape, told } = require('../row')

const life = ['connect', 'ready', 'finish', 'end', 'timeout', 'error', 'close']
const stateOf = ({ readyState, pending, connecting, destroyed, closed, readable, writable }) => ({
  readyState,
  pending,
  connecting,
  destroyed,
  closed,
  readable,
  writable,
})
const countersOf = ({ bytesRead, bytesWritten, bufferSize, writableLength }) => ({
  bytesRead,
  bytesWritten,
  bufferSize,
  writableLength,
})

/** A callback that notes its name and what it is called with. */
function noting(log, name) {
  return (...args) => log.push([name, ...args.map(told)])
}

exports.theme = 'sockets'
exports.rows = {
  'write() takes all kinds of data and encodings, and the peer gets the same bytes': async (t) => {
    const { port, next } = await t.peerServer((socket, report) => {
      const chunks = []
      socket.on('data', (chunk) => chunks.push(chunk))
      socket.on('end', () => report(Buffer.concat(chunks).toString('hex')))
    })
    const socket = t.connect(port, loopback)
    socket.write('early é€😀|')
    await t.once(socket, 'connect')
    socket.write('utf8 é€😀|')
    socket.write('ÿlatin1|', 'latin1')
    socket.write('ÿbinary|', 'binary')
    socket.write('ascii|', 'ascii')
    socket.write('deadbeef', 'hex')
    socket.write('aGVsbG8=', 'base64')
    socket.write('aGVsbG8', 'base64url')
    socket.write('wide', 'utf16le')
    socket.write('ucs2', 'ucs2')
    socket.write(Buffer.from('buffer|'))
    socket.write(new Uint8Array([1, 2, 3]))
    socket.write(Buffer.from('with an encoding|'), 'latin1')
    socket.write('')
    socket.write(Buffer.alloc(0))
    socket.cork()
    socket.write('corked ')
    socket.write(Buffer.from('and '))
    socket.write('ffff', 'hex')
    socket.uncork()
    socket.end('the end', 'utf8')
    return { hex: await next(), bytesWritten: socket.bytesWritten }
  },

  'setDefaultEncoding is used for text without an encoding': async (t) => {
    const { client, accepted } = await t.pair()
    client.setDefaultEncoding('hex')
    client.end('313233')
    return t.received(accepted)
  },

  'write() refuses what is no data, with the same errors': async (t) => {
    const { client } = await t.pair()
    const kinds = [5, {}, undefined, true, null, ['x'], new DataView(new ArrayBuffer(4))]
    const results = kinds.map((value) => t.thrown(() => client.write(value)))
    results.push(t.thrown(() => client.write('x', 'no-encoding')))
    results.push(t.thrown(() => client.end(5)))
    await t.turns()
    return { results, state: stateOf(client) }
  },

  'write callbacks come once each, in order, without an error, and never inside write()': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.resume()
    const log = []
    let inside = true
    for (let n = 0; n < 5; n++) {
      client.write(`part ${n}`, (...args) => log.push([n, inside, args.map(told)]))
    }
    inside = false
    await t.until(() => log.length === 5)
    return log
  },

  'a write callback runs in the phase that it runs in on node:net': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.resume()
    const log = []
    client.write('x', () => log.push('callback'))
    process.nextTick(() => log.push('tick'))
    Promise.resolve().then(() => log.push('microtask'))
    setImmediate(() => log.push('immediate'))
    await t.until(() => log.length === 4)
    return log
  },

  'a small write that the kernel takes leaves nothing in writableLength': async (t) => {
    const { client } = await t.pair()
    const returned = client.write('small')
    return { ...countersOf(client), returned, needDrain: client.writableNeedDrain }
  },

  'a write above the high water mark that the kernel takes at once asks for no drain': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.resume()
    const returned = client.write(Buffer.alloc(100_000))
    return { returned, needDrain: client.writableNeedDrain }
  },

  'a small write leaves nothing in writableLength one tick later': async (t) => {
    const { client } = await t.pair()
    client.write('small')
    await new Promise((resolve) => process.nextTick(resolve))
    return countersOf(client)
  },

  'writes before the connection are sent after it, and their callbacks come in order': async (t) => {
    const server = t.server()
    const port = await t.listen(server)
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, ['connect', 'ready', 'finish'])
    const accepting = t.once(server, 'connection')
    socket.connect(port, loopback)
    const returns = [
      socket.write('one ', noting(log, 'one')),
      socket.write('two ', 'latin1', noting(log, 'two')),
      socket.write(Buffer.from('three '), noting(log, 'three')),
    ]
    const before = [countersOf(socket), stateOf(socket)]
    socket.end('four', noting(log, 'four'))
    const [accepted] = await accepting
    const text = await t.received(accepted)
    await t.until(() => log.some(([name]) => name === 'four'))
    return { returns, before, log, text, after: countersOf(socket) }
  },

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

  'a reset by the peer is an error for pending write callbacks': async (t) => {
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
    return { log: normal, callbacks: callbacks.map((code) => (code === 'none' ? code : 'failed')) }
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
    const bad = await t.freePort()
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

  'setTimeout() fires when nothing moves, once for each silence, and does not destroy': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.resume()
    const log = t.events(client, ['timeout', 'close'])
    let calls = 0
    const returned = client.setTimeout(30, () => calls++)
    const { timeout } = client
    await t.once(client, 'timeout')
    client.write('moves')
    await t.once(client, 'timeout')
    const state = stateOf(client)
    client.setTimeout(0)
    const off = client.timeout
    await t.delay(60)
    return { returned: returned === client, timeout, off, log, calls, state }
  },

  'setTimeout() takes a listener away with zero, and refuses what is no time': async (t) => {
    const socket = new t.net.Socket()
    const listener = () => {}
    const counts = []
    socket.setTimeout(1000, listener)
    counts.push(socket.listenerCount('timeout'), socket.timeout)
    socket.setTimeout(0, listener)
    counts.push(socket.listenerCount('timeout'), socket.timeout)
    const refused = [-1, 'x', {}, NaN].map((value) => t.thrown(() => socket.setTimeout(value)))
    refused.push(t.thrown(() => socket.setTimeout(1, 'listener')))
    socket.setTimeout(0)
    return { counts, refused }
  },

  'received bytes put the timeout off': async (t) => {
    const { client, accepted } = await t.pair()
    client.setTimeout(150)
    client.resume()
    let timeouts = 0
    client.on('timeout', () => timeouts++)
    for (let n = 0; n < 8; n++) {
      accepted.write('x')
      await t.delay(40)
    }
    return timeouts
  },

  'a write that makes progress puts the timeout off': async (t) => {
    const { port } = await t.peerServer((socket) => {
      let room = 0
      const timer = setInterval(() => {
        room = 1 << 20
        socket.resume()
      }, 40)
      socket.on('data', (data) => (room -= data.length) < 0 && socket.pause())
      socket.on('close', () => clearInterval(timer))
    })
    const socket = t.connect({ port, host: loopback })
    await t.once(socket, 'connect')
    socket.setTimeout(450)
    let timeouts = 0
    socket.on('timeout', () => timeouts++)
    let written = false
    socket.write(Buffer.alloc(24 << 20), () => (written = true))
    await t.until(() => written)
    return timeouts
  },

  'a write that makes no progress times out': async (t) => {
    const { port } = await t.peerServer((socket) => socket.pause())
    const socket = t.connect(port, loopback)
    await t.once(socket, 'connect')
    socket.write(Buffer.alloc(64 << 20))
    await t.delay(100)
    socket.setTimeout(60)
    await t.once(socket, 'timeout')
    return 'timed out'
  },

  'pause() holds bytes back and resume() gives them, in order': async (t) => {
    const { client, accepted } = await t.pair()
    const log = []
    client.on('data', (data) => log.push(String(data)))
    const chained = client.pause() === client
    accepted.write('one')
    accepted.end('two')
    await t.delay(30)
    log.push(client.isPaused(), 'resume')
    client.resume()
    await t.once(client, 'end')
    const at = log.indexOf('resume')
    return { chained, before: log.slice(0, at), after: log.slice(at + 1).join('') }
  },

  'setEncoding() joins characters that were cut in two': async (t) => {
    const { client, accepted } = await t.pair()
    const chained = client.setEncoding('utf8') === client
    const chunks = []
    client.on('data', (chunk) => chunks.push(typeof chunk, chunk))
    const bytes = Buffer.from('€😀')
    accepted.write(bytes.subarray(0, 2))
    await t.delay(20)
    accepted.write(bytes.subarray(2, 5))
    await t.delay(20)
    accepted.end(bytes.subarray(5))
    await t.once(client, 'end')
    return { chained, text: chunks.filter((_, index) => index % 2).join(''), type: chunks[0] }
  },

  'read() pulls as much as asked for, and unshift() gives back': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.end('0123456789')
    const pieces = []
    await new Promise((resolve) => {
      client.once('end', resolve)
      client.on('readable', () => {
        let piece
        while ((piece = client.read(4)) !== null) {
          pieces.push(String(piece))
          if (pieces.length === 1) client.unshift(Buffer.from('ab'))
        }
      })
    })
    return pieces.join('|')
  },

  'a socket is an async iterable, and leaving the loop destroys it': async (t) => {
    const first = await t.pair()
    first.accepted.end('all of it')
    let text = ''
    for await (const chunk of first.client) text += chunk
    const second = await t.pair()
    second.accepted.write('a part')
    for await (const chunk of second.client) {
      text += chunk
      break
    }
    return { text, destroyed: second.client.destroyed }
  },

  'pipeline and finished of node:stream work on sockets': async (t) => {
    const { client, accepted } = await t.pair()
    const piped = promisify(pipe)(accepted, accepted)
    const ended = promisify(finished)(client)
    client.end('through the pipeline')
    const text = await t.received(client)
    await Promise.all([piped, ended])
    const other = await t.pair()
    const failing = promisify(finished)(other.client)
    other.client.destroy()
    return { text, premature: shape(await failing.catch((error) => error)) }
  },

  'a socket becomes web streams': async (t) => {
    const { Duplex } = require('node:stream')
    const { client, accepted } = await t.pair()
    accepted.pipe(accepted)
    const { readable, writable } = Duplex.toWeb(client)
    const writer = writable.getWriter()
    await writer.write(new Uint8Array([104, 105]))
    await writer.close()
    let text = ''
    for await (const chunk of readable) text += Buffer.from(chunk)
    return text
  },

  'back-pressure: write() returns false, drain comes once when all is taken': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.resume()
    let drains = 0
    client.on('drain', () => drains++)
    const returned = client.write(Buffer.alloc(32 << 20))
    await t.once(client, 'drain')
    await t.turns()
    return { returned, drains, needDrain: client.writableNeedDrain, ...countersOf(client) }
  },

  'a reader that stops makes the writer wait, and nothing is lost when it goes on': async (t) => {
    const { client, accepted } = await t.pair()
    let written = 0
    while (written < 64 && client.write(Buffer.alloc(1 << 20, written))) written++
    const stopped = client.writableNeedDrain
    let received = 0
    let isInOrder = true
    accepted.on('data', (data) => {
      isInOrder &&= data[0] === Math.floor(received / (1 << 20))
      received += data.length
    })
    client.end(Buffer.alloc(5 << 20, 1))
    await t.once(accepted, 'end')
    return { stopped, received, isInOrder }
  },

  'cork() holds everything back until uncork() or end()': async (t) => {
    const { client, accepted } = await t.pair()
    let text = ''
    accepted.on('data', (data) => (text += data))
    client.cork()
    client.cork()
    client.write('one ')
    client.write('two ')
    const during = [client.writableCorked, client.writableLength]
    client.uncork()
    await t.delay(20)
    const held = text
    client.uncork()
    await t.until(() => text.length === 8)
    client.cork()
    client.end('three')
    await t.once(accepted, 'end')
    return { during, held, text }
  },

  'ref() and unref() return the socket, connected or not': async (t) => {
    const { client } = await t.pair()
    const fresh = new t.net.Socket()
    return [client.unref() === client, client.ref() === client, fresh.unref() === fresh]
  },

  'a socket disposes of itself at the end of a scope': async (t) => {
    const { client } = await t.pair()
    if (typeof client[Symbol.asyncDispose] !== 'function') return 'absent'
    const log = t.events(client, ['error', 'close'])
    await client[Symbol.asyncDispose]()
    await t.allClosed(client)
    return { log, destroyed: client.destroyed, error: client.errored?.name ?? 'none' }
  },

  'the state of a socket through its life': async (t) => {
    const server = t.server({ allowHalfOpen: true })
    const port = await t.listen(server)
    const socket = t.track(new t.net.Socket({ allowHalfOpen: true }))
    const states = [stateOf(socket)]
    const accepting = t.once(server, 'connection')
    socket.connect(port, loopback)
    states.push(stateOf(socket))
    await t.once(socket, 'connect')
    states.push(stateOf(socket))
    const [accepted] = await accepting
    accepted.end()
    socket.resume()
    await t.once(socket, 'end')
    states.push(stateOf(socket))
    socket.end()
    states.push(stateOf(socket))
    await t.closed(socket)
    states.push(stateOf(socket))
    return states
  },

  'the state of a socket whose own half is closed first': async (t) => {
    const { client, accepted } = await t.pair({ server: { allowHalfOpen: true } })
    client.end()
    await t.once(client, 'finish')
    const states = [stateOf(client)]
    accepted.resume()
    await t.once(accepted, 'end')
    states.push(stateOf(accepted))
    return states
  },

  'the counters through a connection’s life, and after it': async (t) => {
    const { client, accepted } = await t.pair({ server: { allowHalfOpen: true } })
    const log = [countersOf(client)]
    client.write('é€')
    client.write('ff00', 'hex')
    client.cork()
    client.write('corked')
    log.push(client.bytesWritten)
    client.uncork()
    client.end('end')
    let text = ''
    accepted.on('data', (data) => (text += data))
    await t.once(accepted, 'end')
    log.push(countersOf(accepted))
    accepted.end('answer')
    client.resume()
    await t.closed(client)
    log.push([client.bytesRead, client.bytesWritten], [accepted.bytesRead])
    await t.allClosed(accepted)
    log.push([accepted.bytesRead, accepted.bytesWritten, client.bufferSize ?? 'none'])
    return log
  },

  'the counters of a connection that was destroyed in the middle': async (t) => {
    const { client, accepted } = await t.pair()
    accepted.write('twelve bytes')
    await t.once(client, 'data')
    client.write('seven b')
    client.destroy()
    const at = [client.bytesRead, client.bytesWritten]
    await t.closed(client)
    return { at, after: [client.bytesRead, client.bytesWritten] }
  },

  'bytesWritten counts what still waits': async (t) => {
    const { port } = await t.peerServer((socket) => socket.pause())
    const socket = t.connect(port, loopback)
    socket.write('é'.repeat(10))
    const before = socket.bytesWritten
    await t.once(socket, 'connect')
    socket.write(Buffer.alloc(30 << 20))
    socket.write('é'.repeat(5))
    return { before, after: socket.bytesWritten }
  },

  'a socket without a connection has no addresses and no counters': async (t) => {
    const socket = new t.net.Socket()
    const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket
    const names = { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily }
    return { names, address: socket.address(), bytesRead: socket.bytesRead ?? 'none', has: Object.keys(names) }
  },

  'addresses of both ends, and what is left of them after destroy()': async (t) => {
    const { client, accepted } = await t.pair()
    const names = (socket) => [
      socket.localAddress,
      socket.localPort,
      socket.localFamily,
      socket.remoteAddress,
      socket.remotePort,
      socket.remoteFamily,
      socket.address(),
    ]
    const read = [names(client), names(accepted)]
    client.destroy()
    const after = names(client)
    await t.allClosed(client, accepted)
    const unread = await t.pair()
    unread.client.destroy()
    return { read, after, later: names(client), unread: unread.client.remoteAddress ?? 'none' }
  },

  'a path has no addresses': async (t) => {
    const { client, accepted } = await t.pair({ path: t.path() })
    return [client, accepted].map((socket) => [
      socket.remoteAddress ?? 'none',
      socket.remotePort ?? 'none',
      socket.remoteFamily ?? 'none',
      socket.localAddress ?? 'none',
      socket.localPort ?? 'none',
      socket.address(),
    ])
  },

  'a received chunk is the receiver’s alone': async (t) => {
    const { client, accepted } = await t.pair()
    const chunks = []
    accepted.on('data', (data) => chunks.push(data))
    for (let n = 0; n < 3; n++) {
      client.write(`part${n}`)
      await t.until(() => chunks.length > n)
    }
    const { buffer, byteOffset, byteLength } = chunks[0]
    const whole = [byteOffset, byteLength === buffer.byteLength]
    structuredClone(buffer, { transfer: [buffer] })
    return { texts: chunks.slice(1).map(String), whole, transferred: chunks[0].length }
  },

  'a buffer changed after its write callback was sent as it was': async (t) => {
    const { client, accepted } = await t.pair()
    const buffer = Buffer.from('first')
    await new Promise((resolve) => client.write(buffer, resolve))
    buffer.fill('x')
    client.end(buffer)
    return t.received(accepted)
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

  'ticks and microtasks run between connect, data and end': async (t) => {
    const server = t.server((socket) => socket.end('data'))
    const port = await t.listen(server)
    const log = []
    const socket = t.connect(port, loopback)
    for (const name of ['connect', 'ready', 'data', 'end', 'close']) {
      socket.on(name, () => {
        log.push(name)
        process.nextTick(() => log.push(`tick of ${name}`))
        Promise.resolve().then(() => log.push(`microtask of ${name}`))
      })
    }
    await t.closed(socket)
    await t.turns()
    return log
  },

  'a listener that throws is an uncaught exception, and the socket goes on': async (t) => {
    const { client, accepted } = await t.pair()
    let text = ''
    client.on('data', (data) => {
      text += data
      if (text.length === 3) throw new Error('thrown by a listener')
    })
    accepted.write('one')
    await t.until(() => t.uncaught.length === 1)
    accepted.end('two')
    await t.once(client, 'end')
    return text
  },

  'an error without a listener is an uncaught exception': async (t) => {
    const port = await t.freePort()
    const socket = t.track(new t.net.Socket())
    socket.connect(port, loopback)
    await t.closed(socket)
    return 'closed'
  },

  'captureRejections turns a rejected listener into an error': async (t) => {
    const port = await t.listen(t.server((socket) => socket.end('x')))
    const socket = t.track(new t.net.Socket({ captureRejections: true }))
    const log = t.events(socket, ['error', 'close'])
    socket.on('data', async () => {
      throw new Error('rejected')
    })
    socket.connect(port, loopback)
    await t.closed(socket)
    return log
  },

  'readable: false and writable: false are kept': async (t) => {
    const port = await t.listen(t.server((socket) => socket.resume()))
    const results = []
    for (const options of [{ readable: false }, { writable: false }]) {
      const socket = t.connect({ port, host: loopback, ...options })
      await t.once(socket, 'connect')
      results.push(stateOf(socket))
    }
    return results
  },
}
