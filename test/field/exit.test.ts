/**
 * What a program writes in its own 'exit' listener arrives behind what it wrote before, as on node:net: over Unix sockets and
 * below TLS (test/batching has TCP), and from sockets that it connected itself.
 */
import { removeApps } from '../register/program'
import { scenarios, times } from '../batching/rig'
import type { Scenario } from '../batching/rig'
import { scenes } from './play'
import type { Scene } from './play'

afterAll(removeApps)

const handled = 5
const answers = (create: string): string => `
let nth = 0
const answered = []
serve(attach(${create}((socket) => socket.once('data', () => {
  socket.write('answer')
  answered.push(socket)
  if (++nth < ${handled}) return
  process.on('exit', () => { for (const socket of answered) for (const text of [' a', ' b', ' c']) socket.write(text) })
  process.exit(3)
}))))`

const lastWords: Partial<Scenario> = {
  compared: ({ lines, exit, clients }) => ({
    lines,
    exit,
    answered: clients.filter(({ bytes }) => bytes !== '').map(({ bytes }) => bytes),
  }),
  expected: { lines: [], exit: '3', answered: times(handled, 'answer a b c') },
}
scenarios({
  'Unix: an exit listener writes to everybody': {
    ...lastWords,
    source: answers('net.createServer'),
    protocol: 'unix',
    ways: ['register', 'library'],
  },
  'TLS: an exit listener writes to everybody': {
    ...lastWords,
    // Behind a write that is not done yet they are lost there.
    expected: undefined,
    source: answers(`((listener) => require('node:tls').createServer(pair, listener))`),
    protocol: 'tls',
    ways: ['register', 'library'],
  },
})

/** Asks all that connect in one turn, and tells what each answered. */
const asker = String.raw`(place, count) => {
  const sockets = [], got = []
  const server = require('net').createServer((socket) => {
    let text = ''
    socket.on('data', (data) => { text += data }).on('error', () => {})
    socket.on('close', () => { got.push(text); if (got.length === count) require('fs').writeSync(1, JSON.stringify(got.sort()) + '\n') })
    sockets.push(socket)
    if (sockets.length < count) return
    server.close()
    for (const socket of sockets) socket.write('q')
  }).listen(place, () => tell(server.address()))
  // It outlives the program.
  process.removeAllListeners('disconnect')
}`

const connected = (place: string): string => `
const main = async () => {
  const other = peer(${asker}, places['${place}'](), 8)
  const address = await other.next()
  const target = typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' }
  let nth = 0
  const answered = []
  for (let i = 0; i < 8; i++) {
    const socket = net.connect(target)
    socket.on('data', () => {
      socket.write('answer')
      answered.push(socket)
      if (++nth < ${handled}) return
      process.on('exit', () => { for (const socket of answered) for (const text of [' a', ' b', ' c']) socket.write(text) })
      done('exits')
    })
  }
}
main()`

const got = JSON.stringify([...times(8 - handled, ''), ...times(handled, 'answer a b c')])
const toConnected = (place: string): Scene => ({
  source: connected(place),
  expected: 'exits',
  holds(ours, plain) {
    expect(plain.lines).toContain(got)
    expect(ours.lines).toContain(got)
  },
})
scenes({
  'TCP: an exit listener writes to everybody that it connected to': toConnected('TCP'),
  'Unix: an exit listener writes to everybody that it connected to': toConnected('Unix'),
})
