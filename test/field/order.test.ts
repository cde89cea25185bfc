/**
 * What follows from an end that came with the data before it: the socket that has heard it is closed before its peer is, as
 * nothing of it has left the process until then. Both ends of each of 50 connections are in one process.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

const source = `
const round = async (place, order) => {
  const log = []
  const server = net.createServer((socket) => {
    socket.resume()
    socket.end('x')
    socket.on('close', () => log.push('accepted'))
  })
  const target = await listen(server, place)
  const client = net.connect(target)
  client.resume()
  client.on('close', () => log.push('client'))
  const [accepted] = await once(server, 'connection')
  server.close()
  await Promise.all([closed(accepted), closed(client)])
  order[log.join(', ')] = (order[log.join(', ')] ?? 0) + 1
}
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) {
    results[place] = {}
    for (let i = 0; i < 50; i++) await round(place, results[place])
  }
  done(results)
}
main()`

scenes({
  'who hears an end is closed before its peer': {
    source,
    expected: { TCP: { 'client, accepted': 50 }, Unix: { 'client, accepted': 50 } },
  },
})
