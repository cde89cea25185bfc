/**
 * A UDP echo server on the ownership API: each datagram goes back from the memory it was received into, and what one turn of
 * the event loop answers leaves together. `node dist/examples/udp-echo.js [port]`. It never copies a byte.
 */
import { bind, driver } from '../src/udp'

async function main(port: number): Promise<void> {
  await using socket = await bind({ port, address: '127.0.0.1' })
  console.log(`udp echo on 127.0.0.1:${socket.localName!.port}, driver ${driver.name}`)
  for await (const datagram of socket) {
    using lease = datagram.lease // Goes back when the send has completed.
    socket
      .send(lease, datagram)
      .then((completion) => completion.ok || console.error(completion.error.message), console.error)
  }
}

void main(Number(process.argv[2] ?? 7000))
