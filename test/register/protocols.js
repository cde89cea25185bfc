'use strict'

/*
 * A server and a client of every protocol, as programs of their own: `protocols.js server` answers on each, `protocols.js
 * client` talks to it. Both say what the driver of their process has received and sent so far; without register that is
 * nothing. Neither knows of register.
 */

const http = require('node:http')
const https = require('node:https')
const http2 = require('node:http2')
const net = require('node:net')
const tls = require('node:tls')
const { WebSocket, WebSocketServer } = require('ws')

const { key, cert } = JSON.parse(process.env.TEST_PAIR ?? '{}')
/** A small one, which may go the short way, and one that may not. */
const bodies = ['x'.repeat(500), 'y'.repeat(50_000)]
const secure = { ca: cert, servername: 'localhost' }

function bytes() {
  if (process.env.TEST_MODE === 'plain') return { opened: 0, sent: 0 }
  const { opened = 0, bytesSent = 0 } = require(process.env.TEST_LIBRARY).driver.stats()
  return { opened, sent: bytesSent }
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

const viaSocket = (socket, body, then) => {
  collect(socket, then)
  socket.end(body)
}
const viaRequest = (module, options, body, then) => {
  const request = module.request({ method: 'POST', agent: false, ...options }, (response) =>
    collect(response, then),
  )
  request.end(body)
}
const viaSession = (session, body, then) => {
  const stream = session.request({ ':method': 'POST' })
  collect(stream, (text) => {
    session.close()
    then(text)
  })
  stream.end(body)
}
const viaWebSocket = (Class, port, body, then) => {
  const socket = new Class(`ws://127.0.0.1:${port}`)
  socket.onopen = () => socket.send(body)
  socket.onmessage = ({ data }) => {
    socket.close()
    then(data)
  }
}
const viaFetch = async (url, body, then) => {
  const response = await fetch(url, { method: 'POST', body, headers: { connection: 'close' } })
  then(await response.text())
}

/** Who talks, by name: the protocol of the server, and what to do with its port. */
const clients = {
  'net.connect': [
    'net',
    (port, body, then) => viaSocket(net.connect(port, '127.0.0.1'), body, then),
  ],
  'net.connect to a name': [
    'net',
    (port, body, then) => viaSocket(net.connect(port, 'localhost'), body, then),
  ],
  'new net.Socket()': [
    'net',
    (port, body, then) => viaSocket(new net.Socket().connect(port, '127.0.0.1'), body, then),
  ],
  'tls.connect': [
    'tls',
    (port, body, then) =>
      viaSocket(tls.connect({ port, host: '127.0.0.1', ...secure }), body, then),
  ],
  'tls.connect over a socket': [
    'tls',
    (port, body, then) =>
      viaSocket(tls.connect({ socket: net.connect(port, '127.0.0.1'), ...secure }), body, then),
  ],
  'http.request': [
    'http',
    (port, body, then) => viaRequest(http, { port, host: '127.0.0.1' }, body, then),
  ],
  'http.request with an agent that keeps alive': [
    'http',
    (port, body, then) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      viaRequest(http, { port, host: '127.0.0.1', agent }, body, () =>
        viaRequest(http, { port, host: '127.0.0.1', agent }, body, (text) => {
          agent.destroy()
          then(text)
        }),
      )
    },
  ],
  'https.request': [
    'https',
    (port, body, then) => viaRequest(https, { port, host: '127.0.0.1', ...secure }, body, then),
  ],
  'http2.connect, plain': [
    'h2c',
    (port, body, then) => viaSession(http2.connect(`http://127.0.0.1:${port}`), body, then),
  ],
  'http2.connect, secure': [
    'h2',
    (port, body, then) =>
      viaSession(http2.connect(`https://127.0.0.1:${port}`, secure), body, then),
  ],
  'https.request to an http2 server': [
    'h2',
    (port, body, then) => viaRequest(https, { port, host: '127.0.0.1', ...secure }, body, then),
  ],
  fetch: ['http', (port, body, then) => viaFetch(`http://127.0.0.1:${port}/`, body, then)],
  'fetch, secure': [
    'https',
    (port, body, then) => viaFetch(`https://localhost:${port}/`, body, then),
  ],
  'WebSocket of the package ws': [
    'ws',
    (port, body, then) => viaWebSocket(WebSocket, port, body, then),
  ],
  'WebSocket of Node': [
    'ws',
    (port, body, then) => viaWebSocket(globalThis.WebSocket ?? WebSocket, port, body, then),
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
  process.on('message', (message) => {
    if (message === 'bytes') return process.send(bytes())
    const { name, ports } = message
    const [protocol, act] = clients[name]
    const next = ([body, ...rest]) => {
      if (body === undefined) return process.send(true)
      act(ports[protocol], body, (text) => (text === body ? next(rest) : process.send(false)))
    }
    next(bodies)
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
