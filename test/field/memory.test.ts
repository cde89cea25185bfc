/**
 * What waits in sockets for slow clients costs the memory that it costs on node:net: written, destroyed, and at exit. Nobody
 * loses a connection for it. In memory that was resident, compared with plain Node.
 */
import { removeApps } from '../register/program'
import { play, scenes } from './play'
import type { Played, Scene, Way } from './play'

afterAll(removeApps)

/** Connects, sends, and reads nothing. */
const readers = String.raw`(target, count, text) => {
  for (let i = 0; i < count; i++) {
    const socket = require('net').connect(target, () => text && socket.write(text))
    socket.on('error', () => {}).pause()
  }
}`

/** Half of them are destroyed, the others are there at exit. */
const slow = (make: string, more: { place?: string; text?: string; ways?: Way[] } = {}): Scene => ({
  ways: more.ways ?? ['register'],
  source: `
const count = 50
const sockets = [], errors = []
let gone = 0
const taken = (socket) => {
  socket.on('error', (error) => errors.push(error.code)).on('close', () => gone++)
  sockets.push(socket)
}
${make}
const main = async () => {
  const other = peer(${readers}, await listen(server, '${more.place ?? 'TCP'}'), count, '${more.text ?? ''}')
  while (sockets.length < count) await turn()
  for (let turns = 0; turns < 50; turns++) await turn()
  const waits = sockets.filter((socket) => socket.writableLength > 0).length
  const alive = count - gone
  for (const socket of sockets.slice(0, count / 2)) socket.destroy()
  while (gone < count / 2) await turn()
  done({ waits, alive, errors })
}
main()`,
  expected: { waits: 50, alive: 50, errors: [] },
  isNotCarried: true,
  holds: bounded,
})

function bounded(ours: Played, plain: Played): void {
  expect(ours.result).toEqual(plain.result)
  expect(ours.peakKb / plain.peakKb).toBeLessThan(1.2)
}

const whole = `const shared = Buffer.alloc(16 << 20)
const server = net.createServer((socket) => { taken(socket); socket.resume(); socket.write(shared) })`

const corked = `const shared = Buffer.alloc(64 << 10)
const server = net.createServer((socket) => { taken(socket); socket.resume(); socket.cork(); for (let i = 0; i < 256; i++) socket.write(shared); socket.uncork() })`

const http = `const shared = Buffer.alloc(16 << 20)
const server = attach(require('node:http').createServer((request, response) => { taken(request.socket); response.end(shared) }))`

const both: Way[] = ['register', 'library']
const text = 'GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n'
scenes({
  'one buffer of 16 MB for 50 clients': slow(whole, { ways: both }),
  'one buffer of 16 MB for 50 clients, over Unix sockets': slow(whole, { place: 'Unix' }),
  'one buffer of 64 KB, 256 times corked for 50 clients': slow(corked),
  'one http response of 16 MB for 50 clients': slow(http, { text, ways: both }),
})

test('known bad: a server that copies is noticed', async () => {
  const node = process.execPath
  const copying = whole.replace('socket.write(shared)', 'socket.write(Buffer.from(shared))')
  const [good, bad] = [
    await play('plain', 'register', node, slow(whole)),
    await play('plain', 'register', node, slow(copying)),
  ]
  expect(() => bounded(bad, good)).toThrow()
})
