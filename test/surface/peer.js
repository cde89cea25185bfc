'use strict'

/*
 * The other end, on plain node:net in a process of its own: listens or connects as told over the IPC channel, runs the
 * source of a listener for each of its sockets, and sends back what the listener reports. Ends with its parent.
 */
const net = require('node:net')
const vm = require('node:vm')

/** What listeners, which see nothing else of here, may use. */
globalThis.net = net

process.on('disconnect', () => process.exit())
process.on('message', ({ id, source, port, host = '127.0.0.1', options = {} }) => {
  const listener = vm.runInThisContext(`(${source})`)
  const report = (value) => process.send({ id, value })
  const onSocket = (socket) => {
    socket.on('error', () => {})
    listener(socket, report)
  }
  if (port !== undefined) {
    onSocket(net.connect({ port, host, ...options }))
    return
  }
  const server = net.createServer(options, onSocket)
  server.listen(0, host, () => process.send({ id, port: server.address().port }))
})
