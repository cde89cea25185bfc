/**
 * Sockets in programs that use domains, that have a global named `domain`, that are an argument of -e or typed into the REPL:
 * they live, and each handler runs in the domain that it runs in on node:net.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

/** With all semicolons: the REPL gets it as one line. */
const exchange = `
const exchange = (place) => new Promise((resolve) => {
  const server = net.createServer((socket) => socket.end('x'));
  listen(server, place).then((target) => { const socket = net.connect(target); socket.resume(); socket.on('close', () => { server.close(); resolve('fine') }) });
});
const all = async () => [await exchange('TCP'), await exchange('Unix')];
`
const both = ['fine', 'fine']

const throwing = `
const domain = require('node:domain')
const names = (active) => active ? active.name : 'none'
const play = async (place, event) => {
  const log = []
  const make = (name) => { const made = domain.create(); made.name = name; made.on('error', (error) => log.push(name + ' got ' + error.message)); return made }
  const servers = make('servers'), clients = make('clients'), added = make('added')
  const server = servers.run(() => net.createServer((socket) => {
    socket.on('error', () => {})
    log.push('connection in ' + names(process.domain))
    socket.on('data', (data) => { log.push('data in ' + names(process.domain)); socket.end(data) })
  }))
  const target = await listen(server, place)
  await new Promise((resolve) => {
    clients.run(() => {
      const socket = net.connect(target)
      socket.on('error', () => {})
      const fail = (where) => { log.push(where + ' in ' + names(process.domain)); if (where === event) setImmediate(resolve), (() => { throw new Error(where) })() }
      for (const name of ['connect', 'data', 'end', 'finish', 'close']) socket.on(name, () => fail(name))
      socket.on('connect', () => socket.write('x', () => fail('written')))
      socket.on('close', () => setImmediate(resolve))
      if (event === 'added') { added.add(socket); socket.on('data', () => { throw new Error('added') }) }
    })
  })
  server.close()
  return log
}
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) for (const event of ['none', 'connect', 'data', 'end', 'written', 'close', 'added']) results[place + ' ' + event] = await play(place, event)
  done(results)
}
main()`

const withDomain = `const domain_ = require('node:domain').create(); domain_.on('error', (error) => say(error.message)); ${exchange} all().then(done)`

scenes({
  'a handler runs in its domain, and what it throws the domain is told': { source: throwing },
  'a global named domain that is no domain': {
    source: `globalThis.domain = 'example.test'; ${withDomain}`,
    expected: both,
  },
  'the argument of -e, with a domain': { source: withDomain, by: 'eval', expected: both },
  'typed into the REPL, with a domain': { source: withDomain, by: 'repl', expected: both },
})
