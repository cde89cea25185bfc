/** What a stream has received by the time that nobody reads from it any more: the bytes, and the error behind them. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { waitDeadlineMs } from '../deadlines'
import { loadBinding } from '../../src/core/binding'
import { nativeOptions } from '../../src/core/options'
import { StreamEngine } from '../../src/core/stream-engine'
import { drivers } from '../e2e/subjects'
import { removeApps, writeApp } from '../cli/program'

afterAll(removeApps)

const others = 3

/** Connects one after the other; when it is told to, says something on the first connection and resets it. */
const peer = `
const net = require('node:net')
const sockets = []
const connectOne = () => {
  if (sockets.length === ${others + 1}) return
  const socket = net.connect(Number(process.argv[2]), '127.0.0.1', connectOne).on('error', () => {})
  sockets.push(socket)
}
connectOne()
process.on('SIGUSR2', () => { sockets[0].write('last words'); sockets[0].resetAndDestroy() })
process.on('disconnect', () => process.exit())`

/** Whether the kernel still knows the socket: not one of the same ports that ended before (TIME_WAIT, 06). */
function isConnected(ports: readonly number[]): boolean {
  const [near, far] = ports.map((port) => port.toString(16).toUpperCase().padStart(4, '0'))
  const row = new RegExp(`:${near} [0-9A-F]{8}:${far} 0[1-57-9AB] `)
  return row.test(readFileSync('/proc/net/tcp', 'utf8'))
}

const isHere = drivers.includes('uring')

;(isHere ? test : test.skip)(
  `bytes and the reset behind them are both told${isHere ? '' : ' (skipped: not on uring)'}`,
  async () => {
    const engine = new StreamEngine(loadBinding(), 'uring', nativeOptions())
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const child = fork(writeApp('peer.js', peer), [String(port)])
    try {
      const sockets: Socket[] = []
      while (sockets.length <= others) {
        const [socket] = (await once(server, 'connection')) as [Socket]
        sockets.push(socket.on('error', () => {}))
      }
      const ids = sockets.map((socket) => {
        const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
        return engine.native.attach(fd, 0)
      })
      const [first, ...rest] = ids as [number, ...number[]]
      expect(engine.native.arm(first)).toBe(0)
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
      // Asked now: of a connection that has gone nobody knows them.
      const ports = [sockets[0]!.localPort!, sockets[0]!.remotePort!]
      // Within this turn, so that no batch is delivered.
      process.kill(child.pid!, 'SIGUSR2')
      const deadline = Date.now() + waitDeadlineMs
      while (isConnected(ports) && Date.now() < deadline);
      expect(isConnected(ports)).toBe(false)
      for (const id of rest) {
        engine.put('x', 'latin1')
        engine.gather(id, 1)
      }
      engine.flush()
      expect(engine.disarm(first)).toEqual([Buffer.from('last words'), -104])
      for (const id of ids) expect(engine.native.detach(id)).toBe(0)
    } finally {
      child.disconnect()
      server.close()
      engine.native.close()
    }
  },
)
