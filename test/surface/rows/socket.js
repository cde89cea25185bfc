'use strict'

/* The methods and properties of a connected socket: reading in all ways, timeouts, state, addresses and counters. */
const { pipeline: pipe, finished } = require('node:stream')
const { promisify } = require('node:util')
const { loopback, shape } = require('../row')
const { countersOf, life, stateOf } = require('../sockets')

exports.theme = 'sockets'
exports.rows = {
  'setTimeout() fires when nothing moves, once for each silence, and does not destroy': async (
    t,
  ) => {
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

  'received bytes put the timeout off': (t) =>
    t.undisturbed(100, async () => {
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
    }),

  'a write that makes progress puts the timeout off': (t) =>
    t.undisturbed(300, async () => {
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
    }),

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
    return {
      names,
      address: socket.address(),
      bytesRead: socket.bytesRead ?? 'none',
      has: Object.keys(names),
    }
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
    const port = t.refusedPort()
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

  'pause() and resume() before the connection are kept': async (t) => {
    const port = await t.listen(t.server((socket) => socket.end('at last')))
    const socket = t.track(new t.net.Socket())
    const log = t.events(socket, ['connect', 'data', 'end'])
    socket.pause()
    socket.connect(port, loopback)
    await t.once(socket, 'connect')
    await t.delay(30)
    const before = [...log]
    socket.resume()
    await t.once(socket, 'end')
    return { before, log }
  },

  'two hundred connections at once are all answered and all closed': async (t) => {
    const server = t.server((socket) => socket.pipe(socket))
    const port = await t.listen(server)
    const texts = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        const socket = t.connect(port, loopback)
        socket.end(`number ${n}`)
        return t.received(socket)
      }),
    )
    await t.until(() => server._connections === 0)
    return texts.every((text, n) => text === `number ${n}`)
  },

  'a worker thread has sockets and servers too': async (t) =>
    t.program(
      `const { Worker } = require('node:worker_threads');
       const source = \`const net = require(${JSON.stringify(t.module)}); const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
         const client = net.connect(server.address().port, '127.0.0.1'); client.end('in a worker');
         client.on('data', (data) => console.log(String(data))); client.on('close', () => server.close()) })\`;
       new Worker(source, { eval: true }).on('exit', (code) => console.log('exit', code)).on('error', console.log)`,
    ),
}
