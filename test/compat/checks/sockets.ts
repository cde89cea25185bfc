/**
 * Servers of a subject's `net`: listening, accepting, closing. The clients are node:net's, and it is they who tell what
 * the server did. Clients are judged in sockets-clients.ts, options and members of both in sockets-options.ts.
 */
import * as assert from 'node:assert/strict'
import * as nodeNet from 'node:net'
import type { Check } from '../check'
import { turn } from '../turns'
import { connectionTo, listening, netOf, recorded } from './module-ends'
import { clientChecks } from './sockets-clients'
import { optionChecks } from './sockets-options'

const area = 'sockets'
const needs = ['module'] as const

const serverChecks: readonly Check[] = [
  {
    id: 'E1-30',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "listen() tells 'listening' in a later tick; address() is there at once and null after",
    intent: 'programs listen on port 0 and publish the port they got',
    hazards: [],
    needs,
    async run(context) {
      const server = netOf(context).createServer()
      context.after(() => void server.close())
      assert.equal(server.address(), null, 'address() before listen()')
      assert.equal(server.listening, false, '`listening` before listen()')
      let told = 0
      const ready = new Promise<void>((resolve) => {
        server.on('listening', () => {
          told++
          resolve()
        })
        server.listen({ port: 0, host: '127.0.0.1' })
      })
      assert.equal(told, 0, "'listening' was emitted within listen()")
      await context.within(ready, "'listening'")
      assert.equal(server.listening, true, '`listening` after listen()')
      const address = server.address() as nodeNet.AddressInfo | null
      assert.ok(address !== null, 'address() of a listening server is null')
      assert.equal(address.address, '127.0.0.1', "address()'s address")
      assert.equal(address.family, 'IPv4', "address()'s family")
      assert.ok(address.port > 0, "address()'s port is 0")
      await context.within(new Promise((resolve) => server.close(resolve)), "'close' of the server")
      assert.equal(server.address(), null, 'address() of a closed server')
      assert.equal(server.listening, false, '`listening` of a closed server')
    },
  },
  {
    id: 'E1-31',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'an accepted socket knows both addresses, and its client sees the same',
    intent: 'access logs, rate limits, allow lists',
    hazards: [],
    needs,
    async run(context) {
      for (const [host, family] of [
        ['127.0.0.1', 'IPv4'],
        ['::1', 'IPv6'],
      ] as const) {
        const server = netOf(context).createServer()
        let port: number
        try {
          port = await listening(context, server, { host })
        } catch (error) {
          // A machine without IPv6 is no failure of the subject's; any other address has to work.
          assert.ok(host === '::1', `cannot listen on ${host}: ${String(error)}`)
          context.note(`no check of ${host}: ${String(error)}`)
          continue
        }
        const accepted = connectionTo(server)
        const client = nodeNet.connect({ port, host })
        const seenClient = recorded(context, client, 'b')
        await context.within(seenClient.seen('connect'), "the client's 'connect'")
        const socket = await context.within(accepted, "'connection'")
        recorded(context, socket)
        assert.equal(socket.remoteAddress, host, 'remoteAddress of an accepted socket')
        assert.equal(socket.remotePort, client.localPort, 'remotePort of an accepted socket')
        assert.equal(socket.remoteFamily, family, 'remoteFamily of an accepted socket')
        assert.equal(socket.localAddress, host, 'localAddress of an accepted socket')
        assert.equal(socket.localPort, port, 'localPort of an accepted socket')
        const own = { address: host, port, family }
        assert.deepEqual(socket.address(), own, 'address() of an accepted socket')
      }
    },
  },
  {
    id: 'E1-32',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "close() refuses at once, keeps the connections, and tells 'close' after the last of them",
    intent: 'graceful shutdown: no new work, the old is finished, then exit',
    hazards: [31],
    needs,
    async run(context) {
      const server = netOf(context).createServer()
      const port = await listening(context, server)
      const accepted = connectionTo(server)
      const client = nodeNet.connect(port, '127.0.0.1')
      const seenClient = recorded(context, client, 'b').read()
      const socket = await context.within(accepted, "'connection'")
      const seen = recorded(context, socket).read()
      let closes = 0
      server.on('close', () => closes++)
      const closed = new Promise<unknown>((resolve) => server.close(resolve))
      const late = nodeNet.connect(port, '127.0.0.1')
      const seenLate = recorded(context, late, 'late')
      await context.within(seenLate.seen('close'), 'the end of a connection made after close()')
      assert.equal(
        seenLate.errors[0]?.code,
        'ECONNREFUSED',
        'a connection after close() was accepted',
      )
      await context.silence()
      assert.equal(closes, 0, "'close' came before the last connection had ended")
      client.write('still')
      await context.within(seen.received(5), 'data of a connection on a closed server')
      socket.end('alive')
      await context.within(seenClient.seen('close'), "the client's 'close'")
      const error = await context.within(closed, "'close' of the server after its last connection")
      assert.equal(error, undefined, "close()'s callback got an error")
    },
  },
  {
    id: 'E1-33',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      'connections that come in the turn of close() are emitted or closed: no client hangs',
    intent: 'a rolling restart under load: a client that hangs waits for its timeout',
    hazards: [26, 31],
    needs,
    async run(context) {
      for (const when of ['in that turn', "in 'connection'"]) {
        const server = netOf(context).createServer((socket) => {
          socket.on('error', () => {}).resume()
          socket.end('hello')
          server.close()
        })
        const closed = new Promise((resolve) => server.on('close', resolve))
        const port = await listening(context, server)
        const clients = Array.from({ length: 12 }, () => {
          const client = nodeNet.connect(port, '127.0.0.1')
          return recorded(context, client, 'b').read()
        })
        if (when === 'in that turn') {
          // The connects are made in the tick before: the kernel has them, the server has not been told.
          await new Promise<void>((resolve) => process.nextTick(resolve))
          server.close()
        }
        const all = Promise.all(clients.map((seen) => seen.seen('close')))
        await context.within(all, 'the end of clients that came in the turn of close()')
        await context.within(closed, "'close' of a server that was closed while clients came")
      }
    },
  },
  {
    id: 'E1-34',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      'listening twice throws, closing twice tells, and a closed server may listen again',
    intent: 'restarts within a process, tests that start and stop a server',
    hazards: [],
    needs,
    async run(context) {
      const server = netOf(context).createServer((socket) => void socket.end('hello'))
      const port = await listening(context, server)
      const twice = { code: 'ERR_SERVER_ALREADY_LISTEN' }
      assert.throws(() => server.listen(0), twice, 'listen() of a listening server')
      const close = (): Promise<NodeJS.ErrnoException | undefined> =>
        context.within(new Promise((resolve) => server.close(resolve)), "close()'s callback")
      assert.equal(await close(), undefined, 'close() of a listening server')
      const again = await close()
      assert.equal(again?.code, 'ERR_SERVER_NOT_RUNNING', 'close() of a closed server')
      const port2 = await listening(context, server, { port })
      assert.equal(port2, port, 'a closed server cannot listen on its port again')
      const seen = recorded(context, nodeNet.connect(port, '127.0.0.1'), 'b').read()
      await context.within(seen.seen('end'), 'an answer of a server that listens again')
      assert.equal(seen.bytes.toString(), 'hello', 'an answer of a server that listens again')
    },
  },
  {
    id: 'E1-35',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "a port that is taken is node's EADDRINUSE, in a later tick, and the server may try again",
    intent: 'development servers take the next port',
    hazards: [],
    needs,
    async run(context) {
      const holder = nodeNet.createServer()
      const port = await listening(context, holder)
      const server = netOf(context).createServer()
      context.after(() => void server.close())
      const failed = new Promise<NodeJS.ErrnoException>((resolve) => server.once('error', resolve))
      server.listen({ port, host: '127.0.0.1' })
      const error = await context.within(failed, 'the error of a port that is taken')
      const { code, errno, syscall, message } = error
      const { address } = error as { address?: string }
      assert.deepEqual(
        { code, errno, syscall, address, port: (error as { port?: number }).port },
        { code: 'EADDRINUSE', errno: -98, syscall: 'listen', address: '127.0.0.1', port },
        'shape of EADDRINUSE',
      )
      const text = `listen EADDRINUSE: address already in use 127.0.0.1:${port}`
      assert.equal(message, text, 'message of EADDRINUSE')
      assert.equal(server.listening, false, 'a server that could not listen says it does')
      assert.ok((await listening(context, server)) > 0, 'listen() after EADDRINUSE')
    },
  },
  {
    id: 'E1-36',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "maxConnections closes what is too many and tells 'drop' with its addresses",
    intent: 'the limit that keeps a server alive',
    hazards: [],
    needs,
    async run(context) {
      const server = netOf(context).createServer()
      const port = await listening(context, server)
      server.maxConnections = 1
      let accepted = 0
      server.on('connection', (socket) => {
        accepted++
        recorded(context, socket)
      })
      const drops: (nodeNet.DropArgument | undefined)[] = []
      server.on('drop', (data) => void drops.push(data))
      const first = connectionTo(server)
      recorded(context, nodeNet.connect(port, '127.0.0.1'), 'b')
      await context.within(first, 'the one connection')
      const second = nodeNet.connect(port, '127.0.0.1')
      const seenSecond = recorded(context, second, 'second').read()
      const localPort = seenSecond.seen('connect').then(() => second.localPort)
      await context.within(seenSecond.seen('close'), 'the end of a connection too many')
      await context.within(localPort, "the second client's 'connect'")
      assert.equal(accepted, 1, 'more than maxConnections were accepted')
      assert.equal(drops.length, 1, "'drop' was not told once")
      const [told] = drops
      assert.deepEqual(
        [told?.remoteAddress, told?.remotePort, told?.localPort],
        ['127.0.0.1', await localPort, port],
        "addresses of 'drop'",
      )
    },
  },
  {
    id: 'E1-37',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'getConnections() counts what is open now',
    intent: 'health checks and graceful shutdown ask for it',
    hazards: [],
    needs,
    async run(context) {
      const server = netOf(context).createServer((socket) => {
        socket.on('error', () => {}).resume()
      })
      const port = await listening(context, server)
      const counted = (): Promise<number> =>
        context.within(
          new Promise((resolve, reject) => {
            const result = server.getConnections((error, count) => {
              if (error) reject(error)
              else resolve(count)
            })
            assert.equal(result, server, 'getConnections() does not return its server')
          }),
          "getConnections()'s callback",
        )
      assert.equal(await counted(), 0, 'getConnections() before any')
      const clients: nodeNet.Socket[] = []
      for (let i = 1; i <= 3; i++) {
        const accepted = connectionTo(server)
        const client = nodeNet.connect(port, '127.0.0.1')
        recorded(context, client, 'b')
        clients.push(client)
        await context.within(accepted, "'connection'")
        assert.equal(await counted(), i, 'getConnections() while they come')
      }
      for (const client of clients.slice(1)) client.destroy()
      for (let count = 3, round = 0; count > 1; round++) {
        assert.ok(round < 40, 'getConnections() still counts connections that are closed')
        await turn()
        if (round > 20) await context.silence()
        count = await counted()
      }
      assert.equal(await counted(), 1, 'getConnections() after two have closed')
    },
  },
  {
    id: 'E1-38',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'clients that come at once are all accepted, each once',
    intent: 'a burst after a deployment, a load balancer that opens its pool',
    hazards: [26, 49, 56],
    needs,
    async run(context) {
      const server = netOf(context).createServer((socket) => {
        socket.on('error', () => {}).resume()
        socket.end(`hello ${String(socket.remotePort)}`)
      })
      const port = await listening(context, server)
      const clients = Array.from({ length: 64 }, () => {
        const client = nodeNet.connect(port, '127.0.0.1')
        const seen = recorded(context, client, 'b').read()
        return seen.seen('connect').then(() => ({ seen, localPort: client.localPort }))
      })
      const made = await context.within(Promise.all(clients), "'connect' of 64 clients")
      const ends = Promise.all(made.map(({ seen }) => seen.seen('end')))
      await context.within(ends, 'the greeting of 64 clients that came at once')
      for (const { seen, localPort } of made) {
        assert.notEqual(seen.length, 0, 'one of 64 clients was not greeted')
        assert.equal(
          seen.bytes.toString(),
          `hello ${String(localPort)}`,
          "another client's greeting",
        )
      }
    },
  },
  {
    id: 'E2-7',
    rule: 'E2',
    strength: 'required',
    area,
    requirement: "between the 'connection' of two clients process.nextTick and promises run",
    intent: 'what the handler of one connection queued is done before the next is handled',
    hazards: [58],
    needs,
    async run(context) {
      const server = netOf(context).createServer()
      const order: string[] = []
      let count = 0
      server.on('connection', (socket) => {
        recorded(context, socket)
        const i = count++
        order.push(`connection ${i}`)
        process.nextTick(() => order.push(`tick ${i}`))
        void Promise.resolve().then(() => order.push(`promise ${i}`))
      })
      const port = await listening(context, server)
      for (let i = 0; i < 4; i++) recorded(context, nodeNet.connect(port, '127.0.0.1'), 'b')
      await context.until(() => order.length === 12, 'four connections and what they queued')
      for (let i = 0; i < 4; i++) {
        const got = order.slice(3 * i, 3 * i + 3).sort()
        const expected = [`connection ${i}`, `promise ${i}`, `tick ${i}`]
        assert.deepEqual(got, expected, "ticks of one 'connection' ran after the next one's")
      }
    },
  },
]

export const socketsChecks: readonly Check[] = [...serverChecks, ...clientChecks, ...optionChecks]
