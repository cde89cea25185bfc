/**
 * Bytes that were written leave while the program goes on working: it may block for as long as it likes, also for an effect of
 * those bytes, in its own process or another one. What blocks here waits for the peer to have the answer, so a write that
 * is kept back until the program returns is late, however fast the machine is.
 */
import { join } from 'node:path'
import { removeApps, scenarios as programs } from '../register/program'
import type { Scenario as Program } from '../register/program'
import { scenarios, times } from './rig'
import type { Played, Scenario } from './rig'

afterAll(removeApps)

const both: Scenario['ways'] = ['register', 'library']

/** Calls `ask(socket, nth)` for each request of plain sockets. */
const server = `
let nth = 0
const count = Number(process.env.TEST_CLIENTS)
const verdicts = []
/** For the last verdict, or the first that is late. */
const judge = (verdict) => {
  verdicts.push(verdict)
  if (verdict !== 'late' && verdicts.length < count) return
  say([...new Set(verdicts)].join())
  process.exit()
}
const judgeNext = () => { const answers = ++nth; judge(wait(() => seen() >= answers)) }
const answering = (ask) => serve(net.createServer((socket) => socket.once('data', () => ask(socket, ++nth))))
`

// --- another process has the answer -------------------------------------------------------------------------------

const otherProcess: Record<string, Scenario> = {}
for (const clients of [1, 4, 5, 16]) {
  otherProcess[`${clients} handlers: each answers, then blocks until its client has the answer`] = {
    source: `${server} answering((socket, nth) => { socket.write('answer'); judge(wait(() => seen() >= nth)) })`,
    clients,
    lines: ['seen'],
    got: times(clients, 'answer end'),
    ways: both,
  }
}
for (const clients of [4, 5, 16]) {
  otherProcess[
    `${clients} handlers: each blocks until the client before has its answer, works, then answers`
  ] = {
    source: `${server} answering((socket, nth) => { const verdict = wait(() => seen() >= nth - 1); spin(5); socket.write('answer'); judge(verdict) })`,
    clients,
    lines: ['seen'],
    got: times(clients, 'answer end'),
    ways: both,
  }
}
scenarios(otherProcess)

const everyAnswer = times(5, 'answer end')
scenarios({
  'Unix sockets: each handler answers, then blocks until its client has the answer': {
    source: `${server} answering((socket, nth) => { socket.write('answer'); judge(wait(() => seen() >= nth)) })`,
    protocol: 'unix',
    clients: 5,
    lines: ['seen'],
    got: everyAnswer,
    ways: both,
  },
  'TLS: each handler answers, then blocks until its client has the answer': {
    source: `${server}
      serve(attach(require('tls').createServer(pair, (socket) => socket.once('data', () => { socket.write('answer'); judgeNext() }))))`,
    protocol: 'tls',
    clients: 5,
    lines: ['seen'],
    ways: both,
    compared: ({ lines, clients }) => ({ lines, bytes: clients.map(({ bytes }) => bytes) }),
  },
  'http: each handler answers, then blocks until its client has the answer': {
    source: `${server}
      serve(attach(require('http').createServer((request, response) => { response.sendDate = false; response.end('answer'); judgeNext() })))`,
    protocol: 'http',
    clients: 5,
    lines: ['seen'],
    ways: both,
  },
  'ws: each handler answers, then blocks until its client has the answer': {
    source: `${server}
      const server = serve(attach(require('http').createServer()))
      new (require(ws).WebSocketServer)({ server }).on('connection', (socket) => socket.on('message', () => { socket.send('answer'); judgeNext() }))`,
    protocol: 'ws',
    clients: 5,
    lines: ['seen'],
    got: everyAnswer,
    ways: both,
  },
  'a handler that answers everybody of its batch, then blocks until all have the answer': {
    source: `${server}
      const sockets = []
      answering((socket, nth) => { if (nth === 1) { for (const socket of sockets) socket.write('answer'); say(wait(() => seen() >= count)); process.exit() } })
        .on('connection', (socket) => sockets.push(socket))`,
    clients: 16,
    lines: ['seen'],
    ways: both,
    compared: ({ lines, clients }) => ({ lines, bytes: clients.map(({ bytes }) => bytes) }),
  },
  'a handler that answers, then blocks in a child process until the client has the answer': {
    source: `${server}
      const { execFileSync } = require('child_process')
      const until = (bytes) => {
        try { execFileSync('sh', ['-c', 'until [ $(stat -c %s "$0") -ge $1 ]; do sleep 0.02; done', process.env.TEST_SEEN, String(bytes)], { timeout: 30000 }); return 'seen' } catch { return 'late' }
      }
      answering((socket, nth) => { socket.write('answer'); judge(until(nth)) })`,
    clients: 4,
    lines: ['seen'],
    got: times(4, 'answer end'),
    ways: both,
  },
  'a handler that answers and throws: an uncaughtException listener blocks until the client has the answer':
    {
      source: `${server}
        process.on('uncaughtException', () => judge(wait(() => seen() >= nth)))
        answering((socket) => { socket.write('answer'); throw new Error('thrown') })`,
      clients: 5,
      lines: ['seen'],
      got: everyAnswer,
      ways: both,
    },
  'a write callback blocks until the client has the answer': {
    source: `${server} answering((socket, nth) => socket.write('answer', () => judge(wait(() => seen() >= nth))))`,
    clients: 5,
    lines: ['seen'],
    got: everyAnswer,
    ways: both,
  },
  'a server in a worker thread that answers, then blocks that thread': {
    source: `${server}
      const { Worker, isMainThread, parentPort } = require('worker_threads')
      if (isMainThread) new Worker(__filename).on('message', judge)
      else answering((socket, nth) => { socket.write('answer'); parentPort.postMessage(wait(() => seen() >= nth)) })`,
    clients: 5,
    lines: ['seen'],
    got: everyAnswer,
  },
})

const later: Record<string, string> = {
  'a tick': 'process.nextTick(answer)',
  'a microtask': 'queueMicrotask(answer)',
  'an immediate': 'setImmediate(answer)',
  'a timer': 'setTimeout(answer, 1)',
  'a callback of the file system': `fs.stat('.', answer)`,
  'a callback of another write': `process.stdout.write('', answer)`,
}
scenarios(
  Object.fromEntries(
    Object.entries(later).map(([title, start]) => [
      `in ${title} everybody is answered, which then blocks until all have the answer`,
      {
        source: `${server}
          const sockets = []
          const answer = () => { for (const socket of sockets) socket.write('answer'); say(wait(() => seen() >= count)); process.exit() }
          answering((socket, nth) => { sockets.push(socket); if (nth === count) ${start} })`,
        clients: 6,
        lines: ['seen'],
        got: times(6, 'answer end'),
        ways: both,
      },
    ]),
  ),
)

// --- pure work, told apart by the clock ---------------------------------------------------------------------------

/** Whether the answer of each handler was there before the next one had ended. (The last has no next.) */
function wereInTime({ lines, clients }: Played): boolean[] {
  const ends = lines.map(Number)
  const arrivals = clients.map(({ at }) => at).sort((a, b) => a - b)
  return arrivals.slice(0, -1).map((at, nth) => at > 0 && at < ends[nth + 1]!)
}

const order = {
  'works for 200 ms, then answers': `spin(200); socket.write('answer')`,
  'answers, then works for 200 ms': `socket.write('answer'); spin(200)`,
}
for (const [title, steps] of Object.entries(order)) {
  for (const clients of [4, 5, 16]) {
    scenarios({
      [`${clients} handlers: each ${title}; its answer is there before the next one has ended`]: {
        source: `${server}
          const ends = []
          answering((socket, nth) => { ${steps}; ends.push(clock()); if (nth === count) { for (const end of ends) say(end); process.exit() } })`,
        clients,
        compared: wereInTime,
        expected: Array.from({ length: clients - 1 }, () => true),
        ways: clients === 5 ? both : ['register'],
      },
    })
  }
}

// --- another thread has the answer --------------------------------------------------------------------------------

const inThreadClients = 5
const clientsFile = JSON.stringify(join(__dirname, 'clients.js'))
const wsFile = JSON.stringify(require.resolve('ws'))

/**
 * `answering(ask)` is what a server of the protocol does with a listener; the clients are in a worker thread, which asks
 * with all of them while the main thread is blocked. Each handler answers, then waits for the answer to be seen.
 */
function inThread(protocol: string, serving: string, worker = 'node'): Program {
  return {
    source: `
      const { Worker } = require('worker_threads')
      const net = require('net'), pair = JSON.parse(process.env.TEST_PAIR), count = ${inThreadClients}
      // May ask, have asked, answers seen.
      const flags = new Int32Array(new SharedArrayBuffer(12))
      const until = (index, value, ms) => { for (let now; (now = Atomics.load(flags, index)) < value; ) if (Atomics.wait(flags, index, now, ms) === 'timed-out') return 'late'; return 'seen' }
      let nth = 0, up = 0
      const verdicts = new Set()
      const wait = () => {
        const verdict = until(2, ++nth, 30000)
        verdicts.add(verdict)
        if (verdict === 'seen' && nth < count) return
        say([...verdicts].join())
        process.exit()
      }
      const ask = () => { Atomics.store(flags, 0, 1); Atomics.notify(flags, 0); until(1, 1, 30000) }
      // The worker, and each connection.
      const ready = () => { if (++up === count + 1) setImmediate(ask) }
      const server = ${serving}
      server.on('${protocol === 'tls' ? 'secureConnection' : 'connection'}', ready)
      server.listen(${protocol === 'unix' ? `require('path').join(__dirname, 'socket')` : `0, '127.0.0.1'`}, () => {
        const address = server.address()
        const target = typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' }
        const source = \`
          const { parentPort, workerData: { flags, options } } = require('worker_threads')
          const { protocols } = require(${clientsFile})
          let up = 0
          const store = (index) => { Atomics.add(flags, index, 1); Atomics.notify(flags, index) }
          const events = { got: () => store(2), over() {}, up() {
            if (++up < ${inThreadClients}) return
            parentPort.postMessage('up')
            // What the handshakes still have to send, they send before.
            setImmediate(() => setImmediate(() => {
              Atomics.wait(flags, 0, 0, 30000)
              clients.forEach((client) => client.ask())
              setImmediate(() => setImmediate(() => store(1)))
            }))
          } }
          const clients = Array.from({ length: ${inThreadClients} }, () => protocols['${protocol === 'unix' ? 'net' : protocol}'](options, events))\`
        const options = { target, request: 'q', ca: pair.cert, ws: ${wsFile} }
        new Worker(source, { eval: true, workerData: { flags, options }, env: ${worker === 'node' ? `{ ...process.env, URING_NET_DRIVER: 'node' }` : 'process.env'} }).once('message', ready)
      })`,
    lines: ['seen'],
  }
}

const plain = `net.createServer((socket) => socket.on('data', () => { socket.write('answer'); wait() }))`
programs({
  'TCP: each handler answers, then blocks until a worker thread has the answer': inThread(
    'net',
    plain,
  ),
  'TCP: the same, and the worker thread is on the driver': inThread('net', plain, 'same'),
  'Unix: each handler answers, then blocks until a worker thread has the answer': inThread(
    'unix',
    plain,
  ),
  'TLS: each handler answers, then blocks until a worker thread has the answer': inThread(
    'tls',
    `require('tls').createServer(pair, (socket) => socket.on('data', () => { socket.write('answer'); wait() }))`,
  ),
  'http: each handler answers, then blocks until a worker thread has the answer': inThread(
    'http',
    `require('http').createServer((request, response) => { response.end('answer'); wait() })`,
  ),
  'ws: each handler answers, then blocks until a worker thread has the answer': inThread(
    'ws',
    `(() => { const server = require('http').createServer(); new (require(${wsFile}).WebSocketServer)({ server }).on('connection', (socket) => socket.on('message', () => { socket.send('answer'); wait() })); return server })()`,
  ),
})
