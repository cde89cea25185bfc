/**
 * Defects that a review found in sockets and servers, each as the behaviour that was missing. node:net runs the same
 * scenario wherever it has the same behaviour. The ownership API has its own in regressions-core.test.ts.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import nodeNet from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { waitDeadlineMs } from '../deadlines'
import { dist, run } from './program'
import type { Outcome } from './program'
import { drivers, implementations, load } from './subjects'
import type { NetModule } from './subjects'
import { listening, pair, pattern, readAll } from './wire'

/**
 * One server and two clients for each position and way of throwing, one after the other in one process. A listener throws
 * as its last act, so that the program itself loses nothing. Prints [case, bytes the clients got, was it caught, did the
 * case end by its events] as a line of JSON for each.
 */
const throwing = (protocol: string) => `
const { createCertificate } = require(${JSON.stringify(join(dist, 'examples', 'demo', 'certificate.js'))})
const http2 = require('node:http2'), tls = require('node:tls')
const { key, cert } = createCertificate(['localhost'])
const protocol = ${JSON.stringify(protocol)}, host = '127.0.0.1', clients = 2, body = Buffer.alloc(100000, 'q')
const attach = net.attach ?? ((server) => server)
const ways = {
  throws: (error) => { throw error },
  tick: (error) => process.nextTick(() => { throw error }),
  rejects: (error) => { Promise.reject(error) },
}
let caught = 0
process.on('uncaughtException', (error) => { if (error.message === 'thrown') caught++; else console.log(error.stack) })

function serve(act, ended) {
  const echo = (socket) => {
    socket.on('error', () => {}).on('close', ended)
    socket.on('data', (data) => { socket.write(data, () => act('write callback')); act('data') })
    socket.on('end', () => { socket.end(); act('end') })
    // A stream whose 'finish' threw does not destroy itself.
    socket.on('finish', () => { setImmediate(() => socket.destroy()); act('finish') })
    socket.on('close', () => act('close'))
    act('connection')
  }
  if (protocol === 'net') return net.createServer({ allowHalfOpen: true }, echo)
  if (protocol === 'tls') return attach(tls.createServer({ key, cert, allowHalfOpen: true }, echo))
  const server = attach(protocol === 'h2c' ? http2.createServer() : http2.createSecureServer({ key, cert }))
  return server.on('stream', (stream) => {
    stream.respond()
    stream.on('error', () => {}).on('close', ended)
    stream.on('data', () => act('data'))
    stream.on('end', () => { stream.write(body, () => act('write callback')); stream.end(); act('end') })
    stream.on('close', () => act('close'))
    act('connection')
  })
}

const secure = (port, options) => tls.connect({ socket: net.connect(port, host), ca: cert, servername: 'localhost', ...options })
function converse(port, got, ended) {
  if (protocol === 'net' || protocol === 'tls') {
    const socket = protocol === 'net' ? net.connect(port, host) : secure(port)
    let left = body.length
    socket.on('data', (data) => { got(data.length); if ((left -= data.length) === 0) socket.end() })
    socket.on('error', () => {}).on('close', ended).write(body)
    return socket
  }
  const createConnection = () => (protocol === 'h2c' ? net.connect(port, host) : secure(port, { ALPNProtocols: ['h2'] }))
  const session = http2.connect((protocol === 'h2c' ? 'http' : 'https') + '://localhost:' + port, { createConnection })
  const stream = session.request({ ':method': 'POST' })
  stream.on('data', (data) => got(data.length)).on('error', () => {}).on('close', () => session.close())
  session.on('error', () => {}).on('close', ended)
  stream.end(body)
  return session
}

function play(position, way) {
  return new Promise((resolve) => {
    let bytes = 0, left = 2 * clients
    const all = []
    const finish = (complete) => {
      clearInterval(deadline)
      for (const client of all) client.destroy()
      setImmediate(() => setImmediate(() => server.close(() => resolve([bytes, caught > 0, complete]))))
    }
    // Turns of the loop, at 20 ms: a machine that stands still has one.
    let turns = 0
    const deadline = setInterval(() => { if (++turns === 50) finish(false) }, 20)
    const ended = () => { if (--left === 0) finish(true) }
    const server = serve((at) => { if (at === position) way(new Error('thrown')) }, ended)
    server.on('error', () => {}).on('sessionError', () => {}).on('tlsClientError', () => {})
    server.listen(0, host, () => {
      for (let i = 0; i < clients; i++) all.push(converse(server.address().port, (n) => { bytes += n }, ended))
    })
  })
}

(async () => {
  const isHttp2 = protocol.startsWith('h2')
  for (const position of ['connection', 'data', 'write callback', 'end', ...(isHttp2 ? [] : ['finish']), 'close'])
    for (const way in ways) {
      if (isHttp2 && position === 'data' && way === 'throws') continue
      caught = 0
      console.log(JSON.stringify([position + ' ' + way, ...(await play(position, ways[way]))]))
    }
  process.exit()
})()
`

describe.each(['net', 'tls', 'h2c', 'h2'])(
  'an exception in a listener of a %s server',
  (protocol) => {
    const source = throwing(protocol)
    let oracle: Promise<Outcome> | undefined

    test.each(drivers)('%s: is caught, the process goes on and nothing is lost', async (driver) => {
      const expected = await (oracle ??= run('node:net', source))
      const ours = await run(driver, source)
      expect(expected.stdout).toContain('["close rejects",200000,true,true]\n')
      expect(ours.stdout.split('\n')).toEqual(expected.stdout.split('\n'))
      expect(ours.code).toBe(0)
    })
  },
)

/** Floods with four connections until terminated; with a fifth it sends 100 single bytes, each after the last's echo. */
const flood = `
const net = require('node:net')
const { parentPort, workerData: port } = require('node:worker_threads')
const block = Buffer.alloc(1 << 20, 'f')
for (let i = 0; i < 4; i++) {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {})
  const send = () => { while (socket.write(block)); }
  socket.on('drain', send)
  send()
}
parentPort.once('message', () => {
  let left = 100
  const socket = net.connect(port, '127.0.0.1', () => socket.write('p'))
  socket.setNoDelay()
  socket.on('data', () => { if (--left > 0) socket.write('p'); else parentPort.postMessage('echoed') })
})
`

test.each(drivers)(
  '%s: a hundred echoes finish while four fast senders flood the server',
  async (driver) => {
    const sockets = new Set<Socket>()
    let flooded = 0
    let onFlood = (): void => {}
    const server = (load(driver) as unknown as NetModule).createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('data', (data) => {
        if (data[0] === 0x70) socket.write(data)
        else if ((flooded += data.length) > 16 << 20) onFlood()
      })
    })
    const port = await listening(server)
    const isFlooded = new Promise<void>((resolve) => (onFlood = resolve))
    const worker = new Worker(flood, { eval: true, workerData: port })
    await isFlooded
    const before = flooded
    const echoed = once(worker, 'message', { signal: AbortSignal.timeout(waitDeadlineMs) })
    worker.postMessage('echo')
    await echoed
    const during = flooded - before
    await worker.terminate()
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
    expect(during).toBeGreaterThan(1 << 20)
  },
)

// With io_uring more arrives in one turn than the receive pool holds.
test.each(implementations())(
  '$name: 10 MB that one process sends to itself are echoed whole',
  async ({ net }) => {
    const { accepted, connected, stop } = await pair({ server: net, client: nodeNet })
    const bytes = pattern(10 << 20)
    accepted.on('error', (error) => connected.destroy(error))
    accepted.pipe(accepted)
    connected.end(bytes)
    const received = await readAll(connected).finally(stop)
    expect(received.equals(bytes)).toBe(true)
  },
)

test.each(implementations())(
  '$name: a timeout does not fire while a large write makes progress',
  async ({ net }) => {
    const timeout = 700
    const { accepted, connected, stop } = await pair({ server: net, client: nodeNet })
    const began = Date.now()
    let timeouts = 0
    let since = 0
    connected.on('data', (data) => {
      if ((since += data.length) < 512 << 10) return
      since = 0
      connected.pause()
      setTimeout(() => connected.resume(), 50) // The pace of a slow reader.
    })
    accepted.setTimeout(timeout, () => timeouts++)
    await new Promise<void>((resolve, reject) =>
      accepted.write(pattern(20 << 20), (error) => (error ? reject(error) : resolve())),
    )
    const took = Date.now() - began
    await stop()
    expect(took).toBeGreaterThan(timeout)
    expect(timeouts).toBe(0)
  },
)

test.each(implementations())(
  '$name: connect() with a localAddress alone takes any free port of it',
  async ({ net }) => {
    const server = nodeNet.createServer()
    const port = await listening(server)
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = net.connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' })
    await once(socket, 'connect')
    const [peer] = await accepted
    expect([peer.remoteAddress, peer.remotePort]).toEqual(['127.0.0.2', socket.localPort])
    expect(socket.localAddress).toBe('127.0.0.2')
    socket.resume().end()
    peer.resume().end()
    server.close()
    await once(server, 'close')
  },
)

test.each(['node:net', ...drivers])(
  '%s: a connect that tries a refused family first leaves no handle behind',
  async (name) => {
    const { stdout, stderr, code } = await run(
      name,
      `const handles = new Set(), count = 50; let tried = 0
       require('node:async_hooks').createHook({ init(id, type) { if (type === 'TCPWRAP') { handles.add(id); tried++ } }, destroy(id) { handles.delete(id) } }).enable()
       const lookup = (host, options, callback) => callback(null, [{ address: '::1', family: 6 }, { address: '127.0.0.1', family: 4 }])
       const server = require('node:net').createServer((socket) => socket.end()).listen(0, '127.0.0.1', async () => {
         const { port } = server.address()
         for (let i = 0; i < count; i++) await new Promise((resolve, reject) => net.connect({ host: 'localhost', port, lookup, autoSelectFamily: true }).on('error', reject).on('close', resolve).resume())
         server.close()
         let rounds = 0
         const collect = () => { gc(); if (handles.size > 0 && ++rounds < 250) setTimeout(collect, 20); else { console.log(tried > 2 * count, handles.size); process.exit() } }
         setImmediate(collect) })`,
      { flags: ['--expose-gc'] },
    )
    expect({ stdout, stderr, code }).toEqual({ stdout: 'true 0\n', stderr: '', code: 0 })
  },
)

/** The store that each event sees; the server is made and listens in 'listen', the client connects in 'connect'. */
async function storesSeen(net: NetModule): Promise<string[]> {
  const storage = new AsyncLocalStorage<string>()
  const seen: string[] = []
  const see = (what: string) => () => seen.push(`${what}: ${String(storage.getStore())}`)
  const closed: Promise<unknown>[] = []
  const server = storage.run('listen', () => {
    const made = net.createServer((socket) => {
      see('connection')()
      // Not once(): a promise would carry the context of 'connection'.
      closed.push(new Promise((resolve) => socket.on('close', resolve)))
      for (const event of ['data', 'end', 'finish', 'close']) {
        socket.on(event, see(`accepted ${event}`))
      }
      socket.on('data', (data) => socket.write(data, see('accepted write')))
    })
    return made.listen(0, '127.0.0.1', see('listening'))
  })
  await once(server, 'listening')
  const { port } = server.address() as nodeNet.AddressInfo
  const client = storage.run('connect', () => net.connect(port, '127.0.0.1'))
  const received = readAll(client)
  client.once('data', () => client.end())
  client.write('x')
  await received
  await Promise.all([...closed, once(server.close(), 'close')])
  return seen.sort()
}

test.each(drivers)(
  '%s: events of accepted sockets do not see the AsyncLocalStorage store of listen()',
  async (driver) => {
    const seen = await storesSeen(load(driver) as unknown as NetModule)
    expect(seen).toContain('accepted data: undefined')
    expect(seen).toContain('accepted close: undefined')
    expect(seen).toEqual(await storesSeen(nodeNet))
  },
)
