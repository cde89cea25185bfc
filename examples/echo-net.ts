/**
 * An echo server on the drop-in for node:net; only the import differs. `node dist/examples/echo-net.js [port]`. It owns
 * the server; errors of one connection end that connection only.
 */
import type { AddressInfo } from 'node:net'
import { createServer, driver } from '../src/index'

const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', (error) => console.error(error.message))
  socket.pipe(socket)
})

server.listen(Number(process.argv[2] ?? 7000), '127.0.0.1', () => {
  const { address, port } = server.address() as AddressInfo
  console.log(`echo on ${address}:${port}, driver ${driver.name}`)
})
