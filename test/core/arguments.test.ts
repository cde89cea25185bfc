/** Bad arguments of listen(), connect() and Pool: errors with Node's codes, and nothing is left open. */
import { drivers, loadCore, socketPath } from './real'
import type { Core } from './real'

type ListenOptions = Parameters<Core['listen']>[0]
type ConnectOptions = Parameters<Core['connect']>[0]

const badListen: [unknown, string][] = [
  [undefined, 'ERR_INVALID_ARG_TYPE'],
  [null, 'ERR_INVALID_ARG_TYPE'],
  [5, 'ERR_INVALID_ARG_TYPE'],
  ['80', 'ERR_INVALID_ARG_TYPE'],
  [{}, 'ERR_INVALID_ARG_VALUE'],
  [{ host: '127.0.0.1' }, 'ERR_INVALID_ARG_VALUE'],
  [{ port: null }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: '80' }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: -1 }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: 65536 }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: 1.5 }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: NaN }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: {} }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: 0, host: 'localhost' }, 'ERR_INVALID_ARG_VALUE'],
  [{ port: 0, host: '' }, 'ERR_INVALID_ARG_VALUE'],
  [{ port: 0, host: '127.0.0.1.' }, 'ERR_INVALID_ARG_VALUE'],
  [{ port: 0, host: 5 }, 'ERR_INVALID_ARG_VALUE'],
  [{ port: 0, host: null }, 'ERR_INVALID_ARG_VALUE'],
  [{ port: 0, host: {} }, 'ERR_INVALID_ARG_VALUE'],
  [{ port: 0, backlog: -1 }, 'ERR_OUT_OF_RANGE'],
  [{ port: 0, backlog: 1.5 }, 'ERR_OUT_OF_RANGE'],
  [{ port: 0, backlog: NaN }, 'ERR_OUT_OF_RANGE'],
  [{ port: 0, backlog: 2 ** 31 }, 'ERR_OUT_OF_RANGE'],
  [{ port: 0, backlog: '5' }, 'ERR_OUT_OF_RANGE'],
  [{ port: 0, backlog: null }, 'ERR_OUT_OF_RANGE'],
  [{ path: null }, 'ERR_INVALID_ARG_TYPE'],
  [{ path: 5 }, 'ERR_INVALID_ARG_TYPE'],
  [{ path: {} }, 'ERR_INVALID_ARG_TYPE'],
  [{ path: Buffer.from('/tmp/x') }, 'ERR_INVALID_ARG_TYPE'],
]

const badConnect: [unknown, string][] = [
  [undefined, 'ERR_INVALID_ARG_TYPE'],
  [null, 'ERR_INVALID_ARG_TYPE'],
  [{}, 'ERR_SOCKET_BAD_PORT'],
  [{ port: null }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: '80' }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: -1 }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: 65536 }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: 1.5, host: '127.0.0.1' }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: NaN }, 'ERR_SOCKET_BAD_PORT'],
  [{ port: 80, host: 5 }, 'ERR_INVALID_ARG_TYPE'],
  [{ port: 80, host: {} }, 'ERR_INVALID_ARG_TYPE'],
  [{ path: null }, 'ERR_INVALID_ARG_TYPE'],
  [{ path: 5 }, 'ERR_INVALID_ARG_TYPE'],
  [{ path: Buffer.from('/tmp/x') }, 'ERR_INVALID_ARG_TYPE'],
]

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

  test.each(badListen)('listen(%j) rejects with %s', async (options, code) => {
    await expect(core.listen(options as ListenOptions)).rejects.toMatchObject({ code })
  })

  test.each(badConnect)('connect(%j) rejects with %s', async (options, code) => {
    await expect(core.connect(options as ConnectOptions)).rejects.toMatchObject({ code })
  })

  test.each([
    ['an empty path', '', 'EINVAL'],
    ['a path that is too long', `/tmp/${'x'.repeat(200)}`, 'ENAMETOOLONG'],
    ['a path in no folder', '/tmp/no-such-folder/socket', 'ENOENT'],
  ])('listen() on %s rejects in Node’s shape, and so does connect()', async (_what, path, code) => {
    const expected = expect.objectContaining({ code: expect.any(String), address: path })
    const listening = await core.listen({ path }).catch((error: unknown) => error)
    const connecting = await core.connect({ path }).catch((error: unknown) => error)
    expect(listening).toEqual(expected)
    expect(connecting).toEqual(expected)
    expect(listening).toMatchObject({ syscall: 'listen', code: expect.stringMatching(/^E/) })
    expect(connecting).toMatchObject({ syscall: 'connect', code: expect.stringMatching(/^E/) })
    if (code === 'ENOENT') expect([listening, connecting]).toMatchObject([{ code }, { code }])
  })

  test('a backlog of 0 and the largest one are taken', async () => {
    for (const backlog of [0, 0x7fffffff]) {
      const listener = await core.listen({ port: 0, host: '127.0.0.1', backlog })
      const near = await core.connect({ port: listener.localName!.port, host: '127.0.0.1' })
      const far = (await listener.accept())!
      await Promise.all([near.close(), far.close(), listener.close()])
    }
  })

  test('an empty host is that of Node: localhost', async () => {
    await using listener = await core.listen({ port: 0 })
    await using near = await core.connect({ port: listener.localName!.port, host: '' })
    await using far = (await listener.accept())!
    expect(far.localName!.port).toBe(near.remoteName!.port)
  })

  test('an address that is in use, TCP or Unix, is refused in Node’s shape', async () => {
    const path = socketPath()
    const tcp = await core.listen({ port: 0, host: '127.0.0.1' })
    const { port } = tcp.localName!
    const unix = await core.listen({ path })
    await expect(core.listen({ port, host: '127.0.0.1' })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      syscall: 'listen',
      address: '127.0.0.1',
      port,
      message: `listen EADDRINUSE 127.0.0.1:${port}`,
    })
    await expect(core.listen({ path })).rejects.toMatchObject({ code: 'EADDRINUSE', address: path })
    await Promise.all([tcp.close(), unix.close()])
    await expect(core.connect({ port, host: '127.0.0.1' })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: '127.0.0.1',
      port,
      message: `connect ECONNREFUSED 127.0.0.1:${port}`,
    })
    await expect(core.connect({ path })).rejects.toMatchObject({ code: 'ENOENT', address: path })
  })

  test('what is no AbortSignal is refused with a code', async () => {
    const signal = {} as AbortSignal
    await expect(core.connect({ port: 80, host: '127.0.0.1', signal })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
    })
  })
})
