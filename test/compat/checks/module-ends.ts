/** Servers and clients for checks of a subject's `net`: recorded, listening on loopback, and gone after the check. */
import * as assert from 'node:assert/strict'
import * as nodeNet from 'node:net'
import type { CheckContext } from '../check'
import { Recorder } from '../observe'

/** The judged module. The believed one is node:net itself. */
export function netOf(context: CheckContext): typeof nodeNet {
  const { net } = context.subject
  assert.ok(net !== undefined, 'the subject declares `module` and has no `net`')
  return net
}

/** Listens and answers the port; the server is closed after the check. */
export async function listening(
  context: CheckContext,
  server: nodeNet.Server,
  options: nodeNet.ListenOptions = {},
): Promise<number> {
  context.after(() => void server.close())
  const ready = new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.path === undefined ? { port: 0, host: '127.0.0.1', ...options } : options)
    server.once('listening', resolve)
  })
  await context.within(ready, "'listening'")
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** A recorder for a socket, which is destroyed after the check. */
export function recorded(context: CheckContext, socket: nodeNet.Socket, name = 'a'): Recorder {
  context.after(() => void socket.on('error', () => {}).destroy())
  return new Recorder(socket, (what) => context.note(`${name} ${what}`))
}

/** A port on which nobody listens. */
export async function deadPort(context: CheckContext): Promise<number> {
  const server = nodeNet.createServer()
  const port = await listening(context, server)
  await context.within(new Promise((resolve) => server.close(resolve)), 'a port given back')
  return port
}

export const connectionTo = (server: nodeNet.Server): Promise<nodeNet.Socket> =>
  new Promise((resolve) => server.once('connection', resolve))
