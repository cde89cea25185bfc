/**
 * Peers that reset, close or half-close their connection just before the batch in which they are answered: the program sees
 * the events, the codes and the order that it sees on node:net, for each of them, and nobody else is disturbed.
 */
import { removeApps } from '../register/program'
import { scenarios } from './rig'
import type { Scenario } from './rig'

afterAll(removeApps)

const both: Scenario['ways'] = ['register', 'library']

/** Logs each socket's events in order, and prints the logs, sorted, when all are closed. */
const server = `
const logs = []
const told = (value) => value instanceof Error ? value.code + ' ' + value.syscall : Buffer.isBuffer(value) ? String(value) : value
const answering = (options, ask) => {
  let closed = 0
  const server = serve(net.createServer(options, (socket) => {
    const log = []
    logs.push(log)
    for (const name of ['data', 'end', 'finish', 'drain', 'error', 'close']) socket.on(name, (...values) => log.push([name, ...values.map(told)].join(' ')))
    const note = (what) => (error) => log.push([what, error ? told(error) : 'ok'].join(' '))
    ask(socket, note, log)
    socket.on('close', () => { if (++closed === Number(process.env.TEST_CLIENTS)) setImmediate(() => { for (const log of logs.map((log) => log.join(', ')).sort()) say(log); server.close() }) })
  }))
}
`

/** What the clients do in the batch; each is done by two of four, beside two that only ask and stay. */
const peers: Record<string, string[]> = {
  'stay, or end their half': ['ask', 'end'],
  'end without a request': ['end'],
  'are closed behind their request': ['ask', 'destroy'],
  'are reset behind their request': ['ask', 'reset'],
  'are reset without a request': ['reset'],
}

/** What the program does with each socket. */
const programs: Record<string, string> = {
  'the program answers each request, and ends': `answering({}, (socket, note) => socket.on('data', () => { socket.write('answer', note('written')); socket.end() }))`,
  'the program answers twice in one handler': `answering({}, (socket, note, log) => socket.on('data', () => { log.push(socket.write('an', note('first')), socket.write('swer', note('second'))); socket.end() }))`,
  'the program answers, and again in a tick': `answering({}, (socket, note) => socket.on('data', () => { socket.write('an', note('first')); process.nextTick(() => { socket.write('swer', note('second')); socket.end() }) }))`,
  'the program answers, and again in an immediate': `answering({}, (socket, note) => socket.on('data', () => { socket.write('an', note('first')); setImmediate(() => { socket.write('swer', note('second')); socket.end() }) }))`,
  'the program answers on the end of the stream': `answering({ allowHalfOpen: true }, (socket, note) => { socket.on('data', () => {}); socket.on('end', () => { socket.write('late', note('written')); socket.end() }); let turns = 20; const turn = () => --turns > 0 ? setImmediate(turn) : socket.destroySoon(); socket.on('data', turn) })`,
  'one handler answers all of them': `
    const sockets = []
    let isFirst = true
    answering({}, (socket, note) => {
      sockets.push([socket, note])
      socket.on('data', () => {
        if (!isFirst) return
        isFirst = false
        for (const [socket, note] of sockets) { socket.write('for all', note('written')); socket.end() }
      })
    })`,
  'the program answers with 5,000 small writes': `answering({}, (socket, note) => socket.on('data', () => { for (let n = 0; n < 5000; n++) socket.write('x'); socket.write('y', note('last')); socket.end() }))`,
  'the program corks its answer': `answering({}, (socket, note) => socket.on('data', () => { socket.cork(); socket.write('an', note('first')); socket.write('swer', note('second')); socket.uncork(); socket.end() }))`,
}

const all: Record<string, Scenario> = {}
for (const [title, source] of Object.entries(programs)) {
  for (const [what, actions] of Object.entries(peers)) {
    for (const protocol of ['net', 'unix'] as const) {
      // A Unix socket cannot be reset.
      if (protocol === 'unix' && actions.includes('reset')) continue
      // So many pieces fill a Unix socket or do not, as its peer has its turns.
      if (protocol === 'unix' && title.includes('5,000')) continue
      all[`${protocol === 'net' ? 'TCP' : 'Unix'} peers ${what}: ${title}`] = {
        source: server + source,
        protocol,
        clients: 4,
        actions: [['ask'], actions],
        ways: protocol === 'net' ? both : ['register'],
      }
    }
  }
}
scenarios(all)
