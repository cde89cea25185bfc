/** Options and members of a subject's servers and clients: what programs set, and what they get back. */
import * as assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import * as nodeNet from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Check } from '../check'
import { turn } from '../turns'
import { assertWire, payload } from '../wire'
import { connectionTo, listening, netOf, recorded } from './module-ends'

const area = 'sockets'
const needs = ['module'] as const

export const optionChecks: readonly Check[] = [
  {
    id: 'E1-70',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'pauseOnConnect accepts without reading; resume() brings everything',
    intent: 'a parent that accepts and hands connections on must not take their first bytes',
    hazards: [46],
    needs,
    async run(context) {
      const server = netOf(context).createServer({ pauseOnConnect: true })
      const port = await listening(context, server)
      const accepted = connectionTo(server)
      const client = nodeNet.connect(port, '127.0.0.1')
      recorded(context, client, 'b')
      client.end(payload(50_000))
      const socket = await context.within(accepted, "'connection'")
      const seen = recorded(context, socket)
      assert.equal(socket.isPaused(), true, 'the socket is not paused')
      seen.read()
      await context.silence()
      assert.equal(seen.length, 0, "'data' came although paused on connect")
      assert.equal(socket.bytesRead, 0, 'a socket paused on connect has been read')
      socket.resume()
      await context.within(seen.seen('end'), "'end' after resume()")
      assertWire(seen.bytes, payload(50_000), 'data of a socket paused on connect')
    },
  },
  {
    id: 'E1-71',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "a server's allowHalfOpen decides whether its sockets end by themselves",
    intent: 'protocols that answer after the request was ended',
    hazards: [37],
    needs,
    async run(context) {
      for (const allowHalfOpen of [false, true]) {
        const server = netOf(context).createServer({ allowHalfOpen })
        const port = await listening(context, server)
        const accepted = connectionTo(server)
        const client = nodeNet.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
        const seenClient = recorded(context, client, 'b').read()
        client.end('question')
        const socket = await context.within(accepted, "'connection'")
        const seen = recorded(context, socket).read()
        await context.within(seen.seen('end'), "'end' of the question")
        if (allowHalfOpen) {
          await context.silence()
          const hasEnded = seenClient.events.includes('end')
          assert.ok(!hasEnded, 'a half-open socket has ended by itself')
          socket.end('answer')
        }
        await context.within(seenClient.seen('end'), 'the end of our half')
        assert.equal(seenClient.bytes.toString(), allowHalfOpen ? 'answer' : '', 'the answer')
      }
    },
  },
  {
    id: 'E1-72',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'a server on a path: address() is the path, data flows, and close() removes it',
    intent: 'a daemon that is restarted must be able to bind its path again',
    hazards: [],
    needs,
    async run(context) {
      const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
      context.after(() => rmSync(folder, { recursive: true, force: true }))
      const path = join(folder, 'socket')
      const server = netOf(context).createServer((socket) => {
        recorded(context, socket)
        socket.pipe(socket)
      })
      await listening(context, server, { path })
      assert.equal(server.address(), path, 'address() of a server on a path')
      for (const { connect } of [nodeNet, netOf(context)]) {
        const client = connect({ path })
        const seen = recorded(context, client, 'b').read()
        client.end(payload(50_000))
        await context.within(seen.seen('end'), 'the echo over a path')
        assertWire(seen.bytes, payload(50_000), 'the echo over a path')
        assert.equal(client.remoteAddress, undefined, 'remoteAddress over a path')
      }
      await context.within(new Promise((resolve) => server.close(resolve)), "'close'")
      assert.ok(!existsSync(path), 'close() has left the path behind')
    },
  },
  {
    id: 'E1-73',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'setters return their socket: before connecting, connected, and after close',
    intent: 'they are called in chains, also by libraries that do not know the state',
    hazards: [],
    needs,
    async run(context) {
      const server = nodeNet.createServer((socket) => void socket.end())
      const port = await listening(context, server)
      const client = new (netOf(context).Socket)()
      const seen = recorded(context, client)
      const all = (when: string): void => {
        const returned: Record<string, unknown> = {
          setNoDelay: client.setNoDelay(),
          'setNoDelay(false)': client.setNoDelay(false),
          setKeepAlive: client.setKeepAlive(true, 1000),
          setTimeout: client.setTimeout(0),
          pause: client.pause(),
          resume: client.resume(),
          setEncoding: client.setEncoding('latin1'),
        }
        for (const [name, value] of Object.entries(returned)) {
          assert.equal(value, client, `${name} does not return its socket ${when}`)
        }
      }
      all('before connecting')
      client.connect(port, '127.0.0.1')
      all('while connecting')
      await context.within(seen.seen('connect'), "'connect'")
      all('when connected')
      await context.within(seen.seen('close'), "'close'")
      all('after close')
    },
  },
  {
    id: 'E1-74',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'the onread buffer is filled and told, its callback pauses, and nothing is pushed',
    intent: 'programs that read without an allocation for each chunk',
    hazards: [47],
    needs,
    async run(context) {
      const bytes = payload(200_000)
      const server = nodeNet.createServer((socket) => void socket.end(bytes))
      const port = await listening(context, server)
      const buffer = Buffer.alloc(5000)
      const parts: Buffer[] = []
      let isPaused = false
      let late = 0
      let pushed = 0
      const client = netOf(context).connect({
        port,
        host: '127.0.0.1',
        onread: {
          buffer,
          callback(length: number, given: Uint8Array) {
            assert.equal(given.buffer, buffer.buffer, 'another buffer was given to onread')
            if (isPaused) late++
            parts.push(Buffer.from(given.subarray(0, length)))
            isPaused = parts.length % 4 === 0
            if (!isPaused) return true
            setImmediate(() => {
              isPaused = false
              client.resume()
            })
            return false
          },
        },
      })
      client.on('data', () => pushed++)
      const seen = recorded(context, client)
      await context.within(seen.seen('end'), "'end' of a socket with onread")
      assert.equal(late, 0, "onread's callback was called although it had paused")
      assert.equal(pushed, 0, "'data' was told beside onread")
      assertWire(Buffer.concat(parts), bytes, 'data by onread')
    },
  },
  {
    id: 'E1-75',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'localAddress and localPort bind the client; the server sees them',
    intent: 'machines with several addresses and firewalls that know one',
    hazards: [],
    needs,
    async run(context) {
      const server = nodeNet.createServer()
      const port = await listening(context, server)
      const accepted = connectionTo(server)
      const client = netOf(context).connect({ port, host: '127.0.0.1', localAddress: '127.0.0.3' })
      const seen = recorded(context, client)
      await context.within(seen.seen('connect'), "'connect' of a bound client")
      const peer = await context.within(accepted, 'the connection at the server')
      recorded(context, peer, 'b')
      assert.equal(peer.remoteAddress, '127.0.0.3', 'localAddress is not what the peer sees')
      const told = [client.localAddress, client.remoteAddress, client.remotePort]
      assert.deepEqual(told, ['127.0.0.3', '127.0.0.1', port], 'addresses of a client')
      assert.equal(client.localPort, peer.remotePort, 'localPort of a client')
    },
  },
  {
    id: 'E1-76',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'a signal given to listen() closes the server when it aborts',
    intent: 'one signal that takes a whole program down',
    hazards: [31],
    needs,
    async run(context) {
      const abort = new AbortController()
      const server = netOf(context).createServer()
      const closed = new Promise((resolve) => server.on('close', resolve))
      const port = await listening(context, server, { signal: abort.signal })
      abort.abort()
      await context.within(closed, "'close' after the abort")
      const seen = recorded(context, nodeNet.connect(port, '127.0.0.1'), 'b')
      await context.within(seen.seen('close'), 'the end of a connection after the abort')
      assert.equal(seen.errors[0]?.code, 'ECONNREFUSED', 'a server was connected to after abort')
    },
  },
  {
    id: 'E1-77',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: '`await using server` closes it, where node:net has it',
    intent: 'tests and scripts that leave a scope',
    hazards: [31],
    needs,
    async run(context) {
      const dispose = (Symbol as { asyncDispose?: symbol }).asyncDispose
      const has = dispose !== undefined && dispose in nodeNet.Server.prototype
      const server = netOf(context).createServer()
      await listening(context, server)
      if (!has) return context.note('this Node has no Symbol.asyncDispose on servers')
      const member = (server as unknown as Record<symbol, () => Promise<void>>)[dispose]
      assert.equal(typeof member, 'function', 'the server has no Symbol.asyncDispose')
      await context.within(Promise.resolve(member?.call(server)), 'the end of disposing')
      assert.equal(server.listening, false, 'a disposed server is listening')
      await context.within(Promise.resolve(member?.call(server)), 'disposing of it again')
    },
  },
  {
    id: 'E1-78',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'setTimeout() refuses what is no time, and its callback is called once',
    intent: 'a timeout read from a configuration that is missing',
    hazards: [],
    needs,
    async run(context) {
      const socket = new (netOf(context).Socket)()
      recorded(context, socket)
      for (const wrong of [-1, NaN, 'soon', undefined]) {
        const set = (): unknown => socket.setTimeout(wrong as number)
        assert.throws(set, /ERR_(OUT_OF_RANGE|INVALID_ARG_TYPE)/, `setTimeout(${String(wrong)})`)
      }
      let calls = 0
      const onTimeout = (): void => void calls++
      socket.setTimeout(1000, onTimeout)
      assert.equal(socket.timeout, 1000, '`timeout` is not what was set')
      socket.emit('timeout')
      socket.emit('timeout')
      assert.equal(calls, 1, "setTimeout()'s callback was not called once")
      socket.setTimeout(1000, onTimeout)
      socket.setTimeout(0, onTimeout)
      socket.emit('timeout')
      assert.equal(calls, 1, 'setTimeout(0, callback) did not take the callback back')
    },
  },
  {
    id: 'E3-1',
    rule: 'E3',
    strength: 'required',
    area,
    requirement:
      'ref() and unref() return their object in any state, and change nothing but the exit',
    intent: 'pools unref idle connections and ref them again when they are used',
    hazards: [64],
    needs,
    async run(context) {
      const server = netOf(context).createServer((socket) => {
        recorded(context, socket)
        assert.equal(socket.unref(), socket, 'unref() does not return its accepted socket')
        socket.pipe(socket)
      })
      assert.equal(server.unref(), server, 'unref() does not return its server')
      assert.equal(server.ref(), server, 'ref() does not return its server')
      const port = await listening(context, server)
      server.unref()
      const client = new (netOf(context).Socket)()
      const seen = recorded(context, client).read()
      assert.equal(client.unref(), client, 'unref() does not return its socket')
      assert.equal(client.ref(), client, 'ref() does not return its socket')
      client.connect(port, '127.0.0.1')
      client.unref()
      await context.within(seen.seen('connect'), "'connect' of a socket that is unref'ed")
      client.write('x')
      await context.within(seen.received(1), "the echo of sockets that are unref'ed")
      client.end()
      await context.within(seen.seen('close'), "'close' of a socket that is unref'ed")
      assert.equal(client.ref(), client, 'ref() does not return its closed socket')
    },
  },
  {
    id: 'C4-90',
    rule: 'C4',
    strength: 'required',
    area,
    requirement: 'connecting and closing over and over leaves no descriptor open',
    intent: 'a server that runs for a year',
    hazards: [26, 28, 35, 43],
    needs,
    async run(context) {
      const folder = '/proc/self/fd'
      if (!existsSync(folder)) return context.note('descriptors cannot be counted here')
      const net = netOf(context)
      const server = net.createServer((socket) => void socket.on('error', () => {}).end('hello'))
      const port = await listening(context, server)
      const cycle = (i: number): Promise<void> =>
        new Promise((resolve) => {
          const client = net.connect(port, '127.0.0.1')
          client.on('error', () => {}).on('close', () => resolve())
          // Each way to go: read to the end, destroyed when connected, destroyed before.
          if (i % 3 === 0) client.resume()
          if (i % 3 === 1) client.on('connect', () => client.destroy())
          if (i % 3 === 2) setImmediate(() => client.destroy())
        })
      const cycles = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i += 6) {
          const batch = Promise.all([0, 1, 2, 3, 4, 5].map((k) => cycle(i + k)))
          await context.within(batch, "'close' of each of six connections")
        }
      }
      await cycles(30)
      await context.silence()
      const before = readdirSync(folder).length
      await cycles(300)
      let after = 0
      for (let round = 0; round < 10; round++) {
        await turn()
        after = readdirSync(folder).length
        if (after <= before + 4) return
        await context.silence()
      }
      assert.fail(`300 connections left ${after - before} descriptors open`)
    },
  },
]
