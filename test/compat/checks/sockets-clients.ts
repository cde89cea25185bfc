/**
 * Clients of a subject's `net`: connecting, not connecting, and giving up on it. The servers are node:net's, and believed.
 */
import * as assert from 'node:assert/strict'
import * as nodeNet from 'node:net'
import type { LookupAddress } from 'node:dns'
import type { Check } from '../check'
import { turn } from '../turns'
import { assertWire } from '../wire'
import { connectionTo, deadPort, listening, netOf, recorded } from './module-ends'

const area = 'sockets'
const needs = ['module'] as const

/** A resolver that knows these addresses, for any name. */
const resolving = (...addresses: string[]): nodeNet.LookupFunction =>
  ((_name: string, options: { all?: boolean }, done: (...values: unknown[]) => void) => {
    const found: LookupAddress[] = addresses.map((address) => ({ address, family: 4 }))
    if (options.all === true) process.nextTick(done, null, found)
    else process.nextTick(done, null, found[0]?.address, 4)
  }) as unknown as nodeNet.LookupFunction

export const clientChecks: readonly Check[] = [
  {
    id: 'E1-50',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "a client tells 'lookup', 'connect', 'ready', then data; its state changes with them",
    intent: 'clients send their greeting at connect and expect the answer after it',
    hazards: [],
    needs,
    async run(context) {
      const server = nodeNet.createServer((socket) => void socket.end('hello'))
      const port = await listening(context, server)
      const client = netOf(context).connect({
        port,
        host: 'name.invalid',
        lookup: resolving('127.0.0.1'),
      })
      const seen = recorded(context, client)
      const state = (): unknown[] => [client.connecting, client.pending, client.readyState]
      assert.deepEqual(state(), [true, true, 'opening'], 'state while connecting')
      client.once('data', () => seen.note('data'))
      client.on('connect', () => {
        assert.deepEqual(state(), [false, false, 'open'], "state at 'connect'")
      })
      seen.read()
      await context.within(seen.seen('close'), "'close' of a greeted client")
      const order = ['lookup', 'connect', 'ready', 'data', 'end', 'finish', 'close(false)']
      assert.deepEqual(seen.events, order, 'order of events of a client')
      assertWire(seen.bytes, Buffer.from('hello'), 'a greeting')
      assert.equal(client.readyState, 'closed', 'readyState of a closed socket')
    },
  },
  {
    id: 'E1-51',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "a refused connection is node's error, then 'close' with an error, and no 'connect'",
    intent: 'retries and health checks look at code, address, port and syscall',
    hazards: [43],
    needs,
    async run(context) {
      const port = await deadPort(context)
      const client = netOf(context).connect({ port, host: '127.0.0.1' })
      const seen = recorded(context, client)
      await context.within(seen.seen('close'), "'close' of a refused client")
      const expected = ['error ECONNREFUSED', 'close(true)']
      assert.deepEqual(seen.events, expected, 'events of a refused client')
      const error = seen.errors[0] as NodeJS.ErrnoException & { address?: string; port?: number }
      const { code, errno, syscall, address, message } = error
      assert.deepEqual(
        { code, errno, syscall, address, port: error.port, message },
        {
          code: 'ECONNREFUSED',
          errno: -111,
          syscall: 'connect',
          address: '127.0.0.1',
          port,
          message: `connect ECONNREFUSED 127.0.0.1:${port}`,
        },
        'shape of ECONNREFUSED',
      )
    },
  },
  {
    id: 'E1-52',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "a client destroyed while it connects tells 'close' alone, never 'connect'",
    intent: 'a request that is given up must not come to life later',
    hazards: [43],
    needs,
    async run(context) {
      const server = nodeNet.createServer((socket) => void socket.on('error', () => {}).resume())
      const port = await listening(context, server)
      // At once, in the tick in which connect(2) is called, and after it.
      const moments = [
        () => Promise.resolve(),
        () => new Promise<void>((resolve) => process.nextTick(resolve)),
        () => new Promise<void>((resolve) => process.nextTick(process.nextTick, resolve)),
      ]
      for (const [i, moment] of moments.entries()) {
        const client = netOf(context).connect(port, '127.0.0.1')
        const seen = recorded(context, client)
        if (i > 0) await moment()
        const had = client.connecting
        client.destroy()
        await context.within(seen.seen('close'), "'close' of a client destroyed while it connects")
        await context.silence()
        if (!had) continue
        assert.deepEqual(seen.events, ['close(false)'], 'events of one destroyed while it connects')
      }
    },
  },
  {
    id: 'E1-53',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "destroy() in 'connect' closes: the peer sees the end, and 'close' is last and once",
    intent: 'port scanners and health checks connect and leave',
    hazards: [42, 43],
    needs,
    async run(context) {
      const server = nodeNet.createServer()
      const port = await listening(context, server)
      const accepted = connectionTo(server)
      const client = netOf(context).connect(port, '127.0.0.1')
      const seen = recorded(context, client).read()
      client.on('connect', () => client.destroy())
      const peer = await context.within(accepted, 'the connection at the server')
      const seenPeer = recorded(context, peer, 'b').read()
      peer.write('too late')
      await context.within(seen.seen('close'), "'close' of one destroyed in 'connect'")
      await context.within(seenPeer.seen('close'), "the peer's 'close'")
      await turn()
      const closes = seen.events.filter((event) => event.startsWith('close'))
      assert.deepEqual(closes, ['close(false)'], "'close' of one destroyed in 'connect'")
      assert.equal(seen.events.at(-1), 'close(false)', "'close' was not the last event")
      assert.equal(seen.length, 0, "'data' came after destroy() in 'connect'")
    },
  },
  {
    id: 'E1-54',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: "a path that does not exist is node's ENOENT, with the path as address",
    intent: 'clients of local daemons say which socket is missing',
    hazards: [],
    needs,
    async run(context) {
      const path = `/tmp/no-such-socket-${process.pid}`
      const client = netOf(context).connect({ path })
      const seen = recorded(context, client)
      await context.within(seen.seen('close'), "'close' of a client without a server")
      const { code, errno, syscall, address } = seen.errors[0] as NodeJS.ErrnoException & {
        address?: string
      }
      const expected = { code: 'ENOENT', errno: -2, syscall: 'connect', address: path }
      assert.deepEqual({ code, errno, syscall, address }, expected, 'shape of ENOENT')
    },
  },
  {
    id: 'E1-55',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'an address that refuses is followed by the next one of the name',
    intent: 'localhost that resolves to ::1 first and a server on 127.0.0.1 only',
    hazards: [44],
    needs,
    async run(context) {
      const server = nodeNet.createServer((socket) => void socket.end('hello'))
      const port = await listening(context, server)
      const client = netOf(context).connect({
        port,
        host: 'name.invalid',
        lookup: resolving('127.0.0.2', '127.0.0.1'),
        autoSelectFamily: true,
        // A stall of the machine is no dead address.
        autoSelectFamilyAttemptTimeout: 15_000,
      })
      const seen = recorded(context, client).read()
      const failed: unknown[] = []
      client.on('connectionAttemptFailed', (address: string) => void failed.push(address))
      await context.within(seen.seen('close'), "'close' of a client with two addresses")
      assert.deepEqual(seen.errors, [], 'the second address was not tried')
      assert.equal(seen.bytes.toString(), 'hello', 'data over the second address')
      assert.deepEqual(failed, ['127.0.0.2'], "'connectionAttemptFailed'")
    },
  },
  {
    id: 'E1-56',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'when every address refuses, one error tells of all of them',
    intent: 'what a user sees when a service is down',
    hazards: [44],
    needs,
    async run(context) {
      const port = await deadPort(context)
      const client = netOf(context).connect({
        port,
        host: 'name.invalid',
        lookup: resolving('127.0.0.2', '127.0.0.1'),
        autoSelectFamily: true,
        // A stall of the machine is no dead address.
        autoSelectFamilyAttemptTimeout: 15_000,
      })
      const seen = recorded(context, client)
      await context.within(seen.seen('close'), "'close' of a client with two dead addresses")
      const error = seen.errors[0] as NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }
      assert.equal(seen.errors.length, 1, "'error' was not told once")
      assert.equal(error.code, 'ECONNREFUSED', 'code of the error of all addresses')
      const addresses = error.errors?.map((one) => (one as { address?: string }).address)
      assert.deepEqual(addresses, ['127.0.0.2', '127.0.0.1'], 'errors of all addresses')
    },
  },
  {
    id: 'E1-57',
    rule: 'E1',
    strength: 'required',
    area,
    requirement:
      "an abort signal destroys the client with an AbortError, and 'connect' does not follow",
    intent: 'a request with a deadline',
    hazards: [43],
    needs,
    async run(context) {
      const server = nodeNet.createServer((socket) => void socket.on('error', () => {}).resume())
      const port = await listening(context, server)
      for (const when of ['connecting', 'connected']) {
        const abort = new AbortController()
        const client = netOf(context).connect({
          port,
          host: '127.0.0.1',
          signal: abort.signal,
        } as nodeNet.NetConnectOpts)
        const seen = recorded(context, client)
        if (when === 'connected') await context.within(seen.seen('connect'), "'connect'")
        abort.abort()
        await context.within(seen.seen('close'), `'close' of a client aborted while ${when}`)
        await turn()
        assert.equal(seen.errors[0]?.name, 'AbortError', `error of one aborted while ${when}`)
        const hasConnected = seen.events.includes('connect')
        assert.equal(hasConnected, when === 'connected', "'connect' after an abort")
      }
    },
  },
  {
    id: 'E1-58',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'what is written and ended before the connection is there goes out once it is',
    intent: 'most clients write at once: `net.connect(port).end(request)`',
    hazards: [10, 34],
    needs,
    async run(context) {
      const server = nodeNet.createServer()
      const port = await listening(context, server)
      const accepted = connectionTo(server)
      const client = netOf(context).connect(port, '127.0.0.1')
      const seen = recorded(context, client).read()
      client.write('one ')
      client.write('two ')
      client.end('three')
      const peer = await context.within(accepted, 'the connection at the server')
      const seenPeer = recorded(context, peer, 'b').read()
      await context.within(seenPeer.seen('end'), 'the end of what was written before')
      assert.equal(
        seenPeer.bytes.toString(),
        'one two three',
        'bytes written before the connection',
      )
      await context.within(seen.seen('close'), "'close'")
    },
  },
  {
    id: 'E1-59',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'a closed socket may connect again',
    intent: 'clients that keep their socket object over reconnects',
    hazards: [28, 29],
    needs,
    async run(context) {
      const server = nodeNet.createServer((socket) => void socket.end('hello'))
      const port = await listening(context, server)
      const client = new (netOf(context).Socket)()
      const seen = recorded(context, client).read()
      for (let round = 1; round <= 3; round++) {
        const closed = new Promise((resolve) => client.once('close', resolve))
        client.connect(port, '127.0.0.1')
        await context.within(closed, `'close' of connection ${round} of one socket`)
        assert.equal(seen.length, 5 * round, `data of connection ${round} of one socket`)
      }
      assert.deepEqual(seen.errors, [], 'connecting again led to an error')
    },
  },
  {
    id: 'E1-60',
    rule: 'E1',
    strength: 'required',
    area,
    requirement: 'a name that does not resolve is the error of the resolver, and then close',
    intent: 'the difference between a wrong name and a dead server',
    hazards: [],
    needs,
    async run(context) {
      const failure = Object.assign(new Error('getaddrinfo ENOTFOUND name.invalid'), {
        code: 'ENOTFOUND',
        errno: -3008,
        syscall: 'getaddrinfo',
      })
      const client = netOf(context).connect({
        port: 1,
        host: 'name.invalid',
        lookup: ((_name: string, _options: unknown, done: (error: Error) => void) =>
          process.nextTick(done, failure)) as unknown as nodeNet.LookupFunction,
      })
      const seen = recorded(context, client)
      await context.within(seen.seen('close'), "'close' of a name that does not resolve")
      const told = seen.events.filter((event) => event !== 'lookup')
      assert.deepEqual(told, ['error ENOTFOUND', 'close(true)'], 'events of an unknown name')
      assert.equal(seen.errors[0], failure, "the resolver's error was replaced")
    },
  },
]
