/** What was said of a socket before it began to connect: unref() right behind connect() lets the process end. */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

/** When both have their data the process ends by itself, or is kept by the client. */
const source = (act: string): string => `
const act = ${act}
const server = net.createServer((socket) => { socket.unref(); socket.write('x') }).unref()
server.listen(0, '127.0.0.1', () => {
  const log = []
  for (const host of ['127.0.0.1', 'localhost']) {
    const client = net.connect({ port: server.address().port, host, family: 4 })
    act(client)
    client.on('data', () => {
      if (log.push('data') < 2) return
      clearInterval(keeping)
      setTimeout(() => done([...log, 'kept']), 1000).unref()
    })
  }
  process.once('beforeExit', () => done([...log, 'ended']))
  const keeping = setInterval(() => {}, 1000)
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
