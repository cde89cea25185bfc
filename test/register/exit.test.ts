/**
 * What a registered program sent before it ended (W6), where protocols lie on top of the socket: the peer, a process of
 * its own on plain Node, gets what it gets from plain Node, or more. Plain sockets and http are in test/surface/rows/exit.js.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { programDeadlineMs } from '../deadlines'
import { drivers } from '../e2e/subjects'
import { command, nodes, program, removeApps, run } from './program'
import type { Mode } from './program'

afterAll(removeApps)

/** Servers: they print their port, and end by themselves when they are asked. */
const servers: Record<string, [source: string, client: string]> = {
  'an http response with a body, then process.exit()': [
    `require('http').createServer((request, response) => { response.setHeader('date', 'x'); response.end('y'.repeat(30000)); process.exit() })`,
    'http',
  ],
  'an http response, then process.exit() in a tick': [
    `require('http').createServer((request, response) => { response.setHeader('date', 'x'); response.end('whole'); process.nextTick(() => process.exit()) })`,
    'http',
  ],
  'an https response, then process.exit()': [
    `require('https').createServer(pair, (request, response) => { response.setHeader('date', 'x'); response.end('whole'); process.exit() })`,
    'https',
  ],
  'a TLS end, then process.exit()': [
    `require('tls').createServer(pair, (socket) => { socket.on('error', () => {}); socket.end('last words'); process.exit() })`,
    'tls',
  ],
  'a TLS write, then process.exit()': [
    `require('tls').createServer(pair, (socket) => { socket.on('error', () => {}); socket.write('last words'); process.exit() })`,
    'tls',
  ],
  'a TLS end, then an exception': [
    `require('tls').createServer(pair, (socket) => { socket.on('error', () => {}); socket.end('last words'); throw Object.assign(new Error(), { stack: '' }) })`,
    'tls',
  ],
  'a TLS end whose callback exits': [
    `require('tls').createServer(pair, (socket) => { socket.on('error', () => {}); socket.end('z'.repeat(300000), () => process.exit()) })`,
    'tls',
  ],
  'an http2 response, and process.exit() when its stream is closed': [
    `require('http2').createServer((request, response) => { response.stream.on('close', () => process.exit()); response.end('whole') })`,
    'h2c',
  ],
  'an http2 response, then process.exit() in the same tick': [
    `require('http2').createServer((request, response) => { response.end('whole'); process.exit() })`,
    'h2c',
  ],
  'an http2 response, then process.exit() in an immediate': [
    `require('http2').createServer((request, response) => { response.end('whole'); setImmediate(() => process.exit()) })`,
    'h2c',
  ],
  'a websocket message, then process.exit()': [
    `(() => { const server = require('http').createServer(); new (require(${JSON.stringify(require.resolve('ws'))}).WebSocketServer)({ server }).on('connection', (socket) => { socket.send('last words'); process.exit() }); return server })()`,
    'ws',
  ],
}

const client = `
const [protocol, port] = process.argv.slice(2)
const { cert } = JSON.parse(process.env.TEST_PAIR)
const got = []
const done = (end) => { say(hash(got.join('')), got.join('').length, end); process.exit() }
const take = (emitter) => emitter.on('data', (data) => got.push(String(data)))
const secure = { host: '127.0.0.1', port, ca: cert, servername: 'localhost', agent: false }
if (protocol === 'http' || protocol === 'https') {
  const request = require(protocol).get(protocol === 'http' ? { port, host: '127.0.0.1', agent: false } : secure, (response) => take(response).on('end', () => done('end')).on('error', (error) => done(error.code)))
  request.on('error', (error) => done(error.code))
} else if (protocol === 'tls') {
  take(require('tls').connect(secure)).on('end', () => done('end')).on('error', (error) => done(error.code))
} else if (protocol === 'h2c') {
  const session = require('http2').connect('http://127.0.0.1:' + port)
  session.on('error', (error) => done(error.code)).on('close', () => done('closed'))
  const stream = session.request()
  take(stream).on('error', () => {})
  stream.on('response', (headers) => got.push(headers[':status']))
} else {
  const socket = new (require(${JSON.stringify(require.resolve('ws'))}))('ws://127.0.0.1:' + port)
  socket.on('message', (data) => got.push(String(data))).on('close', (code) => done(code)).on('error', (error) => done(error.code))
}
`

interface Served {
  exit: unknown
  /** Of what the client got. */
  length: number
  hash: string
  end: string
}

async function serve(mode: Mode, node: string, source: string, protocol: string): Promise<Served> {
  const path = program(
    `const pair = JSON.parse(process.env.TEST_PAIR); const server = ${source}; server.listen(0, '127.0.0.1', () => say(server.address().port))`,
  )
  const { args, env } = command(mode)
  const server = spawn(node, [...args, path], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
  })
  const exited = once(server, 'exit')
  const [port] = (await once(server.stdout, 'data')) as [Buffer]
  const received = run('plain', program(client), {
    node,
    flags: [],
    args: [protocol, String(port).trim()],
  })
  const { stdout } = await received
  const [digest = '', length = '', end = ''] = stdout.trim().split(' ')
  // Whether the exit resets an http2 connection depends on what the client acknowledged by then.
  const stable = protocol === 'h2c' ? '' : end
  return { exit: await exited, length: Number(length), hash: digest, end: stable }
}

describe.each(nodes)('%s', (node) => {
  describe.each(Object.entries(servers))('%s', (_title, [source, protocol]) => {
    test.each(drivers)('%s: the client gets what it gets from plain Node', async (driver) => {
      const [oracle, ours] = await Promise.all([
        serve('plain', node, source, protocol),
        serve(driver, node, source, protocol),
      ])
      // What plain Node loses may arrive.
      if (oracle.length > 0) expect(ours).toEqual(oracle)
      else expect(ours.exit).toEqual(oracle.exit)
    })
  })
})

test('known bad: a server that destroys its socket before it exits is noticed', async () => {
  const [source, protocol] = servers['an http response with a body, then process.exit()']!
  const broken = source.replace(/response.end\(.*?\); process/, 'request.socket.destroy(); process')
  const node = process.execPath
  const oracle = await serve('plain', node, source, protocol)
  expect(oracle.length).toBe(30_000)
  expect(await serve('plain', node, broken, protocol)).not.toEqual(oracle)
})
