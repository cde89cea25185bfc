/**
 * What a socket holds for a reader that has paused is what libuv reads at a time, however fast the peer sends; and it counts
 * as read no sooner than the reader gets it. Measured beside plain Node.
 */
import { nodes, program, removeApps, run } from './program'
import type { Mode } from './program'
import { drivers } from '../e2e/subjects'

afterAll(removeApps)

const sockets = 60

/** Prints the bytes that arrived for paused sockets and lie in memory, and whether `bytesRead` is what the readers got. */
const source = (before: string): string => `
const net = require('node:net')
const count = ${sockets}
const flood = Buffer.alloc(1 << 20, 'f')
const turn = () => new Promise(setImmediate)
const accepted = []
let sent = 0
const held = async () => {
  // Whatever comes has come when all is on its way and a hundred turns bring nothing more.
  const bytes = () => { gc(); return process.memoryUsage().arrayBuffers }
  for (let quiet = 0, last = bytes(); quiet < 100; quiet++) {
    await turn()
    if (quiet % 10 === 0 && bytes() > last) { last = bytes(); quiet = 0 }
  }
  return bytes()
}
const start = async () => {
  const before = await held()
  const flooded = Promise.all(clients.map((client) => new Promise((resolve) => {
    client.write(flood)
    // As far as the kernel takes it.
    setImmediate(resolve)
  })))
  await flooded
  const after = await held()
  say(Math.round((after - before) / count))
  say(accepted.every((socket) => socket.bytesRead - (socket.got ?? 0) === socket.readableLength))
  process.exit()
}
const clients = []
const server = net.createServer((socket) => {
  accepted.push(socket)
  ${before}
}).listen(0, '127.0.0.1', () => {
  for (let i = 0; i < count; i++) clients.push(net.connect(server.address().port, '127.0.0.1', function () { this.emit('up') }))
})
let paused = 0
const pause = (socket) => { socket.pause(); if (++paused === count) setImmediate(start) }
`

const cases: [title: string, before: string][] = [
  ['paused from the start', 'pause(socket)'],
  [
    'paused after many small messages',
    `const client = clients.find((one) => one.localPort === socket.remotePort)
     socket.got = 0
     client.setNoDelay()
     client.write('x')
     socket.on('data', (data) => {
       socket.got += data.length
       if (socket.got === 12) pause(socket)
       else client.write('x')
     })`,
  ],
]

async function measure(mode: Mode, node: string, before: string): Promise<number> {
  const { stdout, stderr } = await run(mode, program(source(before)), {
    node,
    flags: ['--expose-gc'],
  })
  const [bytes, isRight] = stdout.split('\n')
  expect({ stderr, isRight }).toEqual({ stderr: '', isRight: 'true' })
  return Number(bytes)
}

describe.each(nodes)('%s', (node) => {
  describe.each(cases)('%s', (_title, before) => {
    test.each(drivers)('on %s', async (driver) => {
      const plain = await measure('plain', node, before)
      expect(plain).toBeGreaterThan(1000)
      expect(await measure(driver, node, before)).toBeLessThan(1.2 * plain)
    })
  })
})
