/** What a program does with a socket while that waits for its turn among others with bulk data: nothing is lost, and nothing stops. */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

const count = 6
const size = 8 << 20

/** Each sends its bytes, all numbered by their place, behind a header. */
const senders = String.raw`(target, count, size, header) => {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at += 4) bytes.writeUInt32LE(at, at)
  for (let i = 0; i < count; i++) {
    const socket = require('net').connect(target, () => {
      socket.write(header)
      for (let at = 0; at < size; at += 65536) socket.write(bytes.subarray(at, at + 65536))
      socket.end()
    })
    socket.on('error', () => {}).resume()
  }
}`

/** Sends everybody so much. */
const servers = String.raw`(size) => {
  const bytes = Buffer.alloc(size)
  const server = require('net').createServer((socket) => socket.on('error', () => {}).end(bytes))
  server.listen(0, '127.0.0.1', () => tell(server.address().port))
}`

const check = `
const right = (total, data) => {
  // Only whole words are looked at.
  for (let i = (4 - (total % 4)) % 4; i + 4 <= data.length; i += 4) if (data.readUInt32LE(i) !== total + i) return false
  return true
}`

scenes({
  'a socket is paused, resumed, unreferenced and given other listeners': {
    source: `${check}
const main = async () => {
  const answers = []
  const server = net.createServer((socket) => {
    let total = 0
    let chunks = 0
    let isRight = true
    const deeds = [
      () => setImmediate(() => socket.resume(), socket.pause()),
      () => process.nextTick(() => socket.resume(), socket.pause()),
      () => { socket.pause(); socket.resume() },
      () => { socket.unref(); socket.ref() },
      () => { socket.unref(); setImmediate(() => socket.ref()) },
      () => { socket.off('data', take); socket.once('readable', () => socket.on('data', take).resume()) },
      () => {},
    ]
    const take = (data) => {
      if (!right(total, data)) isRight = false
      total += data.length
      deeds[chunks++ % deeds.length]()
    }
    socket.on('data', take).on('end', () => {
      answers.push({ total, isRight })
      if (answers.length === ${count}) done(answers)
    })
  })
  const other = peer(${senders}, await listen(server, 'TCP'), ${count}, ${size}, '')
  process.on('exit', () => other.end())
}
main()`,
    expected: Array.from({ length: count }, () => ({ total: size, isRight: true })),
    isNotCarried: true,
  },

  'a socket is given to an HTTP server in the middle of an upload': {
    source: `${check}
const http = require('node:http')
const main = async () => {
  const answers = []
  const web = http.createServer((request, response) => {
    let total = 0
    let isRight = true
    request.on('data', (data) => {
      if (!right(total, data)) isRight = false
      total += data.length
    })
    request.on('end', () => {
      response.end('thanks')
      answers.push({ total, isRight })
      if (answers.length === ${count}) done(answers)
    })
  })
  let sockets = 0
  const server = net.createServer((socket) => {
    const enough = 131072 * (1 + sockets++)
    const held = []
    let length = 0
    socket.on('data', function take(data) {
      held.push(data)
      length += data.length
      // Behind what the read itself leads to.
      if (length >= enough && length - data.length < enough) process.nextTick(() => {
        socket.off('data', take).pause()
        socket.unshift(Buffer.concat(held))
        web.emit('connection', socket)
        socket.resume()
      })
    })
  })
  const header = 'POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: ${size}\\r\\n\\r\\n'
  const other = peer(${senders}, await listen(server, 'TCP'), ${count}, ${size}, header)
  process.on('exit', () => other.end())
}
main()`,
    expected: Array.from({ length: count }, () => ({ total: size, isRight: true })),
    isNotCarried: true,
  },

  'sockets that wait keep the process running': {
    source: `
const main = async () => {
  const other = peer(${servers}, ${size})
  const port = await other.next()
  other.unref()
  process.on('exit', () => other.end())
  const totals = [0, 0]
  let left = totals.length
  for (const i of totals.keys()) {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('data', (data) => (totals[i] += data.length)).on('close', () => --left === 0 && done(totals))
  }
}
main()`,
    expected: [size, size],
    isNotCarried: true,
  },
})
