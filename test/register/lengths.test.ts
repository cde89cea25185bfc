/**
 * A chunk is as long as its memory, whatever its class or an own property says: no byte of anybody else's is sent with it,
 * and none of its own is missing. As on node:net, whose native code asks the memory.
 */
import { removeApps, scenarios } from './program'

afterAll(removeApps)

/** `liars(text)`: Buffers of that text, each with another length to show. `got` prints the bytes, one line for each way. */
const exchange = (ways: string): string => `
const net = require('node:net')
const own = (name, value) => (text) => Object.defineProperty(Buffer.from(text), name, { value })
class Liar extends Buffer { get length() { return 3000 } get byteLength() { return 3000 } }
class Miser extends Buffer { get length() { return 1 } get byteLength() { return 1 } }
const as = (liar) => (text) => Object.setPrototypeOf(Buffer.from(text), liar.prototype)
const liars = [own('byteLength', 3000), own('length', 3000), own('byteLength', 1), own('length', 1), as(Liar), as(Miser)]
const ways = ${ways}
const run = (at) => {
  if (at === ways.length) return
  const server = net.createServer((socket) => {
    socket.write('before ')
    // In a callback of the loop's poll phase, where writes are gathered.
    socket.once('data', () => { ways[at](socket, liars.map((lie, nth) => lie('chunk ' + nth + ' '))); socket.end('after') })
  }).listen(0, '127.0.0.1', () => {
    let text = ''
    net.connect(server.address().port, '127.0.0.1', function () { this.write('x') })
      .on('data', (data) => { text += data.latin1Slice() })
      .on('close', () => { say(text); server.close(() => run(at + 1)) })
  })
}
run(0)
`

const all = 'before chunk 0 chunk 1 chunk 2 chunk 3 chunk 4 chunk 5 after'

scenarios({
  'writes in one turn': {
    source: exchange('[(socket, chunks) => chunks.forEach((chunk) => socket.write(chunk))]'),
    lines: [all],
  },
  'a write in each turn': {
    source: exchange(
      '[(socket, chunks) => { const { end } = socket; socket.end = () => {}; const next = () => chunks.length > 0 ? socket.write(chunks.shift(), () => setImmediate(next)) : end.call(socket, "after"); next() }]',
    ),
    lines: [all],
  },
  'corked writes, also with texts among them': {
    source: exchange(`[
      (socket, chunks) => { socket.cork(); chunks.forEach((chunk) => socket.write(chunk)); socket.uncork() },
      (socket, chunks) => { socket.cork(); chunks.forEach((chunk) => { socket.write(''); socket.write(chunk) }); socket.uncork() },
    ]`),
    lines: [all, all],
  },
})
