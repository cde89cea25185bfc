/**
 * What it costs to take up and to destroy many sockets in one tick grows with their number, and not faster: eight times as
 * many cost at most six times as much each. In CPU of the process, of one run.
 */
import { execFileSync } from 'node:child_process'
import { removeApps } from '../register/program'
import { scenes } from './play'
import type { Scene } from './play'

afterAll(removeApps)

const descriptors = Number(execFileSync('sh', ['-c', 'ulimit -n']).toString())
if (descriptors <= 11_000)
  test.skip(`10,000 connections: only ${descriptors} descriptors here`, () => {})

/** Connects as many as it is told to, and what it is told to write it writes on each. */
const clients = String.raw`(target, count, text) => {
  const sockets = []
  let up = 0
  const one = () => {
    const socket = require('net').connect(target, () => {
      if (++up === count) tell('up')
      else if (sockets.length < count) one()
    })
    socket.on('error', () => {}).pause()
    sockets.push(socket)
  }
  for (let i = 0; i < Math.min(count, 64); i++) one()
  hear(() => {
    let left = count
    for (const socket of sockets) socket.write(text, () => --left === 0 && tell('written'))
  })
}`

/** CPU in microseconds for one socket, of few sockets and of eight times as many. */
const source = `
const shared = Buffer.alloc(1 << 20)
const cpu = (before) => { const { user, system } = process.cpuUsage(before); return user + system }
const ignore = () => {}

const accepted = (place, options, act) => async (count) => {
  const sockets = []
  let gone = 0
  const server = net.createServer(options, (socket) => {
    socket.on('error', ignore).on('close', () => gone++)
    sockets.push(socket)
  })
  const target = await listen(server, place)
  const other = peer(${clients}, target, count, 'x')
  await other.next()
  while (sockets.length < count) await turn()
  let before
  await act(sockets, other, () => { before = process.cpuUsage() })
  while (gone < count) await turn()
  const cost = cpu(before) / count
  server.close()
  other.end()
  return cost
}

const destroyAll = (sockets) => { for (const socket of sockets) socket.destroy() }
const plays = {
  'idle sockets are destroyed': [200, accepted('TCP', {}, async (sockets, other, begin) => {
    for (const socket of sockets) socket.resume()
    await turn()
    begin()
    destroyAll(sockets)
  })],
  'sockets are destroyed when the first of them has data, and all of them would have': [200, accepted('TCP', { pauseOnConnect: true }, async (sockets, other, begin) => {
    other.tell('write')
    await other.next()
    begin()
    for (const socket of sockets) socket.once('data', () => destroyAll(sockets)).resume()
  })],
  'sockets that were accepted before are read and destroyed': [200, accepted('TCP', { pauseOnConnect: true }, async (sockets, other, begin) => {
    begin()
    for (const socket of sockets) socket.resume()
    await turn()
    destroyAll(sockets)
  })],
  'sockets whose writes are blocked are destroyed': [150, accepted('Unix', {}, async (sockets, other, begin) => {
    for (const socket of sockets) socket.write(shared)
    await turn()
    if (sockets.some((socket) => socket.writableLength === 0)) throw new Error('not blocked')
    begin()
    destroyAll(sockets)
  })],
  'sockets are connected in one tick, and destroyed': [200, async (count) => {
    const server = net.createServer((socket) => socket.on('error', ignore).resume())
    const target = await listen(server, 'TCP')
    const before = process.cpuUsage()
    await new Promise((resolve) => {
      const sockets = []
      let up = 0, gone = 0
      for (let i = 0; i < count; i++) {
        const socket = net.connect(target, () => ++up === count && destroyAll(sockets))
        socket.on('error', ignore).on('close', () => ++gone === count && resolve()).resume()
        sockets.push(socket)
      }
    })
    server.close()
    return cpu(before) / count
  }],
}
const main = async () => {
  const results = {}
  for (const [title, [few, cost]] of Object.entries(plays)) {
    // The first time is for the compiler. What else happens on the machine only adds: the least is told.
    await cost(few)
    const least = async (count) => Math.min(await cost(count), await cost(count))
    results[title] = [await least(few), await least(8 * few)]
  }
  done(results)
}
main()`

/** CPU in this process only, of connecting; the server is the peer. */
const connecting = `
const main = async () => {
  const other = peer((place) => {
    const server = require('net').createServer((socket) => socket.on('error', () => {}).resume())
    server.listen(place, () => tell(server.address().port))
  }, places.TCP())
  const target = { port: await other.next(), host: '127.0.0.1' }
  const count = 10000
  const costs = []
  // What else happens on the machine only adds: the least is told.
  for (let round = 0; round < 2; round++) {
    const before = process.cpuUsage()
    let up = 0
    const sockets = []
    await new Promise((resolve) => {
      for (let i = 0; i < count; i++) sockets.push(net.connect(target, () => ++up === count && resolve()).resume())
    })
    costs.push(process.cpuUsage(before).user)
    const gone = sockets.map(closed)
    for (const socket of sockets) socket.destroy()
    await Promise.all(gone)
  }
  other.end()
  done(Math.min(...costs))
}
main()`

scenes({
  'many at once': {
    source,
    ways: ['register'],
    isNotCarried: true,
    // Where few are cheaper than on node:net, many may be as dear as there.
    holds({ result }, { result: plain }) {
      const theirs = plain as Record<string, number[]>
      for (const [title, [few, many]] of Object.entries(result as Record<string, number[]>)) {
        const growth = many! / Math.max(few!, theirs[title]![0]!)
        expect([title, growth < 6]).toEqual([title, true])
      }
    },
  },
  ...(descriptors > 11_000
    ? {
        '10,000 that are connected in one tick cost at most twice what they cost on node:net': {
          source: connecting,
          ways: ['register'],
          isNotCarried: true,
          holds: ({ result }, plain) =>
            expect((result as number) / (plain.result as number)).toBeLessThan(2),
        } satisfies Scene,
      }
    : {}),
})
