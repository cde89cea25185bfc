'use strict'

/*
 * A client of each protocol, on the node:net of whoever requires it. Knows when it is up, what it got and how it ended, and
 * tells; keeps nothing.
 */
const net = require('node:net')

/** Ways to ask and to listen, by protocol. Each returns `ask`, and calls `up`, `got(bytes)` and `over(how)`. */
const protocols = {
  net: (options, events) => overSocket(net.connect(options.target), 'connect', options, events),
  tls(options, events) {
    const { target, ca } = options
    const socket = require('node:tls').connect({ ...target, ca, servername: 'localhost' })
    return overSocket(socket, 'secureConnect', options, events)
  },
  http(options, events) {
    const request = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
    return overSocket(net.connect(options.target), 'connect', { ...options, request }, events)
  },
  ws({ target, ws, request }, { up, got, over }) {
    const { WebSocket } = require(ws)
    const socket = new WebSocket(`ws://127.0.0.1:${target.port}`)
    let how = 'end'
    socket.on('open', up)
    socket.on('message', got)
    socket.on('error', (error) => (how = error.code))
    socket.on('close', () => over(how))
    return { ask: () => socket.send(request), close: () => socket.terminate() }
  },
}

function overSocket(socket, opened, { request, actions = [], isPaused }, { up, got, over }) {
  let how = 'no end'
  socket.setNoDelay?.()
  socket.on(opened, up)
  if (isPaused) socket.pause()
  else socket.on('data', got)
  socket.on('end', () => (how = 'end'))
  socket.on('error', (error) => (how = error.code))
  socket.on('close', () => over(how))
  const perform = {
    ask: () => socket.write(request),
    end: () => socket.end(),
    destroy: () => socket.destroy(),
    reset: () => socket.resetAndDestroy(),
  }
  return {
    ask() {
      if (actions.length === 0) perform.ask()
      for (const action of actions) perform[action]()
    },
    close: () => socket.destroy(),
    read: () => socket.on('data', got).resume(),
  }
}

module.exports = { protocols }
