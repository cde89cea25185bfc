/*
 * Run in a folder where the package is installed: plain, TLS and HTTP/2 sockets carry bytes on the
 * driver that the process has, which must be one of the addon's. Prints the driver's name.
 */
'use strict'

const { createRequire } = require('node:module')
const { join } = require('node:path')
const http2 = require('node:http2')
const tls = require('node:tls')

const require_ = createRequire(join(process.cwd(), 'main.js'))
const net = require_('uring-net')
const installed = join(require_.resolve('uring-net/package.json'), '..')
// The key that the conformance suite brings.
const { key, cert } = require(join(installed, 'dist/test/compat/subjects/certificate.js'))

const bytes = Buffer.alloc(1 << 20, 'uring-net ')

async function main() {
  const { name, reason } = net.driver
  if (name === 'node') throw new Error(`no driver: ${reason}`)
  await echo(net.createServer(pipe), (port) => net.connect(port, '127.0.0.1'))
  const server = net.attach(tls.createServer({ key, cert }, pipe))
  await echo(server, (port) => tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }))
  await overHttp2()
  console.log(`net, TLS and HTTP/2 on ${name} (${process.arch})`)
}

function pipe(socket) {
  socket.pipe(socket)
}

async function listening(server) {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server.address().port
}

async function echo(server, connect) {
  const socket = connect(await listening(server))
  socket.end(bytes)
  const chunks = []
  for await (const chunk of socket) chunks.push(chunk)
  if (!Buffer.concat(chunks).equals(bytes)) throw new Error('other bytes came back')
  server.close()
}

async function overHttp2() {
  const server = net.attach(http2.createServer((request, response) => response.end(bytes)))
  const session = http2.connect(`http://127.0.0.1:${await listening(server)}`)
  const chunks = []
  for await (const chunk of session.request()) chunks.push(chunk)
  if (!Buffer.concat(chunks).equals(bytes)) throw new Error('other bytes came over HTTP/2')
  session.close()
  server.close()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
