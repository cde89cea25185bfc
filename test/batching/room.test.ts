/**
 * A write is told as done when the kernel has taken it, also when it was gathered: what a destroy() takes with it was not
 * told before. On a Unix socket whose peer does not read, which takes no more than its own buffer.
 */
import { removeApps, scenarios } from '../register/program'

afterAll(removeApps)

/** Writes in a handler of 'data', then those that `between` makes, then in a handler again; destroys, and counts. */
const counting = (between: string): string => `
const net = require('node:net')
const path = require('node:path').join(require('node:os').tmpdir(), 'uring-net-room-' + process.pid + '.sock')
let client, told = 0, round = 0
const server = net.createServer((socket) => {
  const write = (length) => socket.write(Buffer.alloc(length, 1), (error) => { if (!error) told += length })
  const again = () => setTimeout(() => client.write('y'), 20)
  socket.on('data', () => {
    if (round++ === 0) {
      for (let i = 0; i < 8; i++) write(10)
      ${between}
      return
    }
    for (let i = 0; i < 40; i++) write(8000)
    setImmediate(() => {
      const before = told
      socket.destroy()
      let got = 0
      client.on('data', (data) => { got += data.length })
      client.on('close', () => { console.log(before > 0, got >= before); server.close() })
      client.resume()
    })
  })
}).listen(path, () => {
  client = net.connect(path).pause()
  client.write('x')
})
`

scenarios({
  'small writes in a handler': { source: counting('again()'), lines: ['true true'] },
  'small writes after others that were sent by themselves': {
    source: counting(
      'setImmediate(() => setImmediate(() => { for (let i = 0; i < 10; i++) write(16384); again() }))',
    ),
    lines: ['true true'],
  },
  'small writes after large ones': {
    source: counting(
      'setImmediate(() => setImmediate(() => { for (let i = 0; i < 5; i++) write(32768); again() }))',
    ),
    lines: ['true true'],
  },
})
