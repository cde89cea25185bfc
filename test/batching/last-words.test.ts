/**
 * How a process or a thread ends in the middle of a batch, in the fifth of eight handlers: whatever was written before is
 * with the peers, as on node:net, where the kernel had it when write() returned. What the clients get whose requests were
 * not handled is not compared: whether their end is an end of stream or a reset depends on whether they were read.
 */
import { execFileSync } from 'node:child_process'
import { nodes, removeApps } from '../register/program'
import { scenarios, times } from './rig'
import type { Played, Scenario } from './rig'

afterAll(removeApps)

const handled = 5
const both: Scenario['ways'] = ['register', 'library']

/** What those got that were answered, and how they and the program ended. */
function lastWords({ lines, exit, clients }: Played): unknown {
  const answered = clients.filter(({ bytes }) => bytes !== '')
  return { lines, exit, answered: answered.map(({ bytes, end }) => `${bytes} ${end}`).sort() }
}

const server = `
let nth = 0
const answered = []
const answering = (end) => serve(net.createServer((socket) => socket.once('data', () => { socket.write('answer'); answered.push(socket); if (++nth === ${handled}) end(socket) })))
`

interface Ending {
  source: string
  exit: string
  /** All of those that were answered, when not only by the handler. */
  got?: string[]
}

const endings: Record<string, Ending> = {
  'process.exit()': { source: 'process.exit(3)', exit: '3' },
  'process.reallyExit()': { source: 'process.reallyExit(3)', exit: '3' },
  'process.abort()': { source: 'process.abort()', exit: 'SIGABRT' },
  'process.kill() with SIGKILL': {
    source: `process.kill(process.pid, 'SIGKILL')`,
    exit: 'SIGKILL',
  },
  'process.kill() with SIGTERM': {
    source: `process.kill(process.pid, 'SIGTERM')`,
    exit: 'SIGTERM',
  },
  'an uncaught exception': { source: `throw new Error('thrown')`, exit: '1' },
  'an uncaught exception in a tick': {
    source: `process.nextTick(() => { throw new Error('thrown') })`,
    exit: '1',
  },
  'an unhandled rejection': { source: `Promise.reject(new Error('rejected'))`, exit: '1' },
  'an uncaughtException listener that exits': {
    source: `process.on('uncaughtException', () => process.exit(4)); throw new Error('thrown')`,
    exit: '4',
  },
  'process.exit() in a tick': { source: 'process.nextTick(() => process.exit(3))', exit: '3' },
  'process.exit() in a write callback': {
    source: `socket.write(' and more', () => process.exit(3))`,
    exit: '3',
    got: [...times(handled - 1, 'answer end'), 'answer and more end'],
  },
  'process.exit(), and an exit listener that writes': {
    source: `process.on('exit', () => socket.write(' and last')); process.exit(3)`,
    exit: '3',
    got: [...times(handled - 1, 'answer end'), 'answer and last end'],
  },
  'process.exit(), and an exit listener that writes to everybody, often': {
    source: `process.on('exit', () => { for (const socket of answered) for (const text of [' a', ' b', ' c']) socket.write(text) }); process.exit(3)`,
    exit: '3',
    got: times(handled, 'answer a b c end'),
  },
  'an uncaught exception, and an exit listener that writes': {
    source: `process.on('exit', () => socket.write(' and last')); throw new Error('thrown')`,
    exit: '1',
    got: [...times(handled - 1, 'answer end'), 'answer and last end'],
  },
  'an exit listener that writes and aborts': {
    source: `process.on('exit', () => { socket.write(' and last'); process.abort() }); process.exit(3)`,
    exit: 'SIGABRT',
    got: [...times(handled - 1, 'answer end'), 'answer and last end'],
  },
  'end() of the socket, then process.exit()': {
    source: 'socket.end(); process.exit(3)',
    exit: '3',
  },
  'destroy() of the socket, then SIGKILL': {
    source: `socket.destroy(); process.kill(process.pid, 'SIGKILL')`,
    exit: 'SIGKILL',
  },
}

/** Each ending as a scenario, with the server of a protocol in `answering`. */
function ended(by: string, answering: string, more: Partial<Scenario>): Record<string, Scenario> {
  return Object.fromEntries(
    Object.entries(endings)
      .filter(([title]) => new RegExp(by).test(title))
      .map(([title, { source, exit, got = times(handled, 'answer end') }]) => [
        `${more.protocol ?? 'TCP'}: ${title}`,
        {
          source: `${answering}
            answering((socket) => { ${source} })`,
          compared: lastWords,
          ...(more.protocol === undefined
            ? { expected: { lines: [], exit, answered: [...got].sort() } }
            : {}),
          ...more,
        },
      ]),
  )
}

scenarios(ended('', server, { ways: both }))

const some = String.raw`^process\.exit\(\)$|abort\(\)$|SIGKILL$|uncaught exception$`
scenarios(ended(some, server, { protocol: 'unix' }))
scenarios(
  ended(
    some,
    `let nth = 0
    const answering = (end) => serve(attach(require('tls').createServer(pair, (socket) => socket.once('data', () => { socket.write('answer'); if (++nth === ${handled}) end(socket) }))))`,
    { protocol: 'tls', ways: both },
  ),
)
scenarios(
  ended(
    some,
    `let nth = 0
    const answering = (end) => serve(attach(require('http').createServer((request, response) => { response.sendDate = false; response.end('answer'); if (++nth === ${handled}) end(request.socket) })))`,
    { protocol: 'http', ways: both },
  ),
)
scenarios(
  ended(
    some,
    `let nth = 0
    const answering = (end) => {
      const server = serve(attach(require('http').createServer()))
      new (require(ws).WebSocketServer)({ server }).on('connection', (socket) => socket.on('message', () => { socket.send('answer'); if (++nth === ${handled}) end(socket) }))
      return server
    }`,
    { protocol: 'ws', ways: both },
  ),
)

// --- process.execve ------------------------------------------------------------------------------------------------

const lacksExecve = nodes.filter(
  (node) =>
    execFileSync(node, ['-p', 'typeof process.execve'], { encoding: 'utf8' }).trim() !== 'function',
)
if (lacksExecve.length > 0) {
  test.skip(`process.execve(): not in ${lacksExecve.join(', ')}`, () => {})
}
if (lacksExecve.length < nodes.length) {
  scenarios({
    'process.execve()': {
      source: `${server} answering(() => { if (process.execve) process.execve('/bin/echo', ['echo', 'another program'], {}); else process.exit() })`,
      compared: lastWords,
    },
  })
}

// --- threads -------------------------------------------------------------------------------------------------------

/** The server is in a worker thread; `main` is what the main thread does with it. */
const inWorker = (end: string, main = ''): string => `${server}
  const { Worker, isMainThread, parentPort } = require('worker_threads')
  if (isMainThread) {
    const worker = new Worker(__filename).on('error', (error) => say('error', error.message)).on('exit', (code) => say('worker', code))
    ${main}
  } else answering((socket) => { ${end} })`

const forEver = `parentPort.postMessage('now'); for (;;);`
const answers = times(handled, 'answer end')
const threads: Record<string, Scenario> = {
  'a worker thread that calls process.exit()': {
    source: inWorker('process.exit(3)'),
    expected: { lines: ['worker 3'], exit: '0', answered: answers },
  },
  'a worker thread that calls process.exit(), and an exit listener of it that writes': {
    source: inWorker(`process.on('exit', () => socket.write(' and last')); process.exit(3)`),
  },
  'a worker thread that throws': {
    source: inWorker(`throw new Error('thrown')`),
    expected: { lines: ['error thrown', 'worker 1'], exit: '0', answered: answers },
  },
  'a worker thread that is terminated while it works': {
    source: inWorker(forEver, `worker.on('message', () => worker.terminate())`),
    expected: { lines: ['worker 1'], exit: '0', answered: answers },
  },
  'a worker thread that works when the main thread calls process.exit()': {
    source: inWorker(forEver, `worker.on('message', () => process.exit(3))`),
    expected: { lines: [], exit: '3', answered: answers },
  },
  'a worker thread that works when the main thread aborts': {
    source: inWorker(forEver, `worker.on('message', () => process.abort())`),
    expected: { lines: [], exit: 'SIGABRT', answered: answers },
  },
  'a worker thread that kills the process': {
    source: inWorker(`process.kill(process.pid, 'SIGKILL')`),
    expected: { lines: [], exit: 'SIGKILL', answered: answers },
  },
}
scenarios(
  Object.fromEntries(
    Object.entries(threads).map(([title, scenario]) => [
      title,
      { compared: lastWords, ...scenario },
    ]),
  ),
)
