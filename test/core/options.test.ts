/** Sizes of the driver: by configure() and by the environment, in use by the kernel, and refused before anything is made. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { programDeadlineMs } from '../deadlines'
import { drivers } from '../e2e/subjects'

const root = join(__dirname, '../..')
const asked = {
  submissionEntries: 64,
  completionEntries: 512,
  batchSize: 8,
  endpointsMax: 64,
  poolBytes: 1 << 20,
  receiveBuffers: 32,
  gatherUs: 50,
}
const variables = {
  URING_NET_SUBMISSION_ENTRIES: '64',
  URING_NET_COMPLETION_ENTRIES: '512',
  URING_NET_BATCH_SIZE: '8',
  URING_NET_ENDPOINTS_MAX: '64',
  URING_NET_POOL_BYTES: '1048576',
  URING_NET_RECEIVE_BUFFERS: '32',
  URING_NET_GATHER_US: '50',
}

/** What the script prints, by lines. In its scope: core(), net() and say(). */
async function lines(
  script: string,
  env: NodeJS.ProcessEnv = {},
  flags: string[] = [],
): Promise<string[]> {
  const prelude = `
    const core = () => require('${root}/dist/src/core/index.js')
    const net = () => require('${root}/dist/src/index.js')
    const say = (...words) => console.log(...words)
    const caught = (run) => { try { run() } catch (error) { return error.code + ' ' + error.message } }`
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...flags, '-e', `${prelude}\n${script}`],
    { env: { ...process.env, ...env }, timeout: programDeadlineMs },
  )
  return stdout.split('\n').slice(0, -1)
}

/** Echoes by the low-level API and by sockets, and says what is in use. */
const uses = `
  ;(async () => {
    const listener = await core().listen({ port: 0, host: '127.0.0.1' })
    const near = await core().connect({ port: listener.localName.port, host: '127.0.0.1' })
    const far = await listener.accept()
    await near.send(Buffer.from('low'))
    const lease = await far.receive()
    say(Buffer.from(lease.bytes).toString())
    lease.release()
    await Promise.all([near.close(), far.close(), listener.close()])
    const server = net().createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
      const client = net().connect(server.address().port, '127.0.0.1', () => client.end('high'))
      client.on('data', (data) => say(String(data)))
      client.on('close', () => {
        server.close()
        const { driver } = net()
        const { submissionEntries, completionEntries } = core().driver.stats()
        say(JSON.stringify(driver.options), core().driver.options === driver.options)
        say(driver.name, submissionEntries, completionEntries)
      })
    })
  })()`

describe.each(drivers)('on %s', (driver) => {
  const ring = driver === 'uring' ? '64 512' : '0 0'
  const expected = ['low', 'high', `${JSON.stringify(asked)} true`, `${driver} ${ring}`]

  test('configure() sets the sizes, and the kernel has them', async () => {
    const script = `core().configure(${JSON.stringify(asked)})\n${uses}`
    expect(await lines(script, { URING_NET_DRIVER: driver })).toEqual(expected)
  })

  test('the environment sets them', async () => {
    expect(await lines(uses, { URING_NET_DRIVER: driver, ...variables })).toEqual(expected)
  })

  test('what configure() does not name is left to the environment, and to the defaults', async () => {
    const script = `core().configure({ batchSize: 4, gatherUs: undefined }); core().configure({ receiveBuffers: 16 })
      const { batchSize, receiveBuffers, gatherUs, endpointsMax } = core().driver.options
      say(batchSize, receiveBuffers, gatherUs, endpointsMax)`
    const env = { URING_NET_DRIVER: driver, URING_NET_BATCH_SIZE: '7', URING_NET_GATHER_US: '9' }
    expect(await lines(script, env)).toEqual(['4 16 9 131072'])
  })

  test('more sockets than endpointsMax are refused with ENFILE, and nothing else is', async () => {
    const script = `core().configure({ endpointsMax: 16 })
      ;(async () => {
        const listener = await core().listen({ port: 0, host: '127.0.0.1', backlog: 64 })
        const some = []
        for (;;) {
          const connection = await core().connect({ port: listener.localName.port, host: '127.0.0.1' }).catch((error) => say(error.code))
          if (connection === undefined) break
          some.push(connection)
        }
        await some.pop().close()
        await (await core().connect({ port: listener.localName.port, host: '127.0.0.1' })).close()
        say('again')
        process.exit()
      })()`
    expect(await lines(script, { URING_NET_DRIVER: driver })).toEqual(['ENFILE', 'again'])
  })
})

describe('refused, and nothing is changed', () => {
  test.each([
    ["{ batchSize: '8' }", 'ERR_INVALID_ARG_TYPE'],
    ['{ batchSize: 0 }', 'ERR_OUT_OF_RANGE'],
    ['{ batchSize: 1.5 }', 'ERR_OUT_OF_RANGE'],
    ['{ batchSize: NaN }', 'ERR_OUT_OF_RANGE'],
    ['{ poolBytes: 2 ** 40 }', 'ERR_OUT_OF_RANGE'],
    ['{ batchsize: 8 }', 'ERR_URING_OPTIONS'],
    ['{ toString: 8 }', 'ERR_URING_OPTIONS'],
  ])('configure(%s): %s', async (options, code) => {
    const script = `
      say(caught(() => core().configure({ receiveBuffers: 9, ...${options} })).split(' ')[0])
      say(core().driver.options.receiveBuffers)`
    expect(await lines(script)).toEqual([code, '4096'])
  })

  test.each(['', '5', 'null', "'batchSize'"])('configure(%s) is no object', async (options) => {
    const script = `say(caught(() => core().configure(${options})))`
    expect((await lines(script))[0]).toMatch(/^ERR_INVALID_ARG_TYPE "options" must be an object/)
  })

  test('configure() once the driver is made', async () => {
    const script = `core().driver.name; say(caught(() => core().configure({ batchSize: 8 })).slice(0, 48), core().driver.options.batchSize)`
    const expected = ['ERR_URING_OPTIONS uring-net: configure() comes t 256']
    expect(await lines(script)).toEqual(expected)
    expect(await lines(script, {}, ['--require', `${root}/dist/src/register.js`])).toEqual(expected)
  })

  test.each(['x', '-1', '1e3', '0', '65537', '8 ', '0x10'])(
    'URING_NET_BATCH_SIZE=%j is named, and so is what is right',
    async (text) => {
      const env = { URING_NET_BATCH_SIZE: text }
      const message = `ERR_URING_OPTIONS uring-net: URING_NET_BATCH_SIZE is '${text}'; expected an integer from 1 to 65536`
      expect(await lines('say(caught(net))', env)).toEqual([message])
      expect(await lines('say(caught(() => core().driver.name))', env)).toEqual([message])
    },
  )

  test('an empty variable is none', async () => {
    const script = 'say(net().driver.options.batchSize)'
    expect(await lines(script, { URING_NET_BATCH_SIZE: '' })).toEqual(['256'])
  })

  test('fewer completions than submissions', async () => {
    const env = { URING_NET_COMPLETION_ENTRIES: '32', URING_NET_SUBMISSION_ENTRIES: '64' }
    const [message] = await lines('say(caught(net))', env)
    expect(message).toMatch(
      /^ERR_URING_OPTIONS .*completionEntries is 32; .*64 of submissionEntries/,
    )
  })
})
