'use strict'

/*
 * A server and a client of every protocol, as programs of their own: `protocols.js server` answers on each, `protocols.js
 * client` talks to it. Both say for each exchange how many bytes the driver of their process carried meanwhile; without
 * register that is none. Neither knows of register.
 */

const http = require('node:http')
const https = require('node:https')
const http2 = require('node:http2')
const net = require('node:net')
const tls = require('node:tls')
const { WebSocket, WebSocketServer } = require('ws')

const { key, cert } = JSON.parse(process.env.TEST_PAIR ?? '{}')
const body = 'x'.repeat(50_000)
const secure = { ca: cert, servername: 'localhost' }

function bytes() {
  if (process.env.TEST_MODE === 'plain') return 0
  const { bytesSent = 0, bytesReceived = 0 } = require(process.env.TEST_LIBRARY).driver.stats()
  return Math.min(bytesSent, bytesReceived)
}

function collect(stream, then) {
  let text = ''
  stream.setEncoding('utf8')
  stream.on('data', (data) => (text += data))
  stream.on('end', () => then(text))
}

const answer = (request, response) => collect(request, (text) => response.end(text))
const echo = (socket) => socket.pipe(socket)

/** What listens, by protocol. */
const servers = {
  net: () => net.createServer({ allowHalfOpen: true }, echo),
  tls: () => tls.createServer({ key, cert, allowHalfOpen: true }, echo),
  http: () => http.createServer(answer),
  https: () => https.createServer({ key, cert }, answer),
  h2c: () => http2.createServer(answer),
  h2: () => http2.createSecureServer({ key, cert, allowHTTP1: true }, answer),
  ws: () => {
    const server = http.createServer()
    new WebSocketServer({ server }).on('connection', (socket) =>
      socket.on('message', (data) => socket.send(String(data))),
    )
    return server
  },
}

const viaSocket = (socket, then) => {
  collect(socket, then)
  socket.end(body)
}
const viaRequest = (module, options, then) => {
  const request = module.request({ method: 'POST', agent: false, ...options }, (response) =>
    collect(response, then),
  )
  request.end(body)
}
const viaSession = (session, then) => {
  const stream = session.request({ ':method': 'POST' })
  collect(stream, (text) => {
    session.close()
    then(text)
  })
  stream.end(body)
}
const viaWebSocket = (Class, port, then) => {
  const socket = new Class(`ws://127.0.0.1:${port}`)
  socket.onopen = () => socket.send(body)
  socket.onmessage = ({ data }) => {
    socket.close()
    then(data)
  }
}
const viaFetch = async (url, then) => {
  const response = await fetch(url, { method: 'POST', body, headers: { connection: 'close' } })
  then(await response.text())
}

/** Who talks, by name: the protocol of the server, and what to do with its port. */
const clients = {
  'net.connect': ['net', (port, then) => viaSocket(net.connect(port, '127.0.0.1'), then)],
  'net.connect to a name': ['net', (port, then) => viaSocket(net.connect(port, 'localhost'), then)],
  'new net.Socket()': [
    'net',
    (port, then) => viaSocket(new net.Socket().connect(port, '127.0.0.1'), then),
  ],
  'tls.connect': [
    'tls',
    (port, then) => viaSocket(tls.connect({ port, host: '127.0.0.1', ...secure }), then),
  ],
  'tls.connect over a socket': [
    'tls',
    (port, then) =>
      viaSocket(tls.connect({ socket: net.connect(port, '127.0.0.1'), ...secure }), then),
  ],
  'http.request': ['http', (port, then) => viaRequest(http, { port, host: '127.0.0.1' }, then)],
  'http.request with an agent that keeps alive': [
    'http',
    (port, then) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      viaRequest(http, { port, host: '127.0.0.1', agent }, () =>
        viaRequest(http, { port, host: '127.0.0.1', agent }, (text) => {
          agent.destroy()
          then(text)
        }),
      )
    },
  ],
  'https.request': [
    'https',
    (port, then) => viaRequest(https, { port, host: '127.0.0.1', ...secure }, then),
  ],
  'http2.connect, plain': [
    'h2c',
    (port, then) => viaSession(http2.connect(`http://127.0.0.1:${port}`), then),
  ],
  'http2.connect, secure': [
    'h2',
    (port, then) => viaSession(http2.connect(`https://127.0.0.1:${port}`, secure), then),
  ],
  'https.request to an http2 server': [
    'h2',
    (port, then) => viaRequest(https, { port, host: '127.0.0.1', ...secure }, then),
  ],
  fetch: ['http', (port, then) => viaFetch(`http://127.0.0.1:${port}/`, then)],
  'fetch, secure': ['https', (port, then) => viaFetch(`https://localhost:${port}/`, then)],
  'WebSocket of the package ws': ['ws', (port, then) => viaWebSocket(WebSocket, port, then)],
  'WebSocket of Node': [
    'ws',
    (port, then) => viaWebSocket(globalThis.WebSocket ?? WebSocket, port, then),
  ],
}

exports.names = Object.keys(clients)

function serve() {
  const ports = {}
  const names = Object.keys(servers)
  for (const name of names) {
    const server = servers[name]()
    // fetch asks for localhost, which may be either.
    server.listen(0, () => {
      ports[name] = server.address().port
      if (Object.keys(ports).length === names.length) process.send(ports)
    })
  }
  process.on('message', () => process.send(bytes()))
  process.on('disconnect', () => process.exit())
}

function talk() {
  process.on('message', ({ name, ports }) => {
    const [protocol, act] = clients[name]
    const before = bytes()
    act(ports[protocol], (text) => {
      // What closes is not counted.
      setImmediate(() => process.send({ isWhole: text === body, bytes: bytes() - before }))
    })
  })
  process.on('disconnect', () => process.exit())
}

if (require.main === module) {
  process.on('warning', (warning) => {
    throw warning
  })
  if (process.argv[2] === 'server') serve()
  else talk()
}
