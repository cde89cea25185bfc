/** What was said of a socket before it began to connect: unref() right behind connect() lets the process end. */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

/** The process ends by itself after 150 ms, or is kept by the client. */
const source = (act: string): string => `
const act = ${act}
const server = net.createServer((socket) => { socket.unref(); socket.write('x') }).unref()
server.listen(0, '127.0.0.1', () => {
  const log = []
  for (const host of ['127.0.0.1', 'localhost']) {
    const client = net.connect({ port: server.address().port, host, family: 4 })
    act(client)
    client.on('data', () => log.push('data'))
  }
  process.once('beforeExit', () => done([...log, 'ended']))
  setTimeout(() => {}, 150)
  setTimeout(() => done([...log, 'kept']), 1000).unref()
})`

scenes({
  'unref() behind connect()': {
    source: source('(client) => client.unref()'),
    expected: ['data', 'data', 'ended'],
  },
  'unref() behind connect(), and ref() when it is connected': {
    source: source(`(client) => client.unref().once('connect', () => client.ref())`),
    expected: ['data', 'data', 'kept'],
  },
  'unref() when it is connected': {
    source: source(`(client) => client.once('connect', () => client.unref())`),
    expected: ['data', 'data', 'ended'],
  },
})
