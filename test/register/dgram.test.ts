/** UDP sockets of node:dgram under register: the same as on plain Node, though many datagrams are received at a time. */
import { scenes } from '../field/play'
import type { Scene } from '../field/play'
import { removeApps } from './program'

afterAll(removeApps)

/** Only programs that were never told: the package has no UDP socket of Node's kind. */
const scene = (source: string, more: Partial<Scene> = {}): Scene => ({
  ways: ['register'],
  source: `
const dgram = require('node:dgram')
const bound = async (type, address, options = {}) => {
  const socket = dgram.createSocket({ type, ...options })
  socket.bind(0, address)
  await once(socket, 'listening')
  return socket
}
/** Sends, and resolves when the kernel has all of it: on loopback it is in the receiver's queue. */
const sendAll = async (socket, port, address, all) => {
  for (const bytes of all) await new Promise((resolve, reject) => socket.send(bytes, port, address, (error) => error ? reject(error) : resolve()))
}
const main = async () => {${source}}
main()`,
  ...more,
})

/** Waits until `count` datagrams lie in the queue of a socket that is bound in a turn in which it cannot receive. */
const flooded = (count: number) => `
  const socket = dgram.createSocket('udp4')
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve))
  const { port } = socket.address()
  // A process of its own sends while this one does not turn its loop.
  require('node:child_process').execFileSync(process.execPath, ['-e', \`
    const socket = require('node:dgram').createSocket('udp4')
    let left = ${count}
    const next = () => left-- > 0 ? socket.send(String(${count} - 1 - left), \${port}, '127.0.0.1', next) : socket.close()
    next()\`], { env: { PATH: process.env.PATH } })
`

/** A child that a socket is sent to, and what the two had: everything, whoever it was. `before` datagrams lie there first. */
const sharing = (
  send: string,
  options: string,
  before: number,
  onFirst = 'socket.close()',
): Scene =>
  scene(
    `
  const { fork } = require('node:child_process')
  if (process.argv[2] === 'child') {
    process.on('message', (_, socket) => {
      socket.on('message', (bytes) => process.send(String(bytes)))
      process.send('ready')
    })
    return
  }
  const socket = await bound('udp4', '127.0.0.1')
  const client = await bound('udp4', '127.0.0.1')
  const { port } = socket.address()
  const child = fork(__filename, ['child'], ${options})
  const heard = new Set()
  const had = (text) => {
    heard.add(text)
    if (heard.size === 41) { child.kill(); done('all') }
  }
  const send = (from, to) => sendAll(client, port, '127.0.0.1', Array.from({ length: to - from }, (_, i) => String(from + i)))
  child.on('message', (text) => {
    had(text)
    if (text === 'ready') send(${before}, 40)
  })
  let first = true
  socket.on('message', (bytes) => {
    had(String(bytes))
    ${onFirst}
    first = false
  })
  if (${before} > 0) {
    // Sent by another process, so that all of them lie there when this one looks.
    require('node:child_process').execFileSync(process.execPath, ['-e', \`
      const socket = require('node:dgram').createSocket('udp4')
      let at = 0
      const next = () => at < ${before} ? socket.send(String(at++), \${port}, '127.0.0.1', next) : socket.close()
      next()\`], { env: { PATH: process.env.PATH } })
  }
  ${send}`,
  )

scenes({
  'datagrams of all sizes arrive as they are, from whom they are': scene(`
  const log = []
  for (const [type, address, from, to] of [
    ['udp4', '127.0.0.1', 'udp4', '127.0.0.1'],
    ['udp6', '::1', 'udp6', '::1'],
    ['udp6', '::', 'udp4', '127.0.0.1'],
  ]) {
    const socket = await bound(type, address)
    const client = await bound(from, to)
    socket.on('message', (bytes, rinfo) => {
      const port = rinfo.port === client.address().port
      log.push([bytes.length, bytes.every((byte) => byte === bytes.length % 251), bytes.buffer.byteLength, { ...rinfo, port }, Object.keys(rinfo).join()])
    })
    const sizes = [0, 1, 64, 1472, 4096, 65507]
    await sendAll(client, socket.address().port, to, sizes.map((size) => Buffer.alloc(size, size % 251)))
    while (log.length % sizes.length !== 0 || log.length === 0) await turn()
    socket.close()
    client.close()
  }
  done(log)`),

  'ticks run between two datagrams': scene(`${flooded(40)}
  const log = []
  socket.on('message', (bytes) => {
    log.push('message ' + bytes)
    process.nextTick(() => log.push('tick ' + bytes))
    Promise.resolve().then(() => log.push('microtask ' + bytes))
    if (log.length > 115) setImmediate(() => done(log))
  })`),

  'a listener that throws leaves the others theirs': scene(`${flooded(40)}
  const log = []
  process.on('uncaughtException', (error) => log.push(error.message))
  socket.on('message', (bytes) => {
    log.push(String(bytes))
    if (Number(bytes) === 39) setImmediate(() => done(log))
    if (bytes % 3 === 0) throw new Error('thrown at ' + bytes)
  })`),

  'a socket that is closed by a listener gets nothing more, and its port is free':
    scene(`${flooded(40)}
  const log = []
  socket.on('message', (bytes) => {
    log.push(String(bytes))
    if (Number(bytes) !== 4) return
    socket.close(() => {
      const next = dgram.createSocket('udp4')
      next.on('error', (error) => done(error.code))
      next.bind(port, '127.0.0.1', () => {
        next.on('message', (bytes) => done([...log, 'again ' + bytes]))
        next.send('hello', port, '127.0.0.1')
      })
    })
  })`),

  'a listener that closes another socket leaves that one’s datagrams alone': scene(`
  const sockets = await Promise.all(Array.from({ length: 8 }, () => bound('udp4', '127.0.0.1')))
  const client = await bound('udp4', '127.0.0.1')
  const log = []
  let open = sockets.length
  const ports = sockets.map((socket) => socket.address().port)
  for (const socket of sockets) {
    socket.on('message', () => {
      for (const other of sockets) if (other !== socket && open > 1) {
        open--
        try { other.close() } catch {}
      }
      log.push('one')
      setImmediate(() => done(log))
    })
  }
  // All are sent to before the loop turns.
  for (const port of ports) client.send('x', port, '127.0.0.1')`),

  'a listener runs in the context that its socket was made in': scene(`
  const { AsyncLocalStorage, createHook, executionAsyncId, executionAsyncResource } = require('node:async_hooks')
  const storage = new AsyncLocalStorage()
  const types = new Map()
  createHook({ init: (id, type) => types.set(id, type) }).enable()
  const socket = storage.run('made', () => dgram.createSocket('udp4'))
  await new Promise((resolve) => storage.run('bound', () => socket.bind(0, '127.0.0.1', resolve)))
  storage.run('listening', () => socket.on('message', () => {
    done([storage.getStore(), types.get(executionAsyncId()), executionAsyncResource().constructor.name])
  }))
  storage.run('sent', () => socket.send('x', socket.address().port, '127.0.0.1'))`),

  'an error of a connected socket is told, and it goes on': scene(`
  const gone = await bound('udp4', '127.0.0.1')
  const { port } = gone.address()
  await new Promise((resolve) => gone.close(resolve))
  const socket = await bound('udp4', '127.0.0.1')
  await new Promise((resolve) => socket.connect(port, '127.0.0.1', resolve))
  const log = []
  socket.on('error', (error) => {
    log.push(error.code + ' ' + error.syscall)
    const back = dgram.createSocket('udp4')
    back.bind(port, '127.0.0.1', () => back.send('hello', socket.address().port, '127.0.0.1'))
  })
  socket.on('message', (bytes) => done([...log, String(bytes)]))
  socket.send('x')`),

  'an unreferenced socket lets the program end, a referenced one does not': scene(`
  const idle = await bound('udp4', '127.0.0.1')
  idle.unref()
  const socket = await bound('udp4', '127.0.0.1')
  socket.unref().ref()
  const log = []
  process.on('exit', () => done(log))
  socket.on('message', (bytes) => {
    log.push(String(bytes))
    if (log.length === 2) socket.close()
  })
  const client = dgram.createSocket('udp4')
  client.send('one', socket.address().port, '127.0.0.1')
  client.send('two', socket.address().port, '127.0.0.1', () => client.close())`),

  'what a flood brings is received in turns with the rest of the program': scene(
    `
  const socket = await bound('udp4', '127.0.0.1')
  const other = peer(String.raw\`(port) => {
    const socket = require('dgram').createSocket('udp4')
    const bytes = Buffer.alloc(1000)
    const fill = () => { for (let i = 0; i < 100; i++) socket.send(bytes, port, '127.0.0.1'); setImmediate(fill) }
    fill()
  }\`, socket.address().port)
  let turns = 0
  let received = 0
  let most = 0
  let inTurn = 0
  socket.on('message', () => { received++; inTurn++ })
  while (received < 20_000) {
    await turn()
    turns++
    most = Math.max(most, inTurn)
    inTurn = 0
  }
  other.end()
  done({ most, turns })`,
    {
      holds(ours, plain) {
        const [mine, theirs] = [ours.result, plain.result] as { most: number }[]
        expect(mine!.most).toBeGreaterThan(0)
        expect(mine!.most).toBeLessThanOrEqual(Math.max(160, theirs!.most))
      },
    },
  ),

  'a descriptor that is received from already is refused': scene(`
  const socket = await bound('udp4', '127.0.0.1')
  const { fd } = socket[Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === 'state symbol')].handle
  const second = dgram.createSocket('udp4')
  try {
    second.bind({ fd })
    done('taken')
  } catch (error) {
    done(error.code)
  }`),

  'workers of a cluster that share a socket lose nothing of each other': scene(
    `
  const cluster = require('node:cluster')
  if (cluster.isWorker) {
    const socket = dgram.createSocket('udp4')
    let count = 0
    socket.on('message', () => {
      if (++count === 10) socket.close(() => process.send('had ten'))
    })
    socket.bind(0, '127.0.0.1')
    return
  }
  let listening = 0
  let left = 4
  cluster.on('message', () => {
    if (--left === 0) done('all had ten')
  })
  cluster.on('listening', async (worker, address) => {
    if (++listening < 4) return
    const client = await bound('udp4', '127.0.0.1')
    await sendAll(client, address.port, '127.0.0.1', Array.from({ length: 40 }, () => 'x'))
  })
  for (let i = 0; i < 4; i++) cluster.fork()`,
    { isNotCarried: true },
  ),

  ...Object.fromEntries(
    ['json', 'advanced'].map((serialization) => [
      `a socket that was sent to a child by ${serialization} is received from one datagram at a time`,
      sharing(`child.send('take it', socket)`, `{ serialization: '${serialization}' }`, 0),
    ]),
  ),

  'a socket that is sent to a child in the middle of a batch loses nothing of it': sharing(
    ``,
    `{}`,
    40,
    `if (first) child.send('take it', socket, () => socket.close())`,
  ),

  'a socket whose descriptor was asked for is received from one datagram at a time': scene(
    `
  const { spawn } = require('node:child_process')
  if (process.argv[2] === 'child') {
    const socket = dgram.createSocket('udp4')
    socket.on('message', () => process.stdout.write('x'))
    socket.bind({ fd: 3 }, () => process.stdout.write('ready '))
    return
  }
  const socket = await bound('udp4', '127.0.0.1')
  const client = await bound('udp4', '127.0.0.1')
  const { fd } = socket[Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === 'state symbol')].handle
  const child = spawn(process.execPath, [...process.execArgv, __filename, 'child'], { stdio: ['ignore', 'pipe', 'inherit', fd] })
  let had = 0
  let heard = ''
  const count = () => {
    if (had + heard.length - 'ready '.length === 40) { child.kill(); done('all') }
  }
  // Closes with the first one that it gets: the others are the child's.
  socket.on('message', () => { had++; socket.close(); count() })
  child.stdout.on('data', async (data) => {
    heard += data
    if (heard === 'ready ') await sendAll(client, socket.address().port, '127.0.0.1', Array.from({ length: 40 }, () => 'x'))
    count()
  })`,
  ),

  'each of many sockets gets its share of a turn, and timers theirs': scene(
    `
  const count = 20
  const sockets = await Promise.all(Array.from({ length: count }, () => bound('udp4', '127.0.0.1')))
  const ports = sockets.map((socket) => socket.address().port)
  require('node:child_process').execFileSync(process.execPath, ['-e', \`
    const socket = require('node:dgram').createSocket('udp4')
    let left = \${count} * 130
    const next = () => left-- > 0 ? socket.send('x', [\${ports}][left % \${count}], '127.0.0.1', next) : socket.close()
    next()\`], { env: { PATH: process.env.PATH } })
  const had = new Map(sockets.map((socket) => [socket, 0]))
  for (const socket of sockets) socket.on('message', () => had.set(socket, had.get(socket) + 1))
  while (![...had.values()].some((each) => each > 0)) await turn()
  done([...had.values()])`,
    {
      holds(ours, plain) {
        const [mine, theirs] = [ours.result, plain.result] as number[][]
        expect(Math.max(...mine!)).toBeLessThanOrEqual(Math.max(32, ...theirs!))
        expect(Math.min(...mine!)).toBeGreaterThan(0)
      },
    },
  ),
})
