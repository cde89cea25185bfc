/**
 * Cluster workers under register, with both ways of scheduling: they answer on the driver, listen in every form, leave
 * and come again, as under plain Node.
 */
import { drivers } from '../e2e/subjects'
import { expectLines, nodes, program, removeApps, run, scenarios } from './program'
import type { Scenario } from './program'

afterAll(removeApps)

/** `primary` and `worker` bodies; `ask(where, then)` makes one http request on a connection of its own. */
function app(policy: string, primary: string, worker: string): string {
  return `
const cluster = require('cluster'), http = require('http'), net = require('net'), path = require('path')
cluster.schedulingPolicy = cluster.${policy}
const body = 'x'.repeat(20000)
const ask = (where, then) => {
  const request = http.request({ ...where, method: 'POST', agent: false }, (response) => {
    let text = ''
    response.setEncoding('utf8').on('data', (data) => (text += data)).on('end', () => then(text))
  })
  request.on('error', (error) => then(error.code))
  request.end(body)
}
const askMany = (count, where, then, answers = []) =>
  ask(where, (answer) => answers.push(answer) < count ? askMany(count, where, then, answers) : then(answers))
const socketPath = path.join(__dirname, 'cluster.sock')
if (cluster.isPrimary) { ${primary} } else { ${worker} }
`
}

/** Answers with whether the answers before were sent by the driver of the worker, which has to be there. */
const answering = (where: string): string => `
let requests = 0
const server = http.createServer((request, response) => {
  request.resume().on('end', () => response.end(String(process.env.TEST_MODE === 'plain' || require(library).driver.stats().bytesSent >= requests++ * 50)))
})
server.listen(${where})`

const stopping = `const stop = () => { for (const id in cluster.workers) cluster.workers[id].process.disconnect() }`

const all: Record<string, Scenario> = {}

for (const policy of ['SCHED_RR', 'SCHED_NONE']) {
  for (const [form, where] of Object.entries({
    'port 0': '0',
    'port 0 and a host': "{ port: 0, host: '127.0.0.1' }",
    'port 0, exclusive': "{ port: 0, host: '127.0.0.1', exclusive: true }",
    'a path': 'socketPath',
  })) {
    all[`${policy}: an http server of two workers on ${form}`] = {
      source: app(
        policy,
        `${stopping}
        let listening = 0
        const ports = new Set()
        const kinds = new Set()
        for (let i = 0; i < 2; i++) cluster.fork()
        // The primary is not told of what listens exclusively.
        cluster.on('message', (worker, port) => up({ port, addressType: 4 }))
        cluster.on('listening', (worker, address) => up(address))
        const up = (address) => {
          ports.add(address.port); kinds.add(address.addressType)
          if (++listening < 2) return
          const where = ${form === 'a path' ? '{ socketPath }' : `{ port: address.port, host: '127.0.0.1' }`}
          say('ports', ports.size, [...kinds].join())
          askMany(6, where, (answers) => { say(answers.join()); stop() })
        }
        let exits = 0
        cluster.on('exit', (worker, code, signal) => { if (++exits === 2) say('exits', code, String(signal)) })`,
        answering(where) +
          (form.includes('exclusive')
            ? `.on('listening', () => process.send(server.address().port))`
            : '') +
          `;process.on('disconnect', () => process.exit())`,
      ),
      lines: [
        `ports ${form.includes('exclusive') ? 2 : 1} ${form === 'a path' ? '-1' : '4'}`,
        'true,true,true,true,true,true',
        'exits 0 null',
      ],
    }
  }

  all[`${policy}: a worker that is disconnected finishes its connection; another takes over`] = {
    source: app(
      policy,
      `
      const first = cluster.fork()
      let second, isAnswered
      const { once } = require('node:events')
      cluster.on('listening', (worker, { port }) => {
        if (worker === second) return askMany(3, { port, host: '127.0.0.1' }, (answers) => { say(answers.join()); second.disconnect() })
        const socket = net.connect(port, '127.0.0.1', () => socket.write('POST / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: 20000\\r\\n\\r\\n'))
        let text = ''
        socket.on('data', (data) => (text += data))
        isAnswered = once(socket, 'close').then(() => say('answered', text.startsWith('HTTP/1.1 200')))
        first.once('message', () => { first.disconnect(); first.once('disconnect', () => {}); socket.write(body) })
      })
      first.on('exit', async (code) => { await isAnswered; say('first', code, first.exitedAfterDisconnect); second = cluster.fork() })`,
      `${answering('{ port: 0, host: "127.0.0.1" }')}; server.once('request', () => process.send('asked'))`,
    ),
    lines: ['answered true', 'first 0 true', 'true,true,true'],
  }

  all[`${policy}: a worker that is killed is replaced, on the same port`] = {
    source: app(
      policy,
      `
      let port, killed = 0
      const start = () => cluster.fork()
      // Bound, and never listening: nobody else gets the port meanwhile.
      const held = net._createServerHandle('127.0.0.1', 0, 4), name = {}
      held.getsockname(name)
      process.env.CLUSTER_PORT = name.port
      start()
      cluster.on('listening', (worker, address) => {
        if (port !== undefined && address.port !== port && !worker.isFirst) say('another port')
        port = address.port
        askMany(2, { port, host: '127.0.0.1' }, (answers) => {
          say(answers.join())
          if (killed++ < 2) worker.process.kill('SIGKILL')
          else worker.disconnect()
        })
      })
      cluster.on('exit', (worker, code, signal) => { say('exit', String(signal)); if (killed < 3) start() })`,
      answering(`{ port: Number(process.env.CLUSTER_PORT), host: '127.0.0.1' }`),
    ),
    lines: ['true,true', 'exit SIGKILL', 'true,true', 'exit SIGKILL', 'true,true', 'exit null'],
  }

  all[`${policy}: a port in use is EADDRINUSE in the worker`] = {
    source: app(
      policy,
      `
      const taken = net.createServer().listen(0, '127.0.0.1', () => cluster.fork({ TAKEN: taken.address().port }))
      cluster.on('exit', () => taken.close())`,
      `net.createServer().on('error', (error) => { say(error.code, error.syscall, error.address); process.disconnect() }).listen(process.env.TAKEN, '127.0.0.1')`,
    ),
    lines: ['EADDRINUSE bind 127.0.0.1'],
  }

  all[`${policy}: tls and http2 servers of a worker`] = {
    source: app(
      policy,
      `
      const { cert } = JSON.parse(process.env.TEST_PAIR)
      const worker = cluster.fork()
      worker.on('message', ([https, h2]) => {
        require('https').get({ port: https, host: '127.0.0.1', ca: cert, servername: 'localhost', agent: false }, (response) => {
          response.on('data', (data) => say('https', data)).on('end', () => {
            const session = require('http2').connect('http://127.0.0.1:' + h2)
            const stream = session.request()
            stream.on('data', (data) => say('h2c', data)).on('end', () => { session.close(); worker.disconnect() })
            stream.end()
          })
        })
      })`,
      `
      const pair = JSON.parse(process.env.TEST_PAIR)
      const answer = (request, response) => response.end('whole')
      const https = require('https').createServer(pair, answer).listen(0, '127.0.0.1', () => {
        const h2 = require('http2').createServer(answer).listen(0, '127.0.0.1', () => process.send([https.address().port, h2.address().port]))
      })`,
    ),
    lines: ['https whole', 'h2c whole'],
  }
}

scenarios(all)

describe.each(nodes)('%s', (node) => {
  test.each(drivers)('%s: round robin serves by turns, as under plain Node', async (driver) => {
    const source = app(
      'SCHED_RR',
      `
      let listening = 0
      for (let i = 0; i < 3; i++) cluster.fork()
      cluster.on('listening', (worker, { port }) => {
        if (++listening < 3) return
        askMany(9, { port, host: '127.0.0.1' }, (answers) => {
          const counts = {}
          for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1
          say(Object.values(counts).join())
          for (const id in cluster.workers) cluster.workers[id].disconnect()
        })
      })`,
      `http.createServer((request, response) => response.end(String(cluster.worker.id))).listen(0, '127.0.0.1')`,
    )
    for (const mode of ['plain', driver] as const) {
      expectLines(await run(mode, program(source), { node }), ['3,3,3'])
    }
  })
})

test('known bad: workers whose connections are libuv’s are noticed', async () => {
  const { source, lines } = all['SCHED_RR: an http server of two workers on a path']!
  const { stdout } = await run('node', program(source))
  expect(stdout).toContain('false,false')
  expect(stdout).not.toBe(`${lines.join('\n')}\n`)
})
