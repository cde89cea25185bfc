/** What send() and tryWrite() take for bytes: every view, as it really is, and nothing else. */
import type { Readiness } from '../../src/adapters/readiness'
import { drivers, expectWorks, loadCore, makePair, read } from './real'
import type { Core, Pair } from './real'

const memory = (): ArrayBuffer => Uint8Array.from({ length: 16 }, (_, i) => i + 1).buffer

const sixteen = Buffer.from(memory())

/** An array of its real bytes, and properties of its own that say otherwise. */
function lying<View extends ArrayBufferView>(view: View): View {
  for (const name of ['length', 'byteLength', 'byteOffset', 'buffer']) {
    const value = name === 'buffer' ? new ArrayBuffer(1000) : 1000
    Object.defineProperty(view, name, { value })
  }
  return view
}

/** The same, by a class. */
class Lying extends Uint8Array {
  override get length(): number {
    return 3
  }
  override get byteLength(): number {
    return 3
  }
}

const views: [string, () => ArrayBufferView, Buffer][] = [
  ['a Uint8Array', () => new Uint8Array(memory()), sixteen],
  ['a Buffer', () => Buffer.from(memory()), sixteen],
  ['a Buffer of the shared pool', () => Buffer.from('pooled'), Buffer.from('pooled')],
  ['a part of a Uint8Array', () => new Uint8Array(memory(), 3, 5), sixteen.subarray(3, 8)],
  ['a Uint16Array', () => new Uint16Array(memory()), sixteen],
  ['a part of a Uint16Array', () => new Uint16Array(memory(), 2, 4), sixteen.subarray(2, 10)],
  ['a Uint8ClampedArray', () => new Uint8ClampedArray(memory(), 1, 2), sixteen.subarray(1, 3)],
  ['a Float64Array', () => new Float64Array(memory(), 8), sixteen.subarray(8)],
  ['a BigInt64Array', () => new BigInt64Array(memory()), sixteen],
  ['a DataView', () => new DataView(memory()), sixteen],
  ['a part of a DataView', () => new DataView(memory(), 5, 6), sixteen.subarray(5, 11)],
  ['a view of shared memory', () => new Uint8Array(new SharedArrayBuffer(4)), Buffer.alloc(4)],
  ['an empty view', () => new Uint8Array(0), Buffer.alloc(0)],
  ['a Uint8Array that lies', () => lying(new Uint8Array(memory(), 2, 3)), sixteen.subarray(2, 5)],
  ['a Buffer that lies', () => lying(Buffer.from(memory())), sixteen],
  ['a Uint8Array whose class lies', () => new Lying(memory()), sixteen],
  [
    'a Uint16Array that lies',
    () => lying(new Uint16Array(memory(), 2, 4)),
    sixteen.subarray(2, 10),
  ],
  ['a DataView that lies', () => lying(new DataView(memory(), 5, 6)), sixteen.subarray(5, 11)],
]

const others: [string, unknown][] = [
  ['undefined', undefined],
  ['null', null],
  ['a string', 'string'],
  ['a number', 5],
  ['a bigint', 5n],
  ['a function', () => {}],
  ['a symbol', Symbol('s')],
  ['an object', {}],
  ['an object without a prototype', Object.create(null)],
  ['an array of bytes', [1, 2, 3]],
  ['an ArrayBuffer', new ArrayBuffer(3)],
  ['a SharedArrayBuffer', new SharedArrayBuffer(3)],
  [
    'an object with the methods of a lease',
    {
      length: 3,
      state: 'owned',
      capacity: 3,
      lend: () => 0,
      giveBack() {},
      bytes: Buffer.alloc(3),
    },
  ],
  ['a proxy of a Uint8Array', new Proxy(new Uint8Array(3), {})],
]

describe.each(drivers)('%s', (name) => {
  let core: Core
  let pair: Pair
  let sockets: Readiness[] = []

  /** The near end as a Readiness. */
  const near = (): Readiness => {
    const socket = core.toReadiness(pair.near)
    sockets.push(socket)
    return socket
  }

  beforeAll(() => {
    core = loadCore(name)
  })

  beforeEach(async () => {
    pair = await makePair(core)
  })

  afterEach(async () => {
    await Promise.all([pair.close(), ...sockets.map((socket) => socket.close())])
    sockets = []
    expect(core.driver.stats()).toMatchObject({
      unexpectedCompletions: 0,
      endpoints: 0,
      inFlight: 0,
    })
  })

  test.each(views)('send() sends the bytes of %s', async (_what, make, bytes) => {
    const view = make()
    const sent = await pair.near.send(view)
    expect(sent.ok).toBe(true)
    expect(sent.result).toBe(bytes.length)
    expect(sent.buffer === view).toBe(true)
    await pair.near.send(Buffer.from('|'))
    expect(await read(pair.far, bytes.length + 1)).toEqual(Buffer.concat([bytes, Buffer.from('|')]))
  })

  test.each(views)('tryWrite() sends the bytes of %s', async (_what, make, bytes) => {
    const socket = near()
    expect(socket.tryWrite(make())).toBe(true)
    expect(socket.tryWrite(Buffer.from('|'))).toBe(true)
    expect(await read(pair.far, bytes.length + 1)).toEqual(Buffer.concat([bytes, Buffer.from('|')]))
  })

  test.each(others)('send() refuses %s before anything changes', async (_what, value) => {
    await expect(pair.near.send(value as Uint8Array)).rejects.toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
    })
    await expectWorks(pair)
  })

  test.each(others)('tryWrite() refuses %s before anything changes', async (_what, value) => {
    const socket = near()
    expect(() => socket.tryWrite(value as Uint8Array)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    )
    expect(socket.queuedBytes).toBe(0)
    expect(socket.tryWrite(Buffer.from('works'))).toBe(true)
    expect(String(await read(pair.far, 5))).toBe('works')
  })

  test('send() refuses a lease of a second copy of the package, which stays its owner’s', async () => {
    const second = loadCore(name)
    const lease = new second.Pool({ count: 1, leaseBytes: 8 }).acquire()!
    await expect(pair.near.send(lease)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' })
    expect(lease.state).toBe('owned')
    expect(lease.bytes.fill(1)).toHaveLength(8)
    await expectWorks(pair)
    // With its own copy it can be sent.
    const other = await makePair(second)
    expect((await other.near.send(lease)).ok).toBe(true)
    expect(await read(other.far, 8)).toEqual(Buffer.alloc(8, 1))
    await other.close()
  })

  test('tryRead() refuses what is no Uint8Array, and loses nothing', async () => {
    const socket = near()
    for (const into of [{}, 'string', 5, null, new ArrayBuffer(3), new Uint16Array(3)]) {
      expect(() => socket.tryRead(into as Uint8Array)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
      )
    }
    await pair.far.send(Buffer.from('works'))
    const into = Buffer.alloc(5)
    while (socket.tryRead(into) < 0)
      await new Promise<void>((resolve) => (socket.onReadable = resolve))
    expect(String(into)).toBe('works')
  })
})
