/**
 * How sockets and servers begin, end and fail, compared with node:net on the same Node (E1, E3): the same scenario runs
 * on each implementation and its trace must be the same.
 */
import { once } from 'node:events'
import { mkdtempSync, existsSync } from 'node:fs'
import * as nodeNet from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { implementations } from './subjects'
import type { NetModule } from './subjects'
import { digest, listening, pair, pattern, readAll } from './wire'

/** What an error shows to programs; ports differ from run to run. */
function shape(error: unknown, port?: number): unknown {
  const { code, errno, syscall, address, name, message } = error as NodeJS.ErrnoException & {
    address?: string
  }
  const at = port === undefined ? message : message.replaceAll(String(port), 'PORT')
  return { code, errno, syscall, address, name, message: at, hasPort: 'port' in (error as object) }
}

function failure(emitter: NodeJS.EventEmitter): Promise<unknown> {
  return new Promise((resolve) => emitter.once('error', resolve))
}

/** Names of events in the order they came, until 'close'. */
async function eventsUntilClose(socket: Socket): Promise<string[]> {
  const seen: string[] = []
  for (const name of ['connect', 'ready', 'end', 'finish', 'error', 'timeout', 'drain']) {
    socket.on(name, () => seen.push(name))
  }
  const hadError = await new Promise<boolean>((resolve) => socket.on('close', resolve))
  return [...seen, `close(${hadError})`]
}

/** Runs the scenario on node:net and on each driver; all must give what node:net gives. */
function sameAsNode(title: string, scenario: (net: NetModule) => Promise<unknown>): void {
  const [oracle, ...rest] = implementations()
  test.each(rest)(`$name: ${title}`, async ({ net }) => {
    const expected = await scenario(oracle!.net)
    expect(expected).toBeDefined()
    expect(await scenario(net)).toEqual(expected)
  })
}

sameAsNode('connect to a port nobody listens on', async (net) => {
  const probe = nodeNet.createServer()
  const port = await listening(probe)
  probe.close()
  await once(probe, 'close')
  const socket = net.connect(port, '127.0.0.1')
  const [error, events] = await Promise.all([failure(socket), eventsUntilClose(socket)])
  return [shape(error, port), events]
})

sameAsNode('listen on an address in use', async (net) => {
  const first = nodeNet.createServer()
  const port = await listening(first)
  const second = net.createServer()
  second.listen(port, '127.0.0.1')
  const error = await failure(second)
  first.close()
  return shape(error, port)
})

sameAsNode('listen on an address this machine does not have', async (net) => {
  const server = net.createServer()
  server.listen(0, '203.0.113.1')
  return shape(await failure(server))
})

sameAsNode('connect to a Unix path that is not there', async (net) => {
  return shape(await failure(net.connect('/nonexistent/uring-net.sock')))
})

sameAsNode('arguments that are refused', async (net) => {
  const attempts: (() => unknown)[] = [
    () => net.connect({} as never),
    () => net.connect({ port: 70000 }),
    () => net.connect({ port: 'x' as never }),
    () => net.connect({ port: 80, localAddress: 'not an address' }),
    () => net.createServer(5 as never),
    () => net.createServer().listen(-1),
    () => net.createServer().listen({} as never),
    () => net.createServer().listen({ port: 1.5 } as never),
    () => new net.Socket({ objectMode: true } as never),
    () => new net.Socket().setTimeout(-1),
    () => new net.Socket().setTimeout('1' as never),
    () => new net.Socket().write(null as never),
    () => new net.Socket().write({} as never),
  ]
  return attempts.map((attempt) => {
    try {
      const made = attempt() as { destroy?(): void; close?(): void } | undefined
      made?.destroy?.()
      made?.close?.()
      return 'no error'
    } catch (error) {
      return shape(error)
    }
  })
})

sameAsNode('listening twice, closing twice', async (net) => {
  const server = net.createServer()
  await listening(server)
  const seen: unknown[] = []
  try {
    server.listen(0)
  } catch (error) {
    seen.push(shape(error))
  }
  await new Promise<void>((resolve) => server.close(() => resolve()))
  seen.push(shape(await new Promise((resolve) => server.close((error) => resolve(error)))))
  return seen
})

sameAsNode('write after end, write after destroy', async (net) => {
  const { connected, stop } = await pair({ server: nodeNet, client: net })
  connected.end()
  const afterEnd = await new Promise((resolve) => {
    connected.once('error', () => {})
    connected.write('x', (error) => resolve(error))
  })
  connected.destroy()
  const afterDestroy = await new Promise((resolve) => {
    connected.once('error', () => {})
    connected.write('x', (error) => resolve(error))
  })
  await stop()
  return [shape(afterEnd), shape(afterDestroy)]
})

sameAsNode('the order of events when both ends end', async (net) => {
  const server = net.createServer((socket) => socket.end('bye'))
  const port = await listening(server)
  const client = net.connect(port, '127.0.0.1')
  client.resume()
  const events = await eventsUntilClose(client)
  server.close()
  return events
})

sameAsNode('the order of events on destroy with an error', async (net) => {
  const { connected, stop } = await pair({ server: nodeNet, client: net })
  const events = eventsUntilClose(connected)
  connected.destroy(new Error('mine'))
  const seen = await events
  await stop()
  return seen
})

sameAsNode('a reset by the peer', async (net) => {
  const { accepted, connected, stop } = await pair({ server: nodeNet, client: net })
  connected.resume()
  const [error, events] = [failure(connected), eventsUntilClose(connected)]
  accepted.resetAndDestroy()
  const seen = [shape(await error), await events]
  await stop()
  return seen
})

sameAsNode('resetAndDestroy is seen as a reset', async (net) => {
  const { accepted, connected, stop } = await pair({ server: nodeNet, client: net })
  accepted.resume()
  const error = failure(accepted)
  connected.resetAndDestroy()
  const seen = shape(await error)
  await stop()
  return seen
})

sameAsNode('end() right after a large write delivers everything before FIN', async (net) => {
  const { accepted, connected, stop } = await pair({ server: nodeNet, client: net })
  const bytes = pattern(3 << 20, 1)
  connected.write(bytes)
  connected.end('end')
  const received = await readAll(accepted)
  await stop()
  return digest(received)
})

sameAsNode('destroySoon delivers what was written', async (net) => {
  const { accepted, connected, stop } = await pair({ server: nodeNet, client: net })
  connected.write(pattern(2 << 20, 2))
  connected.destroySoon()
  const received = await readAll(accepted)
  await stop()
  return digest(received)
})

sameAsNode('write then destroy in the same tick delivers what fits the socket', async (net) => {
  const { accepted, connected, stop } = await pair({ server: nodeNet, client: net })
  connected.write('last words')
  connected.destroy()
  const received = await readAll(accepted)
  await stop()
  return received.toString()
})

sameAsNode('writes before connect arrive, and connect comes before data', async (net) => {
  const server = nodeNet.createServer((socket) => socket.pipe(socket))
  const port = await listening(server)
  const socket = new net.Socket()
  const order: string[] = []
  socket.on('connect', () => order.push('connect'))
  socket.once('data', () => order.push('data'))
  socket.connect(port, '127.0.0.1')
  socket.write('one ')
  socket.write('two')
  socket.end()
  const received = await readAll(socket)
  server.close()
  return [order, received.toString()]
})

sameAsNode('destroy while connecting', async (net) => {
  const server = nodeNet.createServer()
  const port = await listening(server)
  const socket = net.connect(port, '127.0.0.1')
  socket.destroy()
  const events = await eventsUntilClose(socket)
  server.close()
  return events
})

sameAsNode('addresses, families and ports', async (net) => {
  const server = net.createServer()
  const port = await listening(server)
  const client = net.connect(port, '127.0.0.1')
  const [[accepted]] = (await Promise.all([
    once(server, 'connection'),
    once(client, 'connect'),
  ])) as [[Socket], unknown]
  const { address, family } = server.address() as AddressInfo
  const facts = [
    address,
    family,
    client.remoteAddress,
    client.remoteFamily,
    client.remotePort === port,
    client.localAddress,
    client.localPort === accepted.remotePort,
    accepted.localPort === port,
    accepted.remoteAddress,
    accepted.address(),
    client.readyState,
    accepted.pending,
  ].map((fact) => JSON.parse(JSON.stringify(fact).replaceAll(String(port), '0')) as unknown)
  client.destroy()
  accepted.destroy()
  server.close()
  await once(server, 'close')
  return facts
})

sameAsNode('IPv6 and the unspecified address', async (net) => {
  const server = net.createServer((socket) => socket.end(String(socket.remoteFamily)))
  server.listen(0)
  await once(server, 'listening')
  const { port, family, address } = server.address() as AddressInfo
  const four = await readAll(net.connect(port, '127.0.0.1'))
  const six = await readAll(net.connect(port, '::1'))
  server.close()
  return [family, address, four.toString(), six.toString()]
})

sameAsNode('Unix sockets, by path and abstract', async (net) => {
  const seen: unknown[] = []
  const paths = [
    join(mkdtempSync(join(tmpdir(), 'uring-net-')), 'socket'),
    `\0uring-net-${process.pid}-${Math.random()}`,
  ]
  for (const path of paths) {
    const server = net.createServer((socket) => socket.pipe(socket))
    server.listen(path)
    await once(server, 'listening')
    const client = net.connect(path)
    client.end(pattern(200000))
    seen.push(digest(await readAll(client)), server.address() === path)
    server.close()
    await once(server, 'close')
    seen.push(existsSync(path))
  }
  return seen
})

sameAsNode('counters survive destroy', async (net) => {
  const { accepted, connected, stop } = await pair({ server: nodeNet, client: net })
  accepted.end(pattern(5000))
  connected.write('12345')
  connected.write('héé')
  await readAll(connected)
  const before = [connected.bytesRead, connected.bytesWritten]
  connected.destroy()
  const after = [connected.bytesRead, connected.bytesWritten]
  await stop()
  return [before, after]
})

sameAsNode('a timeout fires on silence and is put off by traffic', async (net) => {
  const { accepted, connected, stop } = await pair({ server: nodeNet, client: net })
  connected.resume()
  const began = Date.now()
  connected.setTimeout(800)
  setTimeout(() => accepted.write('x'), 200)
  await once(connected, 'timeout')
  const isPutOff = Date.now() - began >= 990
  await stop()
  return isPutOff
})

sameAsNode('a server that closes refuses connects at once', async (net) => {
  const server = net.createServer()
  const port = await listening(server)
  server.close()
  const error = await failure(nodeNet.connect(port, '127.0.0.1'))
  return shape(error, port)
})

sameAsNode('maxConnections drops, getConnections counts', async (net) => {
  const server = net.createServer()
  server.maxConnections = 1
  const port = await listening(server)
  const first = nodeNet.connect(port, '127.0.0.1')
  await once(server, 'connection')
  const second = nodeNet.connect(port, '127.0.0.1')
  second.on('error', () => {})
  const [dropped] = (await once(server, 'drop')) as [{ remoteFamily: string }]
  const count = await new Promise((resolve) => server.getConnections((_, n) => resolve(n)))
  first.destroy()
  second.destroy()
  server.close()
  await once(server, 'close')
  return [dropped.remoteFamily, count]
})

sameAsNode('pauseOnConnect reads nothing until resumed', async (net) => {
  const server = net.createServer({ pauseOnConnect: true })
  const port = await listening(server)
  const client = nodeNet.connect(port, '127.0.0.1')
  client.end('early')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  await new Promise((resolve) => setTimeout(resolve, 50))
  const before = accepted.bytesRead
  accepted.resume()
  const received = await readAll(accepted)
  server.close()
  return [before, received.toString()]
})

sameAsNode('reconnecting a socket that was destroyed', async (net) => {
  const server = nodeNet.createServer((socket) => socket.pipe(socket))
  const port = await listening(server)
  const socket = new net.Socket()
  const echoes: string[] = []
  for (const text of ['first', 'second']) {
    socket.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(text)
    const [data] = (await once(socket, 'data')) as [Buffer]
    echoes.push(data.toString())
    socket.destroy()
    await once(socket, 'close')
  }
  server.close()
  return echoes
})

const [, ...ours] = implementations()

test.each(ours)('$name: sockets and servers are net.Socket and net.Server and ours', async (it) => {
  const net = it.net as typeof nodeNet
  const server = net.createServer()
  const port = await listening(server)
  const client = net.connect(port, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  for (const socket of [accepted, client]) {
    expect(socket).toBeInstanceOf(nodeNet.Socket)
    expect(socket).toBeInstanceOf(net.Socket)
  }
  expect(server).toBeInstanceOf(nodeNet.Server)
  expect(server).toBeInstanceOf(net.Server)
  client.destroy()
  accepted.destroy()
  server.close()
})

sameAsNode(
  'an end of stream comes before the immediates of its turn, and these before timers',
  async (net) => {
    const server = net.createServer((socket) => {
      // In the batch that makes the end of the other side ready.
      socket.once('data', () => socket.destroy())
    })
    const client = net.connect(await listening(server), '127.0.0.1')
    client.resume().write('go')
    await once(client, 'end')
    const seen: string[] = []
    const told = Promise.all([
      new Promise<void>((resolve) => setTimeout(() => resolve(void seen.push('timer')), 1)),
      new Promise<void>((resolve) => setImmediate(() => resolve(void seen.push('immediate')))),
      once(client, 'close').then(() => seen.push('close')),
    ])
    // Until the timer is due.
    for (const until = performance.now() + 3; performance.now() < until;) continue
    await told
    server.close()
    return seen
  },
)
