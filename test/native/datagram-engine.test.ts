/** The engine of UDP handles below JavaScript: what it is given wrongly it refuses, and what it does not watch it leaves alone. */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import {
  DATAGRAM_HEADER_BYTES,
  DATAGRAM_PIECE_HEADER_WORDS,
  DATAGRAM_PIECE_WORDS,
  DATAGRAM_SLOT_BYTES,
} from '../../src/core/binding'
import type { NativeDatagramEngine } from '../../src/core/binding'
import { binding, errno, options } from './rig'

const engines: NativeDatagramEngine[] = []
const sockets: Socket[] = []

afterEach(() => {
  for (const engine of engines.splice(0)) engine.close()
  for (const socket of sockets.splice(0)) socket.close()
})

/** An engine, and what it has delivered: [id, bytes or -errno]. */
function make(onPiece = (_id: number, _engine: NativeDatagramEngine): void => {}) {
  const got: [number, string | number][] = []
  const dispatch = (): number => {
    const pieces = new Int32Array(engine.pieces)
    while (pieces[1]! < pieces[0]!) {
      const index = pieces[1]!++
      const at = DATAGRAM_PIECE_HEADER_WORDS + index * DATAGRAM_PIECE_WORDS
      const [id, result] = [pieces[at]!, pieces[at + 1]!]
      const start = index * DATAGRAM_SLOT_BYTES + DATAGRAM_HEADER_BYTES
      const text = Buffer.from(engine.pool, start, Math.max(0, result - DATAGRAM_HEADER_BYTES))
      got.push([id, result < 0 ? result : text.toString()])
      onPiece(id, engine)
    }
    return 0
  }
  const engine = binding.createDatagramEngine('epoll', options, dispatch) as NativeDatagramEngine
  engines.push(engine)
  engine.setRef(1)
  return { engine, got }
}

/** A bound socket that nobody receives from, by its descriptor; Node has it, and closes it. */
async function open(): Promise<{ fd: number; send: (text: string) => Promise<void> }> {
  const socket = createSocket('udp4')
  sockets.push(socket)
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const state = Object.getOwnPropertySymbols(socket).find((s) => s.description === 'state symbol')!
  const { handle } = (
    socket as unknown as Record<symbol, { handle: { fd: number; recvStop(): void } }>
  )[state]!
  handle.recvStop()
  const { port } = socket.address()
  const sender = createSocket('udp4')
  sockets.push(sender)
  return {
    fd: handle.fd,
    send: (text) =>
      new Promise((resolve, reject) =>
        sender.send(text, port, '127.0.0.1', (error) => (error ? reject(error) : resolve())),
      ),
  }
}

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setImmediate(resolve))
}

const garbage = [undefined, null, 'x', NaN, 1.5, 2 ** 31, 2 ** 53, {}, [], 1n]

test('what is no descriptor and no name is refused', () => {
  const { engine } = make()
  const untyped = engine as unknown as Record<string, (value: unknown) => number>
  for (const value of garbage) {
    expect(untyped['watch']!(value)).toBe(errno('EINVAL'))
    expect(untyped['unwatch']!(value)).toBe(errno('EINVAL'))
  }
  expect(engine.watch(-1)).toBe(errno('EBADF'))
  for (const id of [0, -1, 1, 2 ** 20, 2 ** 31 - 1]) expect(engine.unwatch(id)).toBe(errno('EBADF'))
  const file = openSync(__filename, 'r')
  expect(engine.watch(file)).toBe(errno('EPERM'))
  closeSync(file)
  expect(engine.stats().endpoints).toBe(0)
})

test('a socket that is watched is received from, and one that is not keeps what it has', async () => {
  const { engine, got } = make()
  const [one, other] = [await open(), await open()]
  const id = engine.watch(one.fd)
  await other.send('kept')
  await one.send('first')
  await until(() => got.length > 0)
  expect(got).toEqual([[id, 'first']])
  expect(engine.unwatch(id)).toBe(0)
  expect(engine.unwatch(id)).toBe(errno('EBADF'))
  await one.send('second')
  const again = engine.watch(other.fd)
  // The same place in the table under another name.
  expect(again).not.toBe(id)
  await until(() => got.length > 1)
  expect(got.slice(1)).toEqual([[again, 'kept']])
})

test('a descriptor is watched once', async () => {
  const { engine } = make()
  const { fd } = await open()
  expect(engine.watch(fd)).toBeGreaterThan(0)
  expect(engine.watch(fd)).toBe(errno('EEXIST'))
  expect(engine.stats().endpoints).toBe(1)
})

test('an engine that is closed by its own dispatch delivers what it has begun, and no more', async () => {
  const { engine, got } = make((_id, self) => void self.close())
  const sockets = await Promise.all(Array.from({ length: 40 }, () => open()))
  for (const { fd } of sockets) engine.watch(fd)
  for (const { send } of sockets) void send('x')
  await until(() => got.length > 0)
  expect(got.length).toBeLessThanOrEqual(32)
  expect(engine.watch(sockets[0]!.fd)).toBe(errno('EBADF'))
  expect(engine.close()).toBe(0)
})
