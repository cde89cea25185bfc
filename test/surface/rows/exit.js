'use strict'

/* What a process that ends leaves behind: which bytes its peer, a process of its own, still receives (W6). */

/** Runs a program that gets `port` of a peer; says how it ended and what the peer had received by then. */
async function last(t, body, options) {
  const { port, next } = await t.peerServer((socket, report) => {
    let length = 0
    let text = ''
    let ending = 'none'
    socket.on('data', (data) => {
      length += data.length
      if (text.length < 200) text += data
    })
    socket.on('end', () => (ending = 'FIN'))
    socket.on('error', (error) => (ending = error.code))
    socket.on('close', () => report({ length, text: text.slice(0, 200), ending }))
  }, options)
  const source = `const port = ${port}; const host = '127.0.0.1'; ${body}`
  const received = next()
  const outcome = await t.program(source)
  return { ...outcome, received: await received }
}

const programs = {
  'write() then process.exit()': `const s = net.connect(port, host, () => { s.write('last'); process.exit(3) })`,
  'several writes then process.exit()': `const s = net.connect(port, host, () => { for (let i = 0; i < 5; i++) s.write('part' + i); process.exit() })`,
  'write() then process.exit() in the tick after': `const s = net.connect(port, host, () => { s.write('a'); process.nextTick(() => { s.write('b'); process.exit() }) })`,
  'corked writes, uncorked, then process.exit()': `const s = net.connect(port, host, () => { s.cork(); s.write('a'); s.write('b'); s.uncork(); process.exit() })`,
  'corked writes that stay corked, then process.exit()': `const s = net.connect(port, host, () => { s.write('sent'); s.cork(); s.write('held'); process.exit() })`,
  'write() of 60 kB then process.exit()': `const s = net.connect(port, host, () => { s.write('x'.repeat(60000)); process.exit() })`,
  'write() then destroy()': `const s = net.connect(port, host, () => { s.write('last'); s.destroy() })`,
  'several writes then destroy()': `const s = net.connect(port, host, () => { for (let i = 0; i < 5; i++) s.write('part' + i); s.destroy() })`,
  'write() then destroy(error)': `const s = net.connect(port, host, () => { s.write('last'); s.destroy(new Error('x')) }); s.on('error', () => {})`,
  'write() then resetAndDestroy()': `const s = net.connect(port, host, () => { s.resetAndDestroy() }); s.on('error', () => {})`,
  'end() then process.exit()': `const s = net.connect(port, host, () => { s.end('last'); process.exit() })`,
  'end() with a callback that exits': `const s = net.connect(port, host, () => { s.end('x'.repeat(3000000), () => process.exit()) })`,
  'end() and nothing else': `net.connect(port, host).end('x'.repeat(3000000)).resume()`,
  'write() before the connection, then process.exit()': `net.connect(port, host).on('connect', () => process.exit()).write('early')`,
  'write() then an exception nobody catches': `const s = net.connect(port, host, () => { s.write('last'); throw new Error('crash') })`,
  'write() then a rejection nobody handles': `const s = net.connect(port, host, () => { s.write('last'); Promise.reject(new Error('crash')) })`,
  'an exit handler that writes': `const s = net.connect(port, host, () => process.exit(4)); process.on('exit', () => s.write('from exit'))`,
  'an exit handler that ends': `const s = net.connect(port, host, () => process.exit()); process.on('exit', () => s.end('from exit'))`,
  'an exit handler that writes and destroys': `const s = net.connect(port, host, () => process.exit()); process.on('exit', () => { s.write('one'); s.write('two'); s.destroy() })`,
  'a beforeExit handler that writes': `const s = net.connect(port, host, () => s.unref()); process.once('beforeExit', () => s.end('before exit'))`,
  'process.exit() in a write callback': `const s = net.connect(port, host, () => s.write('called back', () => process.exit()))`,
  'process.exitCode and a natural end': `process.exitCode = 7; net.connect(port, host).end('natural').resume()`,
  'a write handled by uncaughtException, then exit': `process.on('uncaughtException', () => { s.write('caught'); process.exit(5) }); const s = net.connect(port, host, () => { throw new Error('x') })`,
  'process.reallyExit': `const s = net.connect(port, host, () => { s.write('last'); process.reallyExit(0) })`,
  SIGKILL: `const s = net.connect(port, host, () => { s.write('last'); process.kill(process.pid, 'SIGKILL') })`,
  'a signal with the default action': `const s = net.connect(port, host, () => { s.write('last'); process.kill(process.pid, 'SIGTERM') }); s.resume()`,
  'a console of a socket, then exit': `const s = net.connect(port, host, () => { const c = new console.Console(s); c.log('line 1'); c.log('line 2'); process.exit() })`,
  'a worker that writes and exits': `
    const { Worker } = require('node:worker_threads');
    const source = \`const net = require('\${require.resolve('MODULE')}'); const s = net.connect(\${port}, '127.0.0.1', () => { s.write('from a worker'); process.exit() })\`;
    new Worker(source, { eval: true })`,
}

exports.theme = 'the end of a process'
exports.rows = {}
for (const [title, body] of Object.entries(programs)) {
  exports.rows[`${title}: the peer gets what it gets from node:net`] = (t) =>
    last(t, body.replace("require.resolve('MODULE')", `'${t.module}'`))
}

/** A server program that prints its port; says what a client in another process got, and how the server ended. */
async function lastOfServer(t, body, request) {
  let answered
  const answer = new Promise((resolve) => (answered = resolve))
  const source = `const attach = net.attach ?? ((server) => server);
    const up = (server) => server.listen(0, '127.0.0.1', () => require('node:fs').writeSync(1, String(server.address().port)));
    ${body}`
  const outcome = await t.program(source, {
    onChild: (child) =>
      child.stdout.once('data', (port) => {
        const listener = (socket, report) => {
          let text = ''
          socket.write(REQUEST)
          socket.on('data', (data) => (text += data))
          socket.on('close', (hadError) => report({ text, hadError }))
        }
        const source = String(listener).replace('REQUEST', JSON.stringify(request))
        t.peerClient(Number(port), source).next().then(answered)
      }),
  })
  const { text, hadError } = await answer
  const stable = text.replace(/^Date: .*$/m, 'Date: then')
  return { code: outcome.code, signal: outcome.signal, text: stable, hadError }
}

const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
const servers = {
  'an accepted socket that writes, then process.exit()': [
    `up(net.createServer((socket) => socket.once('data', () => { socket.write('one '); socket.write('two'); process.exit(2) })))`,
  ],
  'an accepted socket that writes, then an exception': [
    `up(net.createServer((socket) => socket.once('data', () => { socket.write('before'); throw new Error('x') })))`,
  ],
  'several accepted sockets and an exit handler that writes': [
    `up(net.createServer((socket) => { process.on('exit', () => socket.write('bye')); socket.once('data', () => process.exit()) }))`,
  ],
  'a server that is closed and a connection that ends': [
    `const server = net.createServer((socket) => { socket.once('data', () => { server.close(); socket.end('done') }) }); up(server)`,
  ],
  'an http response, then process.exit()': [
    `up(attach(require('node:http').createServer((request, response) => { response.end('whole'); process.exit() })))`,
    get,
  ],
  'a chunked http response that is begun, then process.exit()': [
    `up(attach(require('node:http').createServer((request, response) => { response.write('part'); process.nextTick(() => process.exit()) })))`,
    get,
  ],
  'an http response whose finish exits': [
    `up(attach(require('node:http').createServer((request, response) => response.end('whole', () => process.exit()))))`,
    get,
  ],
  'an http response in an exit handler': [
    `up(attach(require('node:http').createServer((request, response) => { process.on('exit', () => response.end('late')); process.exit() })))`,
    get,
  ],
}

for (const [title, [body, request = 'x']] of Object.entries(servers)) {
  exports.rows[`${title}: the client gets what it gets from node:net`] = (t) =>
    lastOfServer(t, body, request)
}
