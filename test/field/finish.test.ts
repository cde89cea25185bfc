/**
 * A socket that has ended, and is destroyed later by a write after its end, or by its peer: 'finish' comes before it, as
 * everything had been sent. The events of each of 60 sockets, in order.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

/** Asks, and again with every answer, also behind the end of the stream. */
const asking = String.raw`(target, count) => {
  for (let i = 0; i < count; i++) {
    const socket = require('net').connect({ ...target, allowHalfOpen: true }, () => socket.write('q'))
    socket.on('error', () => {})
    for (const name of ['data', 'end']) socket.on(name, () => socket.writable && socket.write('q'))
  }
}`

/** As it, and closes or resets the connection with the end of the stream. */
const leaving = (how: string): string => String.raw`(target, count) => {
  for (let i = 0; i < count; i++) {
    const socket = require('net').connect({ ...target, allowHalfOpen: true }, () => socket.write('q'))
    socket.on('error', () => {})
    socket.on('data', () => socket.writable && socket.write('q'))
    socket.on('end', () => socket.${how})
  }
}`

const count = 60
const source = `
const plays = (place, clients, act, options = {}) => new Promise((resolve) => {
  const logs = []
  let closed = 0
  const server = net.createServer(options, (socket) => {
    let rounds = 0
    logs.push(events(socket, ['end', 'finish', 'error', 'close']))
    socket.on('data', () => act(socket, ++rounds))
    socket.on('close', () => {
      if (++closed < ${count}) return
      const seen = {}
      for (const log of logs) { const key = log.join(', '); seen[key] = (seen[key] ?? 0) + 1 }
      other.end()
      server.close()
      resolve(seen)
    })
  })
  let other
  listen(server, place).then((target) => { other = peer(clients, target, ${count}) })
})
const asking = ${asking}
const ending = ${leaving('end()')}
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) {
    results[place + ': a write after the end, when the next request comes'] = await plays(place, asking, (socket, round) => {
      socket.write('answer')
      if (round === 3) socket.end()
    })
    results[place + ': many small writes, the end, and a write after it'] = await plays(place, asking, (socket, round) => {
      for (let i = 0; i < 20; i++) socket.write('answer')
      if (round === 2) socket.end()
    })
    results[place + ': a large write, the end, and a write after it'] = await plays(place, asking, (socket, round) => {
      socket.write(round === 1 ? Buffer.alloc(100000) : 'answer')
      socket.end()
    })
    results[place + ': the peer ends behind the end'] = await plays(place, ending, (socket, round) => {
      socket.write('answer')
      if (round === 2) socket.end()
    }, { allowHalfOpen: true })
  }
  done(results)
}
main()`

const late = { 'finish, error ERR_STREAM_WRITE_AFTER_END, close true': count }
const titles = [
  'a write after the end, when the next request comes',
  'many small writes, the end, and a write after it',
  'a large write, the end, and a write after it',
]
scenes({
  'finish comes before what destroys the socket': {
    source,
    holds(ours, plain) {
      expect(ours.result).toEqual(plain.result)
      for (const title of titles) {
        for (const place of ['TCP', 'Unix']) {
          expect((ours.result as Record<string, object>)[`${place}: ${title}`]).toEqual(late)
        }
      }
    },
  },
})
