/**
 * The end of a stream that came with its last bytes is told, though nothing else keeps the process by then: on epoll libuv's
 * handle has stopped reading, and told nobody yet.
 */
import { removeApps, scenarios } from './program'

afterAll(removeApps)

scenarios({
  'the end of the last socket is told': {
    source: `
const net = require('node:net')
const http = require('node:http')
let received = ''
const server = http.createServer((request, response) => {
  response.writeHead(200)
  response.end()
  request.socket.on('data', (data) => { received += data })
  server.close()
}).listen(0, () => {
  const socket = net.connect(server.address().port, () => {
    socket.write('PUT / HTTP/1.1\\r\\nHost: example.com\\r\\n\\r\\n')
    socket.once('data', () => socket.end('hello'))
    socket.on('end', () => console.log(received))
  })
})
`,
    lines: ['hello'],
  },
})
