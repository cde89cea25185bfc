/**
 * Arguments that are odd or wrong: what listen() and connect() take, refuse and say about it is what node:net takes, refuses
 * and says.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

const odd = `
const shape = (error) => [error.name, error.code, error.syscall, error.message.replaceAll(process.env.TEST_DIRECTORY, 'D').replace(/\\d{4,}/g, 'N')].join(' | ')
const described = (value) => { try { return JSON.stringify(value) + ' ' + String(value) } catch { return typeof value } }
/** How it ends: what it throws, or the first of these events. */
const outcome = (make, ...names) => new Promise((resolve) => {
  let made
  const finish = (what) => { made?.destroy?.(); if (made?.listening) made.close(); resolve(what) }
  try { made = make() } catch (error) { return resolve('throws ' + shape(error)) }
  for (const name of names) made.once(name, () => finish(name))
  made.once('error', (error) => finish('error ' + shape(error)))
})
const path = (name) => require('node:path').join(process.env.TEST_DIRECTORY, name)
/** Names nothing else: padded, so that shape() knows it for a number however small the process id is. */
const own = String(process.pid).padStart(7, '0')
`

const listening = `${odd}
const values = ['100', '', 'x', true, false, 1.5, 2 ** 31, 2 ** 53, -1, 0, null, undefined, NaN, Infinity, {}, []]
const main = async () => {
  const results = {}
  const tryListen = async (title, ...args) => { results[title] = await outcome(() => net.createServer().listen(...args), 'listening') }
  for (const value of values) {
    await tryListen('backlog of a port ' + described(value), { port: 0, host: '127.0.0.1', backlog: value })
    await tryListen('backlog without a host ' + described(value), { port: 0, backlog: value })
    await tryListen('backlog of a path ' + described(value), { path: path('b'), backlog: value })
    await tryListen('backlog as an argument ' + described(value), 0, '127.0.0.1', value)
    await tryListen('port ' + described(value), { port: value, host: '127.0.0.1', ...(value === '100' ? { port: '0' } : {}) })
    await tryListen('path ' + described(value), { path: value })
    await tryListen('fd ' + described(value), { fd: value === 0 || value === '100' ? 9999 : value })
    await tryListen('exclusive ' + described(value), { port: 0, host: '127.0.0.1', exclusive: value, ipv6Only: value })
  }
  for (const name of ['a\\0b', '\\0uring-net ' + own, '\\0', 'x'.repeat(300), '']) {
    await tryListen('path named ' + JSON.stringify(name).slice(0, 20).replace(/ .*/, ''), { path: name.startsWith('\\0') || name === '' ? name : path(name) })
    await tryListen('host named ' + JSON.stringify(name).slice(0, 20).replace(/ .*/, ''), { port: 0, host: name })
  }
  for (const options of [{}, { port: null }, { host: '127.0.0.1' }, { port: 0, path: path('p') }, { handle: {} }, { handle: null }]) await tryListen(JSON.stringify(options).replaceAll(process.env.TEST_DIRECTORY, 'D'), options)
  done(results)
}
main()`

const connecting = `${odd}
const values = ['0', 'x', '', true, false, 1.5, -1, 65536, 2 ** 53, null, undefined, NaN, {}, []]
const main = async () => {
  const server = net.createServer((socket) => socket.on('error', () => {}).end())
  const target = await listen(server, 'TCP')
  const results = {}
  const tryConnect = async (title, options) => { results[title] = await outcome(() => net.connect(options), 'connect') }
  for (const value of values) {
    await tryConnect('localPort ' + described(value), { ...target, localPort: value })
    await tryConnect('localAddress ' + described(value), { ...target, localAddress: value })
    if (![false, null, undefined].includes(value)) await tryConnect('port ' + described(value), { ...target, port: value === '0' ? '1' : value })
    await tryConnect('path ' + described(value), { path: value, port: target.port, host: '127.0.0.1' })
    await tryConnect('family ' + described(value), { ...target, family: value })
    await tryConnect('noDelay and keepAlive ' + described(value), { ...target, noDelay: value, keepAlive: value, keepAliveInitialDelay: value })
    await tryConnect('timeout ' + described(value), { ...target, timeout: value })
    await tryConnect('lookup ' + described(value), { port: target.port, host: 'localhost', lookup: value })
  }
  for (const name of ['a\\0b', '\\0uring-net nobody ' + own, '\\0', 'x'.repeat(300), 'nobody']) {
    await tryConnect('path named ' + JSON.stringify(name).slice(0, 20).replace(/ .*/, ''), { path: name.startsWith('\\0') ? name : path(name) })
    await tryConnect('localAddress named ' + JSON.stringify(name).slice(0, 20).replace(/ .*/, ''), { ...target, localAddress: name })
  }
  await tryConnect('a local address of the other family', { ...target, localAddress: '::1' })
  await tryConnect('a local address that is not here', { ...target, localAddress: '192.0.2.1' })
  await tryConnect('this', { ...target })
  done(results)
}
main()`

scenes({
  'listen()': { source: listening, isNotCarried: true, flags: ['--no-warnings'] },
  'connect()': { source: connecting, isNotCarried: true, flags: ['--no-warnings'] },
})
