'use strict'

/* Writing: what is sent, when callbacks come, back-pressure, and what a buffer may be used for afterwards. */
const { loopback, told } = require('../row')
const { countersOf, noting, stateOf } = require('../sockets')

exports.theme = 'writing'
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

  'write callbacks come once each, in order, without an error, and never inside write()': async (
    t,
  ) => {
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

  'a write above the high water mark that the kernel takes at once asks for no drain': async (
    t,
  ) => {
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

  'writes before the connection are sent after it, and their callbacks come in order': async (
    t,
  ) => {
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
    for (let n = 0; n < 12; n++) client.write(Buffer.alloc(1 << 20, n))
    const stopped = client.writableNeedDrain
    let received = 0
    let isInOrder = true
    accepted.on('data', (data) => {
      isInOrder &&= data[0] === Math.floor(received / (1 << 20))
      received += data.length
    })
    client.end()
    await t.once(accepted, 'end')
    return { stopped, received, isInOrder }
  },

  'a _write and a _writev of a program’s own get every byte, corked or not': async (t) => {
    const { client, accepted } = await t.pair({ server: { allowHalfOpen: true } })
    const { _write, _writev } = client
    const turned = (chunk) => Buffer.from(chunk).map((byte) => byte ^ 32)
    client._write = (chunk, encoding, callback) =>
      _write.call(client, turned(chunk), encoding, callback)
    client._writev = (chunks, callback) =>
      _writev.call(
        client,
        chunks.map((entry) => ({ ...entry, chunk: turned(entry.chunk) })),
        callback,
      )
    let sent = ''
    accepted.on('data', (data) => (sent += data))
    client.cork()
    client.write(Buffer.alloc(20_000, 'a'))
    client.write(Buffer.alloc(10, 'b'))
    client.uncork()
    client.cork()
    client.write(Buffer.alloc(40_000, 'c'))
    client.end(Buffer.from('d'))
    await t.once(accepted, 'end')
    accepted.end()
    await t.closed(client)
    return sent.replace(/(.)\1*/g, (run) => `${run[0]}${run.length} `)
  },

  'corked chunks of every size wait for uncork(), as far as the program can see': async (t) => {
    const { client, accepted } = await t.pair({ server: { allowHalfOpen: true } })
    const log = []
    const note = (what) => log.push([what, client.writableLength, client.bytesWritten])
    client.on('drain', () => note('drain'))
    const bytes = []
    accepted.on('data', (data) => bytes.push(data))
    const write = (size, name) => {
      const chunk = Buffer.alloc(size, name)
      note(client.write(chunk, () => note(`callback ${name}`)))
    }
    client.cork()
    write(10, 'a')
    write(100_000, 'b')
    client.cork()
    write(50, 'c')
    write(20_000, 'd')
    await new Promise((resolve) => setImmediate(resolve))
    note('a turn later')
    client.uncork()
    write(7, 'e')
    client.uncork()
    note('uncorked')
    write(40_000, 'f')
    client.cork()
    write(30_000, 'g')
    client.end('h')
    note('ended')
    await t.once(accepted, 'end')
    const sent = Buffer.concat(bytes)
      .toString()
      .replace(/(.)\1*/g, (run) => `${run[0]}${run.length} `)
    accepted.end()
    await t.closed(client)
    return { log, sent }
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

  'a buffer changed after its write callback was sent as it was': async (t) => {
    const { client, accepted } = await t.pair()
    const buffer = Buffer.from('first')
    await new Promise((resolve) => client.write(buffer, resolve))
    buffer.fill('x')
    client.end(buffer)
    return t.received(accepted)
  },

  'a write that is too large for the kernel is taken in parts, and calls back once': async (t) => {
    const { client, accepted } = await t.pair()
    let received = 0
    accepted.on('data', (data) => (received += data.length))
    let calls = 0
    client.write(Buffer.alloc(10 << 20), () => calls++)
    client.end()
    await t.once(accepted, 'end')
    await t.allClosed(client)
    return { received, calls, written: client.bytesWritten }
  },
}
