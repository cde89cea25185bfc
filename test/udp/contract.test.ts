/** The raw contract of datagrams: the layout of a buffer, truncation, and what is refused. Each driver without any TypeScript above. */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'
import { constants } from 'node:os'
import {
  ADDRESS_WORDS,
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  DATAGRAM_FLAGS_OFFSET,
  DATAGRAM_HEADER_BYTES,
  DATAGRAM_NAME_OFFSET,
  Family,
  Op,
  SocketOption,
  loadBinding,
} from '../../src/core/binding'
import type { NativeDriver, SocketName } from '../../src/core/binding'
import { defaultOptions } from '../../src/core/options'
import { drivers, until } from './rig'

const truncatedFlag = 0x20
const address = '127.0.0.1'
const errno = (name: keyof typeof constants.errno): number => -constants.errno[name]

interface Completion {
  token: number
  result: number
  more: boolean
  extra: number
}

class Rig {
  readonly native: NativeDriver
  readonly seen: Completion[] = []
  readonly #commands: Int32Array
  readonly #memory: ArrayBuffer[] = []

  constructor(kind: 'uring' | 'epoll') {
    const binding = loadBinding()
    const made = binding.createDriver(kind, defaultOptions, () => {
      const completions = new Int32Array((made as NativeDriver).completions)
      for (let index = completions[1]!; index < completions[0]!; completions[1] = ++index) {
        const at = COMPLETION_HEADER_WORDS + index * COMPLETION_WORDS
        const [token, result, flags, extra] = completions.subarray(at)
        this.seen.push({ token: token!, result: result!, more: flags === 1, extra: extra! })
      }
      return 0
    })
    if (typeof made === 'number') throw new Error(`createDriver(${kind}) answered ${made}`)
    this.native = made
    this.#commands = new Int32Array(made.commands)
    made.setRef(1)
  }

  command(...words: number[]): void {
    const at = COMMAND_HEADER_WORDS + this.#commands[0]! * COMMAND_WORDS
    this.#commands.fill(0, at, at + COMMAND_WORDS)
    this.#commands.set(words, at)
    this.#commands[0]!++
  }

  /** A buffer that is provided for receives. */
  provide(index: number, bytes: number): Buffer {
    const memory = new ArrayBuffer(bytes)
    this.#memory.push(memory)
    expect(this.native.register(index, memory)).toBe(0)
    this.command(Op.provide, 0, 0, index)
    return Buffer.from(memory)
  }

  /** A bound socket of IPv4. Its id and port. */
  bound(): [id: number, port: number] {
    const id = this.native.openDatagram(Family.inet)
    expect(id).toBeGreaterThan(0)
    expect(this.native.bindDatagram(id, address, 0, 0)).toBe(0)
    const name: Partial<SocketName> = {}
    expect(this.native.name(id, 0, name)).toBe(0)
    return [id, name.port!]
  }

  /** The next completion. */
  async next(token: number): Promise<Completion> {
    const isIt = (each: Completion): boolean => each.token === token
    await until(`completion of ${token}`, () => this.seen.some(isIt))
    return this.seen.splice(this.seen.findIndex(isIt), 1)[0]!
  }
}

describe.each(drivers)('%s', (kind) => {
  let rig: Rig
  let peer: Socket

  beforeEach(async () => {
    rig = new Rig(kind)
    peer = createSocket('udp4').bind(0, address)
    await once(peer, 'listening')
  })

  afterEach(() => {
    expect(rig.native.close()).toBe(0)
    peer.close()
  })

  test('a buffer has the header, the sender and the bytes, and one that is too small says so', async () => {
    const [id, port] = rig.bound()
    const buffers = [rig.provide(0, 1000), rig.provide(1, DATAGRAM_HEADER_BYTES + 10)]
    rig.command(Op.receiveDatagrams, 1, id)
    for (const text of ['short', 'as long as it is', '']) {
      peer.send(text, port, address)
    }
    const whole = await rig.next(1)
    expect(whole).toMatchObject({ result: DATAGRAM_HEADER_BYTES + 5, more: true, extra: 0 })
    const [first, second] = buffers
    expect(first!.readUInt32LE(DATAGRAM_FLAGS_OFFSET) & truncatedFlag).toBe(0)
    expect(first!.toString('latin1', DATAGRAM_HEADER_BYTES, DATAGRAM_HEADER_BYTES + 5)).toBe(
      'short',
    )
    expect(first!.readUInt16LE(DATAGRAM_NAME_OFFSET)).toBe(2)
    expect(first!.readUInt16BE(DATAGRAM_NAME_OFFSET + 2)).toBe(peer.address().port)
    expect([...first!.subarray(DATAGRAM_NAME_OFFSET + 4, DATAGRAM_NAME_OFFSET + 8)]).toEqual([
      127, 0, 0, 1,
    ])
    const cut = await rig.next(1)
    expect(cut).toMatchObject({ result: DATAGRAM_HEADER_BYTES + 10, more: true, extra: 1 })
    expect(second!.readUInt32LE(DATAGRAM_FLAGS_OFFSET) & truncatedFlag).toBe(truncatedFlag)
    expect(second!.toString('latin1', DATAGRAM_HEADER_BYTES)).toBe('as long as')
    // None is left for the third, which waits.
    expect(await rig.next(1)).toMatchObject({ result: errno('ENOBUFS'), more: false })
    rig.provide(2, 1000)
    rig.command(Op.receiveDatagrams, 1, id)
    expect(await rig.next(1)).toMatchObject({ result: DATAGRAM_HEADER_BYTES, more: true, extra: 2 })
    expect(await rig.next(1)).toMatchObject({ result: errno('ENOBUFS'), more: false })
  })

  test('a cancelled receive ends once, and a close ends all that is in flight before it', async () => {
    const [id] = rig.bound()
    rig.provide(0, 1000)
    rig.command(Op.receiveDatagrams, 1, id)
    rig.native.submit()
    rig.command(Op.cancel, 1)
    rig.command(Op.cancel, 1)
    expect(await rig.next(1)).toMatchObject({ result: errno('ECANCELED'), more: false })
    rig.command(Op.receiveDatagrams, 1, id)
    rig.command(Op.close, 2, id)
    await rig.next(2)
    expect(rig.seen).toEqual([
      { token: 1, result: errno('ECANCELED'), more: false, extra: expect.any(Number) as number },
    ])
    expect(rig.native.stats()).toMatchObject({
      endpoints: 0,
      inFlight: 0,
      unexpectedCompletions: 0,
    })
  })

  test('what is named wrongly is refused and nothing changes', async () => {
    const { native } = rig
    const [id] = rig.bound()
    const stream = native.open(Family.inet)
    rig.provide(0, 64)
    const to = new Int32Array(ADDRESS_WORDS)
    expect(native.parseAddress(Family.inet, address, peer.address().port, to)).toBe(0)
    // Operations of streams on a datagram socket, and the other way round.
    rig.command(Op.receive, 1, id)
    rig.command(Op.send, 2, id, 0, 0, 1)
    rig.command(Op.receiveDatagrams, 3, stream)
    rig.command(Op.sendDatagram, 4, stream, 0, 0, 1)
    rig.command(Op.accept, 5, id)
    // Memory that is not there.
    rig.command(Op.sendDatagram, 6, id, 0, 0, 65)
    rig.command(Op.sendDatagram, 7, id, 0, -1, 1)
    rig.command(Op.sendDatagram, 8, id, 77, 0, 1)
    for (let token = 1; token <= 8; token++) {
      expect(await rig.next(token)).toMatchObject({ result: errno('EINVAL'), more: false })
    }
    rig.command(Op.sendDatagram, 9, id + (1 << 20), 0, 0, 1)
    expect(await rig.next(9)).toMatchObject({ result: errno('EBADF') })
    expect(native.bind(id, address, 0, 0)).toBe(errno('EINVAL'))
    expect(native.connect(10, id, address, 9)).toBe(errno('EINVAL'))
    for (const wrong of [stream, 0, -1, id + (1 << 20)]) {
      expect(native.bindDatagram(wrong, address, 0, 0)).toBe(errno('EBADF'))
      expect(native.connectDatagram(wrong, address, 9)).toBe(errno('EBADF'))
      expect(native.membership(wrong, '239.1.1.1', '', 1)).toBe(errno('EBADF'))
      expect(native.multicastInterface(wrong, '')).toBe(errno('EBADF'))
      expect(native.sendDatagramNow(wrong, 0, 0, 1, to)).toBe(errno('EBADF'))
    }
    expect(native.sendDatagramNow(id, 0, 60, 5, to)).toBe(errno('EINVAL'))
    expect(native.sendDatagramNow(id, 5, 0, 5, to)).toBe(errno('EINVAL'))
    expect(native.sendDatagramNow(id, 0, 0, 5, new Int32Array(5))).toBe(errno('EINVAL'))
    expect(native.sendDatagramNow(id, 0, 0, 5, null)).toBe(errno('EDESTADDRREQ'))
    expect(native.bindDatagram(id, address, 0, 8)).toBe(errno('EINVAL'))
    expect(native.openDatagram(Family.unix)).toBe(errno('EAFNOSUPPORT'))
    expect(native.setOption(stream, SocketOption.broadcast, 1)).toBe(errno('EINVAL'))
    expect(native.parseAddress(Family.inet, 'x', 9, to)).toBe(errno('EINVAL'))
    expect(native.parseAddress(Family.inet, address, 65536, to)).toBe(errno('EINVAL'))
    expect(native.parseAddress(Family.unix, address, 9, to)).toBe(errno('EAFNOSUPPORT'))
    expect(native.formatAddress(new Int32Array(ADDRESS_WORDS), {})).toBe(errno('EAFNOSUPPORT'))
    // A token is free again after a refusal, and keeps nothing of it.
    const arrived = once(peer, 'message')
    rig.command(Op.to, 6, ...to)
    rig.command(Op.sendDatagram, 6, id, 0, 0, 64)
    expect(await rig.next(6)).toMatchObject({ result: 64 })
    await arrived
    rig.command(Op.sendDatagram, 6, id, 0, 0, 64)
    expect(await rig.next(6)).toMatchObject({ result: errno('EDESTADDRREQ') })
  })

  test.each([
    [Family.inet, '203.0.113.9', 'IPv4'],
    [Family.inet6, '2001:db8::9', 'IPv6'],
    [Family.inet6, '::ffff:203.0.113.9', 'IPv6'],
    [Family.inet6, 'fe80::1%lo', 'IPv6'],
  ])('an address survives the way to words and back (%i, %s)', (family, text, name) => {
    const words = new Int32Array(ADDRESS_WORDS)
    expect(rig.native.parseAddress(family, text, 65535, words)).toBe(0)
    const out = {}
    expect(rig.native.formatAddress(words, out)).toBe(0)
    expect(out).toEqual({ address: text, port: 65535, family: name })
  })
})
