'use strict'

/* The module itself: what it exports and what its two classes are to programs that extend, wrap and inspect them. */
const { Duplex } = require('node:stream')
const { pathToFileURL } = require('node:url')
const util = require('node:util')
const { loopback } = require('../row')

/** Every name on an object and what it inherits, up to Object's. */
function namesOf(object) {
  const names = new Set()
  for (let at = object; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name)
  }
  return [...names].sort()
}

/** What of Node's names an object lacks. Oracle: nothing. */
function lacking(names, object) {
  return names.filter((name) => !(name in object))
}

exports.theme = 'the module'
exports.rows = {
  'every export of node:net is there, with the same type': async ({ net, nodeNet }) =>
    Object.keys(nodeNet).map((name) => [name, typeof net[name]]),

  'import finds every export of node:net, by name and as a default': async (t) => {
    const url = t.module.startsWith('/') ? pathToFileURL(t.module).href : t.module
    const [ours, nodes] = await Promise.all([import(url), import('node:net')])
    return {
      named: lacking(Object.keys(nodes), ours),
      default: lacking(Object.keys(nodes.default), ours.default ?? {}),
    }
  },

  'exported functions have the names of node:net': async ({ net, nodeNet }) =>
    Object.keys(nodeNet)
      .filter((name) => typeof nodeNet[name] === 'function')
      .map((name) => [name, net[name]?.name]),

  'exported functions that validate nothing themselves take as many arguments': async ({ net }) =>
    ['connect', 'createConnection', 'createServer', 'Server', 'Socket', 'isIP', 'isIPv4'].map(
      (name) => [name, net[name]?.length],
    ),

  '_normalizeArgs reads all forms of connect’s arguments': async ({ net }) => {
    const callback = () => {}
    const forms = [
      [],
      [80],
      [80, callback],
      [80, 'host', callback],
      ['/path'],
      ['/path', callback],
      ['81', 'host'],
      [{ port: 1, host: 'h' }, callback],
      [{ path: '/p' }],
      [undefined, callback],
    ]
    return forms.map((args) => {
      const [options, found, ...rest] = net._normalizeArgs(args)
      return [options, found === callback ? 'callback' : found, rest.length]
    })
  },

  'Stream is Socket, and createConnection is connect': async ({ net }) => [
    net.Stream === net.Socket,
    net.createConnection === net.connect,
  ],

  'Socket and Server can be called without new': async (t) => {
    const server = t.track(t.net.Server((socket) => socket.end('called')))
    const port = await t.listen(server)
    const socket = t.track(t.net.Socket({ allowHalfOpen: true }))
    socket.connect(port, loopback)
    const text = await t.received(socket)
    socket.end()
    return {
      instances: [server instanceof t.net.Server, socket instanceof t.net.Socket],
      allowHalfOpen: socket.allowHalfOpen,
      text,
    }
  },

  'util.inherits makes a working socket class': async (t) => {
    function Mine(options) {
      t.net.Socket.call(this, options)
      this.mine = true
    }
    util.inherits(Mine, t.net.Socket)
    const port = await t.listen(t.server((socket) => socket.pipe(socket)))
    const socket = t.track(new Mine({ readableHighWaterMark: 100 }))
    socket.connect({ port, host: loopback })
    socket.end('there and back')
    const text = await t.received(socket)
    const { mine, readableHighWaterMark } = socket
    const kinds = [socket instanceof Mine, socket instanceof t.net.Socket, socket instanceof Duplex]
    return { text, mine, readableHighWaterMark, kinds }
  },

  'util.inherits makes a working server class': async (t) => {
    function Mine(listener) {
      t.net.Server.call(this, { allowHalfOpen: true }, listener)
    }
    util.inherits(Mine, t.net.Server)
    const server = t.track(new Mine((socket) => socket.end(`open ${socket.allowHalfOpen}`)))
    const port = await t.listen(server)
    const socket = t.connect(port, loopback)
    return { text: await t.received(socket), kind: server instanceof t.net.Server }
  },

  'class extends makes working sockets and servers': async (t) => {
    class MyServer extends t.net.Server {
      greet(socket) {
        socket.end('hello')
      }
    }
    class MySocket extends t.net.Socket {
      lines = []
      constructor() {
        super({ writableHighWaterMark: 7 })
        this.on('data', (data) => this.lines.push(String(data)))
      }
      connect(...args) {
        this.lines.push('connect')
        return super.connect(...args)
      }
    }
    const server = t.track(new MyServer())
    server.on('connection', (socket) => server.greet(socket))
    const port = await t.listen(server)
    const socket = t.track(new MySocket())
    socket.connect(port, loopback)
    await t.closed(socket)
    return { lines: socket.lines, highWaterMark: socket.writableHighWaterMark }
  },

  'sockets and servers are instances of this module’s classes and of node:net’s': async (t) => {
    const { client, accepted, server } = await t.pair()
    return [client, accepted].map((socket) => [
      socket instanceof t.net.Socket,
      socket instanceof t.net.Stream,
      socket instanceof t.nodeNet.Socket,
      socket instanceof Duplex,
      socket.constructor === t.net.Socket,
      socket.constructor.name,
      server instanceof t.net.Server && server instanceof t.nodeNet.Server,
    ])
  },

  'sockets a server drops or filters through its own path are instances too': async (t) => {
    const server = t.server()
    server.maxConnections = 5
    const port = await t.listen(server)
    t.connect(port, loopback)
    const [socket] = await t.once(server, 'connection')
    return [socket instanceof t.net.Socket, socket.constructor === t.net.Socket]
  },

  'the classes have every property that Node’s have': async ({ net, nodeNet }) => ({
    socket: lacking(namesOf(nodeNet.Socket.prototype), net.Socket.prototype),
    server: lacking(namesOf(nodeNet.Server.prototype), net.Server.prototype),
    statics: lacking(Object.getOwnPropertyNames(nodeNet.Socket), net.Socket),
  }),

  'sockets and servers have the own keys of node:net’s, and no others': async (t) => {
    const { client, accepted, server } = await t.pair()
    const fresh = new t.net.Socket()
    const keysOf = (object) => Object.keys(object).sort()
    // net.js's connect() gives a socket of another class an own `write`: what its class has.
    const connected = keysOf(client).filter((key) => key !== 'write')
    return [keysOf(fresh), connected, keysOf(accepted), keysOf(server)]
  },

  'sockets and servers have the listeners of node:net’s, and no others': async (t) => {
    const server = t.net.createServer()
    const accepting = t.once(server, 'connection')
    const port = await t.listen(server)
    const client = t.net.connect(port, loopback)
    const [[accepted]] = await Promise.all([accepting, t.once(client, 'connect')])
    t.onOver(() => [client.destroy(), accepted.destroy(), server.close()])
    return [new t.net.Socket(), client, accepted, server, new t.net.Server()].map((emitter) =>
      emitter
        .eventNames()
        .map((name) => [String(name), emitter.listenerCount(name)])
        .sort(),
    )
  },

  'sockets and servers are inspected under the same names': async (t) => {
    const { client, server } = await t.pair()
    const nameOf = (object) => util.inspect(object, { depth: 0 }).split(' ', 1)[0]
    return [nameOf(client), nameOf(server), String(client), Object.prototype.toString.call(server)]
  },

  'methods wrapped on the prototypes are the ones that run': async (t) => {
    const { net } = t
    const calls = []
    const wrapped = [
      [net.Socket.prototype, 'connect'],
      [net.Socket.prototype, 'write'],
      [net.Socket.prototype, 'end'],
      [net.Socket.prototype, 'setTimeout'],
      [net.Server.prototype, 'listen'],
      [net.Server.prototype, 'close'],
    ].map(([prototype, name]) => {
      const descriptor = Object.getOwnPropertyDescriptor(prototype, name)
      const { [name]: genuine } = prototype
      prototype[name] = function (...args) {
        calls.push(name)
        return genuine.apply(this, args)
      }
      return () => {
        if (descriptor) Object.defineProperty(prototype, name, descriptor)
        else delete prototype[name]
      }
    })
    try {
      const server = t.server((socket) => socket.resume())
      const port = await t.listen(server)
      const client = t.connect({ port, host: loopback, timeout: 5000 })
      client.write('x')
      client.end()
      client.resume()
      await t.closed(client)
      server.close()
    } finally {
      for (const undo of wrapped) undo()
    }
    return calls
  },

  'the default of autoSelectFamily is set and read, and bad values are refused': async (t) => {
    const { net } = t
    const before = [
      net.getDefaultAutoSelectFamily(),
      net.getDefaultAutoSelectFamilyAttemptTimeout(),
    ]
    net.setDefaultAutoSelectFamily(false)
    net.setDefaultAutoSelectFamilyAttemptTimeout(3)
    const after = [net.getDefaultAutoSelectFamily(), net.getDefaultAutoSelectFamilyAttemptTimeout()]
    net.setDefaultAutoSelectFamily(before[0])
    net.setDefaultAutoSelectFamilyAttemptTimeout(before[1])
    const refused = [
      t.thrown(() => net.setDefaultAutoSelectFamily('yes')),
      t.thrown(() => net.setDefaultAutoSelectFamilyAttemptTimeout(0)),
      t.thrown(() => net.setDefaultAutoSelectFamilyAttemptTimeout('x')),
    ]
    return { before, after, refused }
  },

  'addresses are recognised': async ({ net }) =>
    ['127.0.0.1', '::1', '::ffff:1.2.3.4', 'fe80::1%lo', '256.1.1.1', '', 'localhost'].map(
      (text) => [text, net.isIP(text), net.isIPv4(text), net.isIPv6(text)],
    ),

  'BlockList and SocketAddress are Node’s': async ({ net, nodeNet }) => {
    const list = new net.BlockList()
    list.addSubnet('10.0.0.0', 8)
    list.addRange('::1', '::5', 'ipv6')
    const address = new net.SocketAddress({ address: '::1', family: 'ipv6', port: 5 })
    return {
      same: [net.BlockList === nodeNet.BlockList, net.SocketAddress === nodeNet.SocketAddress],
      rules: list.rules,
      checks: [list.check('10.1.2.3'), list.check('11.1.2.3'), list.check(address)],
      json: { address: address.address, family: address.family, port: address.port },
    }
  },

  '_createServerHandle gives a handle that a server can listen on': async (t) => {
    const handle = t.net._createServerHandle(loopback, 0, 4)
    const server = t.server((socket) => socket.end('on a handle'))
    server.listen(handle)
    await t.once(server, 'listening')
    const client = t.connect(t.name(server), loopback)
    return { text: await t.received(client), address: server.address() }
  },

  'a property that a test replaces on the module is used by those who read it there': async (t) => {
    const { net } = t
    const descriptor = Object.getOwnPropertyDescriptor(net, 'connect')
    return { writable: descriptor.writable, configurable: descriptor.configurable }
  },
}
