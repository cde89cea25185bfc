/** What serve() starts, for each kind of server: who answers, on which port, what is counted, and what is refused. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { drivers } from '../e2e/subjects'
import { expectLines, removePrograms } from './program'

afterAll(removePrograms)

/** Answers with the number of its thread. */
const httpWorker = `
export default ({ thread }) => http.createServer((request, response) => response.end(String(thread)))
`

/** Tells on the first connection to each thread which one it is, until all have been met. */
const meetAll = `
const meetAll = async (ask, threads) => {
  const met = new Set()
  for (let i = 0; i < 1000 && met.size < threads; i++) met.add(await ask())
  return [...met].sort().join()
}
`

const kinds: Record<string, { worker: string; ask: string }> = {
  net: {
    worker: `export default ({ thread }) => net.createServer((socket) => socket.end(String(thread)))`,
    ask: `async () => String(await once(net.connect(cluster.port, host), 'data'))`,
  },
  http: { worker: httpWorker, ask: '() => ask(cluster.port)' },
  https: {
    worker: `export default async ({ thread }) => https.createServer(pair, (request, response) => response.end(String(thread)))`,
    ask: `async () => {
      const request = https.get({ port: cluster.port, host, ca: pair.cert, agent: false })
      const [response] = await once(request, 'response')
      return String(await once(response, 'data'))
    }`,
  },
  http2: {
    worker: `export default ({ thread }) => http2.createServer((request, response) => response.end(String(thread)))`,
    ask: `async () => {
      const session = http2.connect('http://127.0.0.1:' + cluster.port)
      const [data] = await once(session.request({ ':path': '/' }), 'data')
      session.close()
      await once(session, 'close')
      return String(data)
    }`,
  },
  'http2 over TLS': {
    worker: `export default ({ thread }) => http2.createSecureServer(pair, (request, response) => response.end(String(thread)))`,
    ask: `async () => {
      const session = http2.connect('https://127.0.0.1:' + cluster.port, { ca: pair.cert })
      const [data] = await once(session.request({ ':path': '/' }), 'data')
      session.close()
      await once(session, 'close')
      return String(data)
    }`,
  },
  core: {
    worker: `export default ({ thread }) => ({
      async onConnection(connection) {
        await connection.send(Buffer.from(String(thread)))
        await connection.shutdown()
        for await (const lease of connection) lease.release()
      },
    })`,
    ask: `async () => {
      const socket = net.connect(cluster.port, host)
      const [data] = await once(socket, 'data')
      socket.end()
      await once(socket, 'close')
      return String(data)
    }`,
  },
}

describe.each(drivers)('serve() on %s', (driver) => {
  test.each(Object.entries(kinds))(
    '%s: connections to port 0 reach every thread, on the driver, and are counted',
    async (_kind, { worker, ask }) => {
      const main = `${meetAll}
        const cluster = await serve({ worker, threads: 2, port: 0, host })
        say('met', await meetAll(${ask}, 2))
        const stats = await cluster.stats()
        say('threads', stats.threads.map(({ thread }) => thread).join(), new Set(stats.threads.map(({ threadId }) => threadId)).size)
        say('drivers', stats.threads.map(({ driverName }) => driverName).join())
        say('accepted', stats.accepted >= 2, stats.accepted === stats.threads[0].accepted + stats.threads[1].accepted)
        say('sum', stats.driver.opened > 0, stats.driver.opened === stats.threads[0].driver.opened + stats.threads[1].driver.opened)
        await cluster.stop({ timeout: 2000 })
        const after = await cluster.stats()
        say('after', after.accepted >= stats.accepted, after.open, after.threads.length, after.crashes, after.restarts)
        net.connect(cluster.port, host).on('error', ({ code }) => say(code))`
      await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
        'met 0,1',
        'threads 0,1 2',
        `drivers ${driver},${driver}`,
        'accepted true true',
        'sum true true',
        'after true 0 0 0 0',
        'ECONNREFUSED',
      ])
    },
  )

  test('a worker may be a CommonJS module by path, and gets its data', async () => {
    const main = `
      const cluster = await serve({ worker: './worker.cjs', threads: 1, port: 0, workerData: { word: 'hello' } })
      say(await ask(cluster.port), cluster.threads)
      await cluster.stop()`
    const worker = `module.exports = ({ thread, threads, workerData, signal }) => require('node:http').createServer((request, response) =>
      response.end([thread, threads, workerData.word, signal.aborted].join()))`
    await expectLines(driver, { 'main.mjs': main, 'worker.cjs': worker }, ['0,1,hello,false 1'])
  })

  test('connections that are open are counted', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      const sockets = []
      for (let i = 0; i < 5; i++) {
        sockets.push(await connected(cluster.port))
        await once(sockets[i], 'data')
      }
      const { accepted, open } = await cluster.stats()
      say(accepted, open)
      await cluster.stop({ timeout: 0 })
      say((await cluster.stats()).open)`
    const worker = `export default () => net.createServer((socket) => socket.write('x'))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['5 5', '0'])
  })

  test('counters of a thread that does not run its event loop do not keep those of others waiting for long', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      await once(net.connect(cluster.port, host), 'data')
      const { threads, accepted } = await cluster.stats()
      say(threads.length, accepted)
      await cluster.stop({ timeout: 0 })
      say('stopped')`
    const worker = `export default () => net.createServer((socket) => socket.write('x', () => setImmediate(() => { for (;;); })))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['2 0', 'stopped'])
  })

  test('serve() rejects with the error of a worker that cannot start, and leaves nothing', async () => {
    const main = `
      const reason = async (options) => {
        try { await serve({ threads: 2, port: 0, host, ...options }) } catch (error) { return error }
      }
      const file = (name) => ({ worker: new URL('./' + name, import.meta.url) })
      say((await reason(file('missing.mjs'))).code)
      const syntax = await reason(file('syntax.cjs'))
      say(syntax.name)
      const throws = await reason(file('throws.mjs'))
      say(throws instanceof RangeError, throws.code, throws.message)
      say((await reason(file('nothing.mjs'))).code)
      say((await reason(file('number.mjs'))).code)
      say((await reason(file('listens.mjs'))).code)
      say((await reason(file('exits.mjs'))).code)
      say((await reason(file('uncaught.mjs'))).message)
      const taken = net.createServer().listen(0, host)
      await once(taken, 'listening')
      const { code, syscall, port } = await reason({ ...file('number.mjs'), port: taken.address().port })
      say(code, syscall, port === taken.address().port)
      taken.close()
      say((await reason({ ...file('number.mjs'), host: 'no-such-name.invalid' })).syscall)
      say((await reason({ ...file('number.mjs'), workerData: () => {} })).name)`
    const files = {
      'main.mjs': main,
      'syntax.cjs': 'return )',
      'throws.mjs': `export default () => { throw Object.assign(new RangeError('no room'), { code: 'MINE' }) }`,
      'nothing.mjs': 'export const server = 1',
      'number.mjs': 'export default () => 1',
      'listens.mjs': `export default async () => { const server = net.createServer().listen(0); await once(server, 'listening'); return server }`,
      'exits.mjs': 'export default async () => process.exit(3)',
      'uncaught.mjs': `export default () => new Promise(() => { setImmediate(() => { throw new Error('later') }) })`,
    }
    await expectLines(driver, files, [
      'ERR_MODULE_NOT_FOUND',
      'SyntaxError',
      'true MINE no room',
      'ERR_INVALID_ARG_TYPE',
      'ERR_INVALID_ARG_TYPE',
      'ERR_SERVER_ALREADY_LISTEN',
      'ERR_URING_THREAD_ENDED',
      'later',
      'EADDRINUSE listen true',
      'getaddrinfo',
      'DataCloneError',
    ])
  })

  test('bad options are refused before anything starts', async () => {
    const main = `
      const code = async (options) => {
        try { await serve(options) } catch (error) { return error.code }
      }
      const all = []
      for (const wrong of [undefined, null, 1, {}, { worker: 1, port: 0 }, { worker }, { worker, port: '1' }]) all.push(await code(wrong))
      say(new Set(all).size, all[0])
      say(await code({ worker, port: 65536 }), await code({ worker, port: -1 }), await code({ worker, port: 1.5 }))
      for (const name of ['threads', 'backlog', 'crashesMax', 'crashesWithin']) {
        say(name, await code({ worker, port: 0, [name]: '2' }), await code({ worker, port: 0, [name]: -1 }), await code({ worker, port: 0, [name]: 1.5 }))
      }
      say(await code({ worker, port: 0, threads: 1025 }), await code({ worker, port: 0, threads: 0 }), await code({ worker, port: 0, host: 1 }))
      const cluster = await serve({ worker, port: 0, threads: 1 })
      for (const method of ['stop', 'restart']) {
        for (const wrong of [1, null, { timeout: '1' }, { timeout: -1 }, { timeout: Infinity }]) {
          await cluster[method](wrong).catch(({ code }) => say(method, code))
        }
      }
      say(await ask(cluster.port))
      await cluster.stop()
      await cluster.stop()
      await cluster.restart().catch(({ code }) => say(code))`
    const type = 'ERR_INVALID_ARG_TYPE'
    const range = 'ERR_OUT_OF_RANGE'
    const port = 'ERR_SOCKET_BAD_PORT'
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': httpWorker }, [
      `1 ${type}`,
      `${port} ${port} ${port}`,
      ...['threads', 'backlog', 'crashesMax', 'crashesWithin'].map(
        (name) => `${name} ${type} ${range} ${range}`,
      ),
      `${range} ${range} ${type}`,
      ...['stop', 'restart'].flatMap((method) =>
        [type, type, type, range, range].map((code) => `${method} ${code}`),
      ),
      '0',
      'ERR_URING_CLOSED',
    ])
  })
})

test('without a driver serve() says so', async () => {
  const main = `await serve({ worker, port: 0 }).catch(({ code }) => say(code))`
  await expectLines('node', { 'main.mjs': main, 'worker.mjs': httpWorker }, ['ERR_URING_DRIVER'])
})

test('the package exports it', () => {
  const source = `import { serve, Cluster } from 'uring-net/serve'; console.log(typeof serve, typeof Cluster)`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', source], {
    cwd: join(__dirname, '..', '..'),
    encoding: 'utf8',
    timeout: programDeadlineMs,
  })
  expect(output).toBe('function function\n')
})
