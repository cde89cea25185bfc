/** adopt(): a connection from a descriptor that somebody else opened, and descriptors that are none of that. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync } from 'node:fs'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { digest, listening, pattern, readAll } from '../e2e/wire'
import { drivers, loadCore, start } from './real'
import type { Core } from './real'

/** Adopts descriptor 3, and sends back what comes from it until the end. */
const echo = `
  const connection = core.adopt(3)
  print('adopted', connection.remoteName?.family)
  for await (const lease of connection) (await connection.send(lease)).buffer.release()
  await connection.shutdown()
  await connection.close()
  let isClosed = false
  try { require('node:fs').fstatSync(3) } catch { isClosed = true }
  print('closed', isClosed)`

/** The descriptor of a handle of libuv's. */
const fdOf = (of: object): number => (of as { _handle: { fd: number } })._handle.fd

/** That of a datagram socket, which Node keeps behind a symbol. */
function datagramFd(socket: object): number {
  const state = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === 'state symbol',
  )!
  return (socket as Record<symbol, { handle: { fd: number } }>)[state]!.handle.fd
}

describe.each(drivers)('%s', (name) => {
  let core: Core

  beforeAll(() => {
    core = loadCore(name)
  })

  afterEach(() => {
    expect(core.driver.stats()).toMatchObject({
      unexpectedCompletions: 0,
      endpoints: 0,
      inFlight: 0,
    })
  })

  test('a Unix socket that a parent process left to us carries bytes both ways, and is closed with the connection', async () => {
    // What Node calls a pipe is one of a pair of Unix sockets, in non-blocking mode.
    const child = start(name, echo, { stdio: ['pipe'] })
    const peer = child.stdio[3] as Duplex
    const bytes = pattern(3 << 20)
    const reading = readAll(peer)
    peer.end(bytes)
    expect(digest(await reading)).toBe(digest(bytes))
    expect(await child.exited).toEqual({ output: 'adopted \nclosed true\n', code: 0 })
  })

  test('a TCP socket of net.Socket’s does, too', async () => {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
    const port = await listening(server)
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const [socket] = await accepted
    const child = start(name, echo, { stdio: [socket] })
    // The child has its own descriptor of it.
    socket.destroy()
    const bytes = pattern(3 << 20)
    const reading = readAll(client)
    client.end(bytes)
    expect(digest(await reading)).toBe(digest(bytes))
    expect(await child.exited).toEqual({ output: 'adopted IPv4\nclosed true\n', code: 0 })
    server.close()
  })

  test.each([-1, 1.5, NaN, Infinity, 2 ** 31, '3', null, undefined, {}])(
    'adopt(%p) throws ERR_OUT_OF_RANGE',
    (fd) => {
      expect(() => core.adopt(fd as number)).toThrow(
        expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
      )
    },
  )

  test('a number that is no descriptor throws EBADF', () => {
    const fd = openSync('/dev/null', 'r')
    closeSync(fd)
    expect(() => core.adopt(fd)).toThrow(
      expect.objectContaining({ code: 'EBADF', syscall: 'adopt', errno: -9 }),
    )
    expect(() => core.adopt(2147483647)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })

  test('a file throws ENOTSOCK, and stays its owner’s', () => {
    const fd = openSync('/dev/null', 'r')
    expect(() => core.adopt(fd)).toThrow(expect.objectContaining({ code: 'ENOTSOCK' }))
    expect(fstatSync(fd).isCharacterDevice()).toBe(true)
    closeSync(fd)
  })

  test('a socket that listens throws, and goes on listening', async () => {
    const server = net.createServer((socket) => socket.end('still here'))
    const port = await listening(server)
    expect(() => core.adopt(fdOf(server))).toThrow(expect.objectContaining({ code: 'ENOTCONN' }))
    const client = net.connect(port, '127.0.0.1')
    expect(String(await readAll(client))).toBe('still here')
    server.close()
  })

  test('a datagram socket throws, and stays its owner’s', async () => {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    expect(() => core.adopt(datagramFd(socket))).toThrow(
      expect.objectContaining({ code: 'EPROTOTYPE' }),
    )
    const { port } = socket.address() as AddressInfo
    const message = once(socket, 'message')
    socket.send('to itself', port, '127.0.0.1')
    expect(String((await message)[0])).toBe('to itself')
    socket.close()
  })
})
