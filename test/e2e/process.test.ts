/**
 * What only a whole process shows: flush on exit (W6), what keeps it alive (E3), exceptions and context (E2), worker
 * threads, refused and forced drivers (D5). Each scenario is a program; where it makes sense node:net runs it too and the
 * output must be the same.
 */
import { join } from 'node:path'
import { dist, library, run } from './program'
import { drivers } from './subjects'

/** The program must print, and exit with, on each driver what it does on node:net. */
function sameAsNode(title: string, source: string, expected?: string): void {
  test.each(drivers)(`%s: ${title}`, async (driver) => {
    const [oracle, ours] = await Promise.all([run('node:net', source), run(driver, source)])
    expect({ ...ours, stderr: '' }).toEqual({ ...oracle, stderr: '' })
    if (expected !== undefined) expect(ours.stdout).toBe(expected)
  })
}

/** A peer in the same process that outlives nothing: prints what it received, from a child of its own. */
const peer = `
const { fork } = require('node:child_process');
function withPeer(use) {
  const source = \`const server = require('node:net').createServer((socket) => {
    let text = ''; socket.on('data', (data) => text += data); socket.on('error', () => {});
    socket.on('close', () => { require('node:fs').writeSync(1, text.length > 100 ? text.length + ' bytes\\\\n' : text + '\\\\n'); process.exit() }) });
    server.listen(0, '127.0.0.1', () => process.send(server.address().port)); process.on('disconnect', () => {});\`;
  const child = require('node:child_process').spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  child.once('message', (port) => { child.disconnect(); child.unref(); use(port) });
}
`

sameAsNode(
  'write then process.exit() delivers',
  `${peer} withPeer((port) => { const s = net.connect(port, '127.0.0.1', () => { s.write('last words'); process.exit(0) }) })`,
  'last words\n',
)

sameAsNode(
  'a write by an exit handler delivers',
  `${peer} withPeer((port) => { const s = net.connect(port, '127.0.0.1', () => { process.on('exit', () => s.write('from exit')); process.exit(3) }) })`,
  'from exit\n',
)

sameAsNode(
  'many writes in one tick, then process.exit(), deliver',
  `${peer} withPeer((port) => { const s = net.connect(port, '127.0.0.1', () => { for (let i = 0; i < 9; i++) s.write('part' + i + ' '); process.exit(0) }) })`,
  'part0 part1 part2 part3 part4 part5 part6 part7 part8 \n',
)

sameAsNode(
  'many writes in one tick, then destroy(), deliver',
  `${peer} withPeer((port) => { const s = net.connect(port, '127.0.0.1', () => { for (let i = 0; i < 9; i++) s.write('part' + i + ' '); s.destroy() }) })`,
  'part0 part1 part2 part3 part4 part5 part6 part7 part8 \n',
)

sameAsNode(
  'many writes by an exit handler deliver',
  `${peer} withPeer((port) => { const s = net.connect(port, '127.0.0.1', () => { process.on('exit', () => { for (let i = 0; i < 9; i++) s.write('part' + i + ' ') }); process.exit(0) }) })`,
  'part0 part1 part2 part3 part4 part5 part6 part7 part8 \n',
)

sameAsNode(
  'write then an uncaught exception delivers',
  `${peer} withPeer((port) => { const s = net.connect(port, '127.0.0.1', () => { s.write('before the crash'); throw new Error('crash') }) })`,
  'before the crash\n',
)

sameAsNode(
  'end(data) and nothing else: the process stays until it is delivered, then exits',
  `${peer} withPeer((port) => { const s = net.connect(port, '127.0.0.1', () => s.end('x'.repeat(5000000))); s.resume() })`,
  '5000000 bytes\n',
)

sameAsNode(
  'an unref’d server does not keep the process',
  `net.createServer().listen(0, '127.0.0.1').unref(); process.on('exit', () => console.log('exit'))`,
  'exit\n',
)

sameAsNode(
  'a server keeps the process until it is closed',
  `const s = net.createServer().listen(0, '127.0.0.1', () => setTimeout(() => { console.log('closing'); s.close() }, 50))`,
  'closing\n',
)

sameAsNode(
  'a socket that reads keeps the process; one that is unref’d or paused does not',
  `const { spawn } = require('node:child_process');
   const source = "let n = 0; const s = require('node:net').createServer((c) => { c.on('error', () => {}); setTimeout(() => c.end('late'), n++ ? 40000 : 300) }).listen(0, '127.0.0.1', () => process.send(s.address().port)); setTimeout(() => process.exit(), 50000)";
   const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
   child.once('message', (port) => { child.disconnect(); child.unref(); const began = Date.now();
     const reader = net.connect(port, '127.0.0.1', () => {
       const unrefd = net.connect(port, '127.0.0.1', () => unrefd.unref()); unrefd.resume(); unrefd.on('close', () => console.log('unref’d closed'));
       const paused = net.connect(port, '127.0.0.1', () => paused.pause()); paused.on('close', () => console.log('paused closed')) });
     reader.on('data', (data) => console.log(String(data))); reader.on('end', () => setTimeout(() => reader.destroy(), 0));
     process.on('exit', () => { console.log(Date.now() - began < 30000 ? 'exit in time' : 'exit late'); child.kill() }) })`,
)

sameAsNode(
  'ticks and microtasks run between the events of two sockets',
  `const order = []; let n = 0;
   const server = net.createServer((socket) => socket.once('data', () => {
     order.push('data'); process.nextTick(() => order.push('tick')); Promise.resolve().then(() => order.push('micro'));
     if (++n === 8) setImmediate(() => { console.log(order.join()); process.exit() }) }));
   server.listen(0, '127.0.0.1', () => { for (let i = 0; i < 8; i++) { const c = nodeNet.connect(server.address().port, '127.0.0.1', () => { if (++ready === 8) setTimeout(() => clients.forEach((c) => c.write('x')), 50) }); clients.push(c) } });
   let ready = 0; const clients = []`,
  `${Array.from({ length: 8 }, () => 'data,tick,micro').join()}\n`,
)

sameAsNode(
  'a listener that throws breaks neither its socket’s peers nor the batch',
  `process.on('uncaughtException', (error) => console.log('caught', error.message));
   let ends = 0, ready = 0; const clients = [];
   const server = net.createServer((socket) => { socket.on('data', (data) => { if (data[0] === 98) throw new Error('thrown'); socket.end(data) }) });
   server.listen(0, '127.0.0.1', () => { for (let i = 0; i < 6; i++) { const c = nodeNet.connect(server.address().port, '127.0.0.1', () => { if (++ready === 6) clients.forEach((c, i) => c.write(i === 2 ? 'bad' : 'good')) });
     clients.push(c); c.resume(); c.on('end', () => { if (++ends === 5) { console.log('others ended'); process.exit() } }) } })`,
)

sameAsNode(
  'AsyncLocalStorage: write callbacks see the store of the write, client events that of the connect',
  `const { AsyncLocalStorage } = require('node:async_hooks'); const als = new AsyncLocalStorage(); const seen = [];
   const server = nodeNet.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
     als.run('connect', () => { const c = net.connect(server.address().port, '127.0.0.1', () => { seen.push(['connected', als.getStore()]);
       als.run('write', () => c.write('x', () => seen.push(['written', als.getStore()]))) });
       c.on('data', () => { seen.push(['data', als.getStore()]); als.run('end', () => c.end()) });
       c.on('close', () => { console.log(JSON.stringify(seen.sort())); server.close() }) }) })`,
)

test.each(drivers)('%s: a worker that is terminated with operations in flight', async (driver) => {
  const { stdout, code, stderr } = await run(
    driver,
    `const { Worker } = require('node:worker_threads'); const { readdirSync } = require('node:fs');
     const source = \`const net = require(${JSON.stringify(library)}); const { parentPort } = require('node:worker_threads');
       const server = net.createServer((socket) => socket.write(Buffer.alloc(5 << 20))).listen(0, '127.0.0.1', () => {
         for (let i = 0; i < 5; i++) { const c = net.connect(server.address().port, '127.0.0.1'); c.pause() }
         setTimeout(() => parentPort.postMessage('up'), 50) })\`;
     const fds = () => readdirSync('/proc/self/fd').length;
     (async () => { let before; for (let i = 0; i < 6; i++) { const worker = new Worker(source, { eval: true });
       await new Promise((resolve) => worker.once('message', resolve)); await worker.terminate(); if (i === 1) before = fds() }
       console.log(fds() <= before ? 'no leak' : 'leak ' + before + ' -> ' + fds()) })()`,
  )
  expect({ stdout, code, stderr }).toEqual({ stdout: 'no leak\n', code: 0, stderr: '' })
})

test.each(drivers)(
  '%s: errors thrown by ticks below TLS and HTTP/2 are caught, and the process goes on',
  async (driver) => {
    const { stdout, code } = await run(
      driver,
      `const http2 = require('node:http2'); const { createCertificate } = require(${JSON.stringify(join(library, '..', '..', 'examples', 'demo', 'certificate.js'))});
     const pair = createCertificate(['localhost']); let caught = 0; process.on('uncaughtException', () => caught++);
     const server = http2.createSecureServer(pair); net.attach(server);
     server.on('stream', (stream) => { process.nextTick(() => { throw new Error('tick') }); stream.respond(); stream.end('x'.repeat(50000)); throw new Error('listener') });
     server.listen(0, '127.0.0.1', () => { const session = http2.connect('https://localhost:' + server.address().port, { ca: pair.cert, createConnection: (url) => require('node:tls').connect({ socket: net.connect(server.address().port, '127.0.0.1'), ca: pair.cert, servername: 'localhost', ALPNProtocols: ['h2'] }) });
       let left = 10; for (let i = 0; i < 10; i++) { const stream = session.request(); let n = 0; stream.on('data', (data) => { n += data.length; process.nextTick(() => { throw new Error('client tick') }) }); stream.on('end', () => { if (n !== 50000) console.log('short', n); if (--left === 0) { console.log('all', caught > 20); session.close(); server.close() } }) } })`,
    )
    expect({ stdout, code }).toEqual({ stdout: 'all true\n', code: 0 })
  },
)

// The tick runs when the scope of Node's write call ends, which then takes the write for failed and forgets it: to end it
// would crash the process.
test.each(drivers)(
  '%s: a tick that throws while HTTP/2 writes, below a listener that throws, leaves the process up',
  async (driver) => {
    const { stdout, code } = await run(
      driver,
      `const http2 = require('node:http2'); let ticks = 0;
     process.on('uncaughtException', (error) => { if (error.message === 'tick') ticks++ });
     const server = net.attach(http2.createServer()); server.on('session', (session) => session.on('error', () => {}));
     server.on('stream', (stream) => { stream.on('error', () => {}); process.nextTick(() => { throw new Error('tick') }); stream.respond(); stream.end('x'.repeat(50000)); throw new Error('listener') });
     server.listen(0, '127.0.0.1', () => { const session = http2.connect('http://127.0.0.1:' + server.address().port); session.on('error', () => {});
       let left = 10; for (let i = 0; i < 10; i++) { const stream = session.request(); stream.on('error', () => {}).resume(); stream.on('close', () => { if (--left > 0) return; console.log('all', ticks > 0); session.close(); server.close() }) } })`,
    )
    expect({ stdout, code }).toEqual({ stdout: 'all true\n', code: 0 })
  },
)

test('a forced driver that cannot run throws at load with the reason', async () => {
  const { stderr, code } = await run('no-such-driver', '')
  expect(code).not.toBe(0)
  expect(stderr).toContain('ERR_URING_DRIVER')
  expect(stderr).toContain("URING_NET_DRIVER is 'no-such-driver'")
})

test('a forced driver throws also under a program that was never told, when Node lacks what sockets need', async () => {
  const lacking =
    'data:text/javascript,import net from "node:net"; delete net.Server.prototype._listen2'
  const flags = ['--import', lacking, '--import', join(dist, 'src', 'register.js')]
  const runOn = (driver: string) =>
    run('node:net', `console.log('up')`, { flags, env: { URING_NET_DRIVER: driver } })
  const forced = await runOn('epoll')
  expect(forced.code).not.toBe(0)
  expect(forced.stderr).toContain('ERR_URING_DRIVER')
  expect(forced.stderr).toContain('no Server.prototype._listen2')
  expect(await runOn('auto')).toEqual({ stdout: 'up\n', stderr: '', code: 0 })
})

test('without an addon a forced driver throws, and auto passes node:net through and says why', async () => {
  const env = { URING_NET_ADDON: '/nonexistent.node' }
  const forced = await run('uring', '', { env })
  expect(forced.stderr).toContain('ERR_URING_DRIVER')
  const auto = await run(
    'auto',
    `const s = net.createServer((c) => c.end('hi')).listen(0, '127.0.0.1', () => net.connect(s.address().port).on('data', (d) => { console.log(net.driver.name, net.driver.reason.length > 0, String(d)); s.close() }))`,
    { env },
  )
  expect(auto.stdout).toBe('node true hi\n')
})

test('URING_NET_DRIVER=node passes node:net through', async () => {
  const { stdout } = await run('node', `console.log(net.driver.name, net.driver.reason)`)
  expect(stdout).toBe('node asked for by URING_NET_DRIVER\n')
})
