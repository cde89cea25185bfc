/**
 * An echo server on the ownership API: received bytes are sent back from the memory they are in, and every lease returns
 * to its pool. `node dist/examples/echo-lease.js [port]`. It owns the listener; it never copies a byte.
 */
import { driver, listen, orThrow } from '../src/core/index'
import type { Connection } from '../src/core/index'

async function echo(accepted: Connection): Promise<void> {
  await using connection = accepted // Closed however this ends.
  connection.setNoDelay()
  for await (const received of connection) {
    using lease = received // Back to the pool, whatever happened to the send.
    orThrow(await connection.send(lease)) // Unusable until then.
  }
  await connection.shutdown()
}

async function main(port: number): Promise<void> {
  await using listener = await listen({ port, host: '127.0.0.1' })
  console.log(`echo on 127.0.0.1:${listener.localName!.port}, driver ${driver.name}`)
  for await (const connection of listener) {
    echo(connection).catch((error: Error) => console.error(error.message))
  }
}

void main(Number(process.argv[2] ?? 7000))
