/**
 * Defects that a review found in the ownership API, each as the behaviour that was missing, and the one that sockets shared
 * with it: resets. The others of sockets and servers are in regressions.test.ts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import nodeNet from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { loadAdapters } from './adapters'
import { drivers, implementations } from './subjects'
import { listening, pattern } from './wire'

test.each(drivers)(
  '%s: a reset during a blocked send fails receive() with ECONNRESET instead of ending it',
  async (name) => {
    const { connect, driver } = loadAdapters(name)
    const server = nodeNet.createServer({ pauseOnConnect: true })
    const port = await listening(server)
    const accepted = once(server, 'connection') as Promise<[Socket]>
    await using connection = await connect({ port, host: '127.0.0.1' })
    const bytes = pattern(30 << 20)
    const sending = connection.send(bytes)
    const [peer] = await accepted
    peer.on('error', () => {}).write('part of an answer')
    const first = await connection.receive()
    expect(Buffer.from(first!.bytes).toString()).toBe('part of an answer')
    first!.release()
    // Nothing tells that the kernel's buffers are full; by now they are.
    setTimeout(() => peer.resetAndDestroy(), 50)
    await expect(connection.receive()).rejects.toMatchObject({ code: 'ECONNRESET' })
    const sent = await sending
    expect(sent.ok).toBe(false)
    expect(sent.buffer).toBe(bytes)
    server.close()
    expect(driver.stats().unexpectedCompletions).toBe(0)
  },
)

describe.each([false, true])('a reset during a blocked send, allowHalfOpen %s', (allowHalfOpen) => {
  test.each(implementations())('$name: is read ECONNRESET, not an end', async ({ net }) => {
    const server = nodeNet.createServer({ pauseOnConnect: true })
    const port = await listening(server)
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen })
    const events: string[] = []
    for (const event of ['data', 'end', 'close']) socket.on(event, () => events.push(event))
    socket.on('error', (error) => events.push(error.message))
    const closed = new Promise((resolve) => socket.on('close', resolve))
    let isWriting = true
    let wasWriting = false
    socket.write(pattern(30 << 20), () => (isWriting = false))
    const [peer] = await accepted
    peer.on('error', () => {}).write('part of an answer')
    await once(socket, 'data')
    // Nothing tells that the kernel's buffers are full; by now they are.
    setTimeout(() => {
      wasWriting = isWriting
      peer.resetAndDestroy()
    }, 50)
    await closed
    server.close()
    expect(events).toEqual(['data', 'read ECONNRESET', 'close'])
    expect(wasWriting).toBe(true)
  })
})

const core = join(__dirname, '..', '..', 'dist', 'src', 'core', 'index.js')

/** V8 has ArrayBuffer.prototype.transfer without being asked from Node 22 on. */
const transferFlags = 'transfer' in ArrayBuffer.prototype ? [] : ['--harmony-rab-gsab-transfer']

/** Runs a program with a connection of the ownership API to itself and a pool of one lease. */
async function run(driver: string, source: string): Promise<{ output: string; code: number }> {
  const prelude = `
    const core = require(${JSON.stringify(core)});
    (async () => {
      const listener = await core.listen({ host: '127.0.0.1', port: 0 })
      const accepting = listener.accept()
      const sender = await core.connect({ host: '127.0.0.1', port: listener.localName.port })
      const receiver = await accepting
      const pool = new core.Pool({ count: 1, leaseBytes: 64 })
      const print = (...values) => console.log(values.join(' '))
      ${source}
      process.exit()
    })()`
  const child = spawn(process.execPath, [...transferFlags, '--expose-gc', '-e', prelude], {
    env: { ...process.env, URING_NET_DRIVER: driver },
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => (output += data.toString()))
  }
  const [code] = (await once(child, 'close')) as [number]
  return { output, code }
}

test.each(drivers)(
  '%s: a lease whose ArrayBuffer was transferred is refused by send(), and its memory is never lent again',
  async (driver) => {
    const { output, code } = await run(
      driver,
      `const lease = pool.acquire()
       const mine = new Uint8Array(lease.bytes.buffer.transfer()).fill(1)
       await sender.send(lease).then(() => print('sent'), (error) => print(error.code))
       lease.release()
       print(lease.state, pool.available)
       mine.fill(2)
       const next = pool.acquire()
       next.length = next.bytes.write('intact')
       await sender.send(next)
       const received = await receiver.receive()
       print(Buffer.from(received.bytes), mine.every((byte) => byte === 2))`,
    )
    expect(output).toBe('ERR_URING_LEASE_TRANSFERRED\nreleased 1\nintact true\n')
    expect(code).toBe(0)
  },
)

test.each(drivers)(
  '%s: a received lease whose ArrayBuffer was transferred is refused by send(), and its memory stays',
  async (driver) => {
    const { output, code } = await run(
      driver,
      `const kept = []
       for (const use of ['send', 'release']) {
         await sender.send(Buffer.from(use))
         const lease = await receiver.receive()
         kept.push(Buffer.from(lease.bytes.buffer.transfer()))
         try { if (use === 'send') await receiver.send(lease); else lease.release(); print('allowed', lease.state) }
         catch (error) { print(error.code, lease.state) }
       }
       for (let i = 0; i < 300; i++) {
         await sender.send(Buffer.from('next'))
         const lease = await receiver.receive()
         if (String(Buffer.from(lease.bytes)) !== 'next') print('wrong bytes')
         lease.release()
       }
       print(kept[0].subarray(0, 4), kept[1].subarray(0, 7))`,
    )
    expect(output).toBe('ERR_URING_LEASE_TRANSFERRED released\nallowed released\nsend release\n')
    expect(code).toBe(0)
  },
)
