/** More messages in a turn of the loop than the engine has buffers for: each is delivered, once, to its own reader. */
import { removeApps, scenarios } from './program'

afterAll(removeApps)

scenarios({
  'each of 900 sockets is sent something in the same turn, three times': {
    source: `
const net = require('node:net')
const count = 900
const clients = []
let rounds = 0, answers = 0, isRight = true
const server = net.createServer((socket) => socket.on('data', (data) => socket.write(data))).listen({ port: 0, host: '127.0.0.1', backlog: count }, connect)
function connect() {
  const nth = clients.length
  if (nth === count) return ask()
  const client = net.connect(server.address().port, '127.0.0.1', connect)
  client.on('data', (data) => {
    client.got += data.latin1Slice()
    if (client.got.length < client.asked.length) return
    isRight &&= client.got === client.asked
    if (++answers === count) next()
  })
  clients.push(client)
}
function ask() {
  answers = 0
  // Of any length up to some buffers, so that one socket's bytes lie between those of others.
  clients.forEach((client, nth) => {
    client.got = ''
    client.asked = ('round ' + rounds + ' of ' + nth + ' ').repeat(1 + (nth * 7 + rounds) % (nth % 9 === 0 ? 400 : 4))
    client.write(client.asked)
  })
}
function next() {
  if (++rounds < 3) return ask()
  say(isRight)
  const stats = process.env.TEST_MODE === 'uring' ? require(library).driver.stats() : undefined
  say(stats === undefined || stats.poolExhausted > 0)
  for (const client of clients) client.destroy()
  server.close()
}
`,
    lines: ['true', 'true'],
  },
})
