/**
 * An urgent byte (tcp(7)) in a stream that is piped: splice(2) stops at it, and says of a stream that goes on that nothing is there,
 * or that it has ended. Node cannot send one, so Python does, in step with its echo.
 */
import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import { programDeadlineMs } from '../deadlines'
import { carriers, loadCore } from './real'

const client = `
import socket, sys
peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 45)
peer.sendall(b'abc')
echoed = [peer.recv(3)]
peer.send(b'!', socket.MSG_OOB)
peer.sendall(b'def')
echoed.append(peer.recv(3))
peer.send(b'!', socket.MSG_OOB)
peer.sendall(b'ghi')
peer.shutdown(socket.SHUT_WR)
echoed.append(peer.recv(3))
echoed.append(peer.recv(3))
print(echoed)
`

function hasPython(): boolean {
  try {
    execFileSync('python3', ['--version'])
    return true
  } catch {
    return false
  }
}

describe.each(carriers)('an urgent byte on $name, by $by', ({ name, by }) => {
  const title = 'is left out, and what follows it is sent on'
  if (!hasPython()) {
    test.skip(`${title} (skipped: there is no python3)`, () => {})
    return
  }

  test(title, async () => {
    const { listen, orThrow } = loadCore(name, { pipes: by === 'pipes' })
    await using listener = await listen({ port: 0, host: '127.0.0.1' })
    const running = promisify(execFile)('python3', ['-c', client, `${listener.localName!.port}`], {
      timeout: programDeadlineMs,
    })
    await using connection = (await listener.accept())!
    orThrow(await connection.pipeTo(connection))
    await connection.shutdown()
    expect((await running).stdout.trim()).toBe("[b'abc', b'def', b'ghi', b'']")
  })
})
