'use strict'

/* What observers see: async contexts in every callback, async_hooks, diagnostics channels and performance entries. */
const {
  AsyncLocalStorage,
  AsyncResource,
  createHook,
  executionAsyncId,
} = require('node:async_hooks')
const diagnostics = require('node:diagnostics_channel')
const { PerformanceObserver } = require('node:perf_hooks')
const { loopback } = require('../row')

const store = new AsyncLocalStorage()
const seenAt = (log, name) => () => log.push([name, store.getStore() ?? 'none'])

exports.theme = 'observers'
exports.rows = {
  'callbacks of a client see the store that they see on node:net': async (t) => {
    const server = t.server((socket) => socket.pipe(socket))
    const port = await t.listen(server)
    const log = []
    const lookup = (hostname, options, callback) => {
      log.push(['lookup', store.getStore() ?? 'none'])
      process.nextTick(
        callback,
        null,
        options.all ? [{ address: loopback, family: 4 }] : loopback,
        4,
      )
    }
    const socket = store.run('made', () => t.track(new t.net.Socket()))
    store.run('listeners', () => {
      const names = ['connectionAttempt', 'lookup', 'connect', 'ready', 'data', 'end', 'finish']
      for (const name of names) socket.on(name, seenAt(log, name))
      socket.on('close', seenAt(log, 'close'))
    })
    store.run('connecting', () =>
      socket.connect({ port, host: 'h', lookup }, seenAt(log, 'connect callback')),
    )
    store.run('early', () => socket.write('early', seenAt(log, 'early callback')))
    await t.once(socket, 'data')
    await new Promise((resolve) =>
      store.run('writing', () =>
        socket.write('x', () => {
          seenAt(log, 'write callback')()
          resolve()
        }),
      ),
    )
    store.run('ending', () => socket.end(seenAt(log, 'end callback')))
    await t.closed(socket)
    const unique = [...new Set(log.map((entry) => JSON.stringify(entry)))].map((text) =>
      JSON.parse(text),
    )
    return unique.sort((a, b) => (a[0] < b[0] ? -1 : 1))
  },

  'callbacks of a server and its connections see the store that they see on node:net': async (
    t,
  ) => {
    const log = []
    const server = store.run('made', () => t.server())
    store.run('listeners', () => {
      server.on('listening', seenAt(log, 'listening'))
      server.on('close', seenAt(log, 'server close'))
      server.on('connection', (socket) => {
        seenAt(log, 'connection')()
        for (const name of ['data', 'end', 'finish', 'close']) socket.on(name, seenAt(log, name))
        store.run('answering', () => socket.write('x', seenAt(log, 'write callback')))
      })
    })
    store.run('listening', () => server.listen(0, loopback, seenAt(log, 'listen callback')))
    await t.once(server, 'listening')
    const client = t.connect(t.name(server), loopback)
    client.resume()
    client.end('x')
    const [accepted] = await t.once(server, 'connection')
    await t.allClosed(client, accepted)
    store.run('closing', () => server.close(seenAt(log, 'close callback')))
    await t.allClosed(server)
    return log.sort((a, b) => (a[0] < b[0] ? -1 : 1))
  },

  'a store entered in the connection listener stays with the connection as on node:net': async (
    t,
  ) => {
    const log = []
    const server = t.server((socket) => {
      store.enterWith('entered')
      socket.on('data', seenAt(log, 'data'))
      socket.on('end', seenAt(log, 'end'))
      socket.on('close', seenAt(log, 'close'))
      process.nextTick(seenAt(log, 'tick'))
      setImmediate(seenAt(log, 'immediate'))
    })
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    client.resume()
    const [accepted] = await t.once(server, 'connection')
    client.end('data')
    await t.allClosed(accepted)
    return log.sort((a, b) => (a[0] < b[0] ? -1 : 1))
  },

  'timeouts, errors and aborted signals see the store that they see on node:net': async (t) => {
    const log = []
    const port = t.refusedPort()
    const refused = store.run('refused', () => t.connect(port, loopback))
    refused.on('error', seenAt(log, 'error'))
    refused.on('close', seenAt(log, 'close after error'))
    await t.closed(refused)
    const { client } = await t.pair()
    store.run('timing', () => client.setTimeout(10, seenAt(log, 'timeout')))
    await t.once(client, 'timeout')
    store.run('destroying', () => client.destroy(new Error('x')))
    client.on('error', seenAt(log, 'destroy error'))
    client.on('close', seenAt(log, 'destroy close'))
    await t.allClosed(client)
    return log
  },

  'AsyncResource.bind and runInAsyncScope keep their store across a socket': async (t) => {
    const { client, accepted } = await t.pair()
    const log = []
    const resource = store.run('bound', () => new AsyncResource('MINE'))
    accepted.on('data', () => resource.runInAsyncScope(seenAt(log, 'in scope')))
    accepted.on(
      'data',
      store.run('also bound', () => AsyncResource.bind(seenAt(log, 'bound'))),
    )
    client.write('x')
    await t.until(() => log.length === 2)
    return log
  },

  'an await on a socket’s event comes back to its own store': async (t) => {
    const { client, accepted } = await t.pair()
    return Promise.all(
      ['first', 'second']
        .map((name) =>
          store.run(name, async () => {
            const [data] = await t.once(accepted, 'data')
            return [name, store.getStore(), String(data)]
          }),
        )
        .concat([new Promise((resolve) => client.write('x', () => resolve('written')))]),
    )
  },

  'async_hooks: the types of the resources of a connection': async (t) => {
    const types = []
    const hook = createHook({ init: (id, type) => types.push(type) })
    hook.enable()
    const server = t.server((socket) => socket.end('x'))
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    client.end('y')
    client.resume()
    await t.closed(client)
    hook.disable()
    const sockets = types.filter((type) => /WRAP|STREAM|TCP|PIPE/.test(type))
    const counts = {}
    for (const type of sockets) counts[type] = (counts[type] ?? 0) + 1
    return Object.entries(counts).sort()
  },

  'async_hooks: each callback runs in a resource that was announced and not yet destroyed': async (
    t,
  ) => {
    const alive = new Set()
    const destroyed = new Set()
    const strays = []
    const hook = createHook({
      init: (id) => alive.add(id),
      before: (id) => destroyed.has(id) && strays.push(id),
      destroy: (id) => destroyed.add(id),
    })
    hook.enable()
    const server = t.server((socket) => socket.pipe(socket))
    const port = await t.listen(server)
    const client = t.connect(port, loopback)
    let isKnown = true
    client.on('data', () => (isKnown &&= alive.has(executionAsyncId())))
    client.end('data', () => (isKnown &&= executionAsyncId() > 0))
    await t.closed(client)
    await t.turns()
    hook.disable()
    return { isKnown, strays: strays.length > 0 ? 'some' : 'none' }
  },

  'async_hooks: the trigger of a connection is its server': async (t) => {
    const server = t.server()
    const inits = new Map()
    const hook = createHook({ init: (id, type, trigger) => inits.set(id, { type, trigger }) })
    hook.enable()
    const port = await t.listen(server)
    t.connect(port, loopback)
    const [accepted] = await t.once(server, 'connection')
    hook.disable()
    const { trigger } = inits.get(accepted._handle.getAsyncId()) ?? {}
    return { type: inits.get(trigger)?.type ?? 'unknown' }
  },

  'async_hooks: 0 and 1 are the ids outside and the handle’s inside its data event': async (t) => {
    const { client, accepted } = await t.pair()
    const seen = []
    accepted.on('data', () => seen.push(executionAsyncId() === accepted._handle.getAsyncId()))
    client.write('x')
    await t.until(() => seen.length === 1)
    return seen
  },

  'diagnostics channels tell of client and server sockets': async (t) => {
    const log = []
    const onClient = ({ socket }) => log.push(['client', socket instanceof t.net.Socket])
    const onServer = ({ socket }) => log.push(['server', socket instanceof t.net.Socket])
    diagnostics.subscribe('net.client.socket', onClient)
    diagnostics.subscribe('net.server.socket', onServer)
    try {
      const server = t.server(() => log.push(['listener']))
      const port = await t.listen(server)
      const client = t.connect(port, loopback)
      await t.once(client, 'connect')
      await t.until(() => server._connections === 1)
      await t.turns(2)
      const other = t.track(new t.net.Socket())
      other.connect(port, loopback)
      await t.until(() => server._connections === 2)
      await t.turns(2)
    } finally {
      diagnostics.unsubscribe('net.client.socket', onClient)
      diagnostics.unsubscribe('net.server.socket', onServer)
    }
    return log
  },

  'diagnostics channels tell of listening and of its errors': async (t) => {
    const log = []
    const subscribers = {}
    for (const phase of ['asyncStart', 'asyncEnd', 'error', 'start', 'end']) {
      subscribers[phase] = (message) =>
        log.push([phase, Object.keys(message).sort(), message.error?.code ?? 'none'])
      diagnostics.subscribe(`tracing:net.server.listen:${phase}`, subscribers[phase])
    }
    try {
      const server = t.server()
      const port = await t.listen(server)
      const other = t.server()
      other.listen(port, loopback)
      await t.once(other, 'error')
      const path = t.server()
      path.listen(t.path())
      await t.once(path, 'listening')
    } finally {
      for (const [phase, subscriber] of Object.entries(subscribers)) {
        diagnostics.unsubscribe(`tracing:net.server.listen:${phase}`, subscriber)
      }
    }
    return log
  },

  'performance entries tell of connects': async (t) => {
    const entries = []
    const observer = new PerformanceObserver((list) => entries.push(...list.getEntries()))
    observer.observe({ entryTypes: ['net'] })
    const { client } = await t.pair()
    const path = await t.pair({ path: t.path() })
    await t.until(() => entries.length >= 1)
    await t.turns()
    observer.disconnect()
    client.destroy()
    path.client.destroy()
    return entries.map(({ name, entryType, detail, duration }) => ({
      name,
      entryType,
      detail,
      timed: duration >= 0,
    }))
  },

  'active resources name sockets and servers': async (t) => {
    const before = process.getActiveResourcesInfo().sort()
    const { server } = await t.pair()
    const during = process.getActiveResourcesInfo().sort()
    server.close()
    for (const type of before) {
      const index = during.indexOf(type)
      if (index >= 0) during.splice(index, 1)
    }
    return during.filter((type) => /TCP|PIPE|Wrap/i.test(type))
  },
}
