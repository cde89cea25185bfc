/*
 * A subject in 20 lines: somebody else's Duplex, duplexify over a socket of node:net, put to the conformance suite; and
 * what it is known to fail.
 *
 * `npx uring-net conformance --subject examples/conformance-duplexify.mjs`
 */
import { once } from 'node:events'
import net from 'node:net'
import duplexify from 'duplexify'

async function makePair({ allowHalfOpen = true, highWaterMark } = {}) {
  const server = net.createServer({ allowHalfOpen }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const peer = net.connect({ port: server.address().port, host: '127.0.0.1', allowHalfOpen })
  const [[socket]] = await Promise.all([once(server, 'connection'), once(peer, 'connect')])
  server.close()
  const judged = duplexify(socket, socket, { allowHalfOpen, highWaterMark })
  return {
    a: judged,
    b: peer,
    stop() {
      for (const stream of [judged, socket, peer]) stream.on('error', () => {}).destroy()
    },
  }
}

/** Each is run nevertheless, and has to fail: what passes must leave the list. */
const knownFailures = {
  'readable-stream 3 destroys itself neither at the end nor after an error: there is no close':
    'W5-1 W5-4 C4-4 C4-5 C4-10 C4-16 R1-9 R1-23 E1-1 E1-4 E1-21 E1-22',
  'destroy() forgets the callbacks of what waits, and write() goes on to say true':
    'C3-1 C3-2 C3-3 C4-11 C4-14 C4-15',
  'readable-stream 3 has no writableNeedDrain, and answers a wrong chunk later': 'W1-4 W4-4 W4-5',
  'its end() while corked or with a chunk, and its automatic end, lose or add bytes':
    'W3-8 W3-9 C4-6',
  'it reads ahead, through one more Readable, for a reader that has stopped': 'R2-50',
  'it stops reading for good when a listener throws, and pipelined HTTP on it stalls':
    'W3-53 W3-54 E2-2',
}

const subject = {
  name: 'duplexify over node:net',
  capabilities: { halfOpen: true },
  knownFailures: Object.fromEntries(
    Object.entries(knownFailures).flatMap(([reason, ids]) =>
      ids.split(' ').map((id) => [id, reason]),
    ),
  ),
  makePair,
}
export default subject
