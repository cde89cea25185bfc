'use strict'

/* What rows of http, https, http2 and tls share: a server of the mode, a request with its response, a certificate. */
const { join } = require('node:path')
const { loopback, shape } = require('./row')

const { createCertificate } = require(
  join(__dirname, '..', '..', 'dist', 'examples', 'demo', 'certificate.js'),
)

let certificate
const pair = () => (certificate ??= createCertificate(['localhost']))

/** A server of http, https, http2 or tls in the mode, listening. */
async function serve(t, server, options) {
  t.track(t.attach(server))
  server.on('connection', (socket) => socket.on('error', () => {}))
  const port = await t.listen(server, options)
  return { server, port }
}

/** A request and its whole response. */
function ask(t, options, body) {
  return new Promise((resolve) => {
    const { protocol = 'http:', agent, ...rest } = options
    const secure = protocol === 'https:'
    const chosen = agent ?? (secure ? t.httpsAgent({}) : t.httpAgent({}))
    const request = (secure ? t.https : t.http).request({ host: loopback, agent: chosen, ...rest })
    request.on('error', (error) => resolve({ error: shape(error) }))
    request.on('response', (response) => {
      let text = ''
      response.on('data', (data) => (text += data))
      response.on('error', (error) => resolve({ text: text.length, error: shape(error) }))
      response.on('end', () => {
        const { statusCode, headers } = response
        const { connection } = headers
        resolve({ statusCode, connection, text, reused: request.reusedSocket })
      })
    })
    request.end(body)
  })
}

function text(stream) {
  return new Promise((resolve, reject) => {
    let whole = ''
    stream.on('data', (data) => (whole += data))
    stream.on('end', () => resolve(whole))
    stream.on('error', reject)
  })
}

const namesOf = (socket) => [
  socket.remoteAddress,
  socket.remoteFamily,
  typeof socket.remotePort,
  socket.localAddress,
  typeof socket.localPort,
]

module.exports = { ask, namesOf, pair, serve, text }
