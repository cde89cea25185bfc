/**
 * A TCP proxy on the ownership API: the kernel moves the bytes from socket to socket, and this program never sees them.
 * `node dist/examples/proxy.js PORT TO_PORT [TO_HOST]`. Owns both connections.
 */
import { connect, driver, listen, orThrow } from '../src/core/index'
import type { Connection } from '../src/core/index'

const connectTimeout = 5_000

/** Ends with the peer's FIN, which is passed on. A slow reader slows the sender. */
async function forward(from: Connection, to: Connection): Promise<void> {
  orThrow(await from.pipeTo(to))
  await to.shutdown()
}

async function carry(accepted: Connection, port: number, host: string): Promise<void> {
  await using near = accepted
  await using far = await connect({ port, host, timeout: connectTimeout })
  near.setNoDelay()
  far.setNoDelay()
  try {
    await Promise.all([forward(near, far), forward(far, near)])
  } catch (error) {
    // One side is broken: the other has to see it.
    await Promise.all([near.reset(), far.reset()])
    throw error
  }
}

async function main(port: number, toPort: number, toHost: string): Promise<void> {
  await using listener = await listen({ port, host: '127.0.0.1' })
  console.log(`proxy on 127.0.0.1:${listener.localName!.port}, driver ${driver.name}`)
  for await (const connection of listener) {
    carry(connection, toPort, toHost).catch((error: Error) => console.error(error.message))
  }
}

const [port = 7000, toPort = 7001, toHost = '127.0.0.1'] = process.argv.slice(2)
void main(Number(port), Number(toPort), String(toHost))
