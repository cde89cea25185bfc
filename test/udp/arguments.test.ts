/** Bad arguments are refused with Node's codes, and change nothing. */
import { closing, drivers, loadUdp, makePeer } from './rig'
import type { DatagramSocket, Package } from './rig'

const address = '127.0.0.1'

describe.each(drivers)('%s', (name) => {
  let udp: Package
  let socket: DatagramSocket

  beforeAll(() => {
    udp = loadUdp(name)
  })

  beforeEach(async () => {
    socket = closing(await udp.bind({ address }))
  })

  test.each([
    ['no object', 5, 'ERR_INVALID_ARG_TYPE'],
    ['null', null, 'ERR_INVALID_ARG_TYPE'],
    ['a port too large', { port: 65536 }, 'ERR_SOCKET_BAD_PORT'],
    ['a port that is no number', { port: '1' }, 'ERR_SOCKET_BAD_PORT'],
    ['a name for an address', { address: 'localhost' }, 'ERR_INVALID_ARG_VALUE'],
    ['a number for an address', { address: 127 }, 'ERR_INVALID_ARG_VALUE'],
    ['a buffer of no bytes', { receiveBufferSize: 0 }, 'ERR_OUT_OF_RANGE'],
    ['a buffer of a fraction', { sendBufferSize: 1.5 }, 'ERR_OUT_OF_RANGE'],
  ])('bind refuses %s', async (_what, options, code) => {
    const before = udp.driver.stats().endpoints
    await expect(udp.bind(options as never)).rejects.toMatchObject({ code })
    expect(udp.driver.stats().endpoints).toBe(before)
  })

  test('bind refuses a signal that is aborted with its reason', async () => {
    const reason = new Error('no')
    await expect(udp.bind({ address, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test.each([
    ['a string', 'text', 'ERR_INVALID_ARG_TYPE'],
    ['an ArrayBuffer', new ArrayBuffer(3), 'ERR_INVALID_ARG_TYPE'],
    ['nothing', undefined, 'ERR_INVALID_ARG_TYPE'],
    ['no parts', [], 'ERR_OUT_OF_RANGE'],
    ['a part that is none', [Buffer.from('x'), 'x'], 'ERR_INVALID_ARG_TYPE'],
  ])('send refuses %s', async (_what, bytes, code) => {
    await expect(socket.send(bytes as never, { address, port: 9 })).rejects.toMatchObject({ code })
  })

  test.each([
    ['null', null, 'ERR_INVALID_ARG_TYPE'],
    ['a number', 9, 'ERR_INVALID_ARG_TYPE'],
    ['no port', { address }, 'ERR_SOCKET_BAD_PORT'],
    ['port 0', { address, port: 0 }, 'ERR_SOCKET_BAD_PORT'],
    ['a port too large', { address, port: 65536 }, 'ERR_SOCKET_BAD_PORT'],
    ['no address', { port: 9 }, 'ERR_INVALID_ARG_TYPE'],
    ['a name', { address: 'localhost', port: 9 }, 'ERR_INVALID_ARG_VALUE'],
    ['an address with a NUL', { address: '127.0.0.1\0', port: 9 }, 'ERR_INVALID_ARG_VALUE'],
    ['an address of the other family', { address: '::1', port: 9 }, 'ERR_INVALID_ARG_VALUE'],
    ['a timeout of 0', { address, port: 9, timeout: 0 }, 'ERR_OUT_OF_RANGE'],
  ])('send refuses to go to %s', async (_what, options, code) => {
    const lease = new udp.Pool({ count: 1, leaseBytes: 8 }).acquire()!
    await expect(socket.send(lease, options as never)).rejects.toMatchObject({ code })
    expect(lease.state).toBe('owned')
  })

  test.each([
    [{ address, port: 0 }, 'ERR_SOCKET_BAD_PORT'],
    [{ address, port: NaN }, 'ERR_SOCKET_BAD_PORT'],
    [{ address: '::1', port: 9 }, 'ERR_INVALID_ARG_VALUE'],
    [{ address: 'nowhere', port: 9 }, 'ERR_INVALID_ARG_VALUE'],
    [{ port: 9 }, 'ERR_INVALID_ARG_TYPE'],
  ])('connect refuses %j', async (options, code) => {
    await expect(socket.connect(options as never)).rejects.toMatchObject({ code })
  })

  test('options and groups refuse what they cannot take', () => {
    const refuses = (act: () => void, code: string): void =>
      expect(act).toThrow(expect.objectContaining({ code }) as Error)
    for (const hops of [0, 256, 1.5, NaN, '1'])
      refuses(() => socket.setTTL(hops as number), 'ERR_OUT_OF_RANGE')
    for (const hops of [-1, 256]) refuses(() => socket.setMulticastTTL(hops), 'ERR_OUT_OF_RANGE')
    refuses(() => socket.joinGroup('ff02::1'), 'ERR_INVALID_ARG_VALUE')
    refuses(() => socket.joinGroup('127.0.0.1'), 'EINVAL')
    refuses(() => socket.joinGroup('239.1.1.1', 'eth0'), 'ERR_INVALID_ARG_VALUE')
    refuses(() => socket.leaveGroup('239.1.1.1'), 'EADDRNOTAVAIL')
    refuses(() => socket.setMulticastInterface(undefined as never), 'ERR_INVALID_ARG_TYPE')
  })

  test('after all that the socket works', async () => {
    const peer = await makePeer(address)
    await expect(socket.send('x' as never, { address, port: peer.port })).rejects.toThrow()
    await socket.send(Buffer.from('works'), { address, port: peer.port })
    expect((await peer.next())[0]!.bytes.toString()).toBe('works')
  })
})
