/**
 * What happens when the process has no descriptor left: the same as on node:net, and afterwards everything goes on.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'
import type { Scene } from './play'

afterAll(removeApps)

const under = ['sh', '-c', 'ulimit -n 80; exec "$@"', 'sh']

/** In scope: useUp() takes all descriptors that are left, and giveBack(count) some of them. */
const taking = `
const { openSync, closeSync } = require('node:fs')
const held = []
const useUp = () => { try { for (;;) held.push(openSync('/dev/null')) } catch (error) { if (error.code !== 'EMFILE') throw error } }
const giveBack = (count = held.length) => { for (const descriptor of held.splice(0, count)) closeSync(descriptor) }
`

/** Connects when it is told to, sends, and tells how it ended. */
const client = String.raw`() => hear(({ target, count, text }) => {
  const ends = []
  for (let i = 0; i < count; i++) {
    let got = ''
    const socket = require('net').connect(target, () => text && socket.write(text))
    socket.on('data', (data) => { got += data; socket.end() })
    socket.on('error', () => {})
    socket.on('close', () => { ends.push(got || 'refused'); if (ends.length === count) tell(ends) })
  }
})`

/** A play of each place, one after the other. */
const scene = (play: string): Scene => ({
  source: `${taking}
const play = async (place) => { ${play} }
const main = async () => done({ TCP: await play('TCP'), Unix: await play('Unix') })
main()`,
  under,
})

scenes({
  'a server that has got the last descriptor refuses clients, without a storm of errors, and serves later':
    scene(`
  const other = peer(${client})
  const errors = []
  const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket))
  server.on('error', (error) => errors.push(error.code))
  useUp()
  giveBack(1)
  const target = await listen(server, place)
  other.tell({ target, count: 5, text: 'x' })
  const without = await other.next()
  for (let turns = 0; turns < 1000; turns++) await turn()
  giveBack()
  other.tell({ target, count: 5, text: 'x' })
  const afterwards = await other.next()
  other.end()
  return { without, errors: errors.length, afterwards }`),
  'when descriptors were used up and are free again, the first client is served, each time': scene(`
  const other = peer(${client})
  const errors = []
  const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket))
  server.on('error', (error) => errors.push(error.code))
  const target = await listen(server, place)
  const ask = (count) => { other.tell({ target, count, text: 'x' }); return other.next() }
  const rounds = [await ask(1)]
  for (let round = 0; round < 6; round++) {
    useUp()
    // Somebody comes in every second of them.
    const full = round % 2 === 0 ? [] : await ask(2)
    giveBack()
    rounds.push([full, await ask(1)])
  }
  other.end()
  return { rounds, errors: errors.length }`),
  'connecting without a descriptor fails, and works later': scene(`
  const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket))
  const target = await listen(server, place)
  const connect = () => new Promise((resolve) => {
    const socket = net.connect(target, () => socket.end('x'))
    const log = events(socket, ['data', 'error', 'close'])
    socket.on('close', () => resolve(log))
  })
  const results = [await connect()]
  useUp()
  results.push(await connect(), await connect())
  giveBack()
  results.push(await connect())
  return results`),
  'without one many small writes of one turn arrive, and a server cannot listen': scene(`
  const sockets = []
  const server = net.createServer((socket) => sockets.push(socket.on('error', () => {})))
  const target = await listen(server, place)
  const clients = Array.from({ length: 12 }, () => net.connect(target))
  for (const client of clients) {
    client.text = ''
    client.on('data', (data) => { client.text += data })
  }
  while (sockets.length < 12) await turn()
  for (const client of clients) client.write('q')
  let asked = 0
  const refused = await new Promise((resolve) => {
    for (const socket of sockets) {
      socket.on('data', () => {
        if (asked++ === 0) useUp()
        for (let i = 0; i < 10; i++) socket.write('answer')
        if (asked < 12) return
        net.createServer().on('error', (error) => resolve(error.code)).listen(places[place](), () => resolve('it listens'))
      })
    }
  })
  giveBack()
  while (clients.some((client) => client.text.length < 60)) await turn()
  for (const socket of sockets) socket.destroy()
  server.close()
  return refused`),
})
