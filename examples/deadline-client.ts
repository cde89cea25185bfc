/**
 * A client with a deadline for each step: `node dist/examples/deadline-client.js PORT [HOST] [MS]` sends a line and waits
 * for the answer. Shows what a deadline says: how much had been sent, and that the connection is still usable or not.
 */
import { connect, driver } from '../src/core/index'
import type { SystemError } from '../src/core/index'

async function main(port: number, host: string, timeout: number): Promise<void> {
  console.log(`driver ${driver.name}`)
  // Rejects with ETIMEDOUT when the handshake takes longer.
  await using connection = await connect({ port, host, timeout })

  const sent = await connection.send(Buffer.from('hello\n'), { timeout })
  if (!sent.ok) return console.log(`${sent.error.code}: ${sent.result} bytes were sent`)

  try {
    using answer = await connection.receive({ timeout })
    console.log(answer === null ? 'closed' : `answer: ${answer.bytes.toString().trimEnd()}`)
  } catch (error) {
    // Nothing is lost: what comes later is there for the next receive.
    console.log(`${(error as SystemError).code}: no answer within ${timeout} ms`)
  }
}

const [port = 7000, host = '127.0.0.1', timeout = 1000] = process.argv.slice(2)
main(Number(port), String(host), Number(timeout)).catch((error: Error) => {
  console.error(error.message)
  process.exitCode = 1
})
