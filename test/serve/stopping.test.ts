/** stop(): what was accepted is answered, what is idle is closed, what is late is destroyed, and nothing is left. */
import { drivers } from '../e2e/subjects'
import { expectLines, removePrograms } from './program'

afterAll(removePrograms)

/**
 * /slow begins its answer at once and ends it with 32 MiB when the thread is to stop; /late answers only then; /never does not
 * end; /block holds the thread until workerData[0] is 1.
 */
const httpWorker = (create: string): string => `
export default ({ signal, workerData }) => ${create}((request, response) => {
  const stop = (then) => signal.aborted ? then() : signal.addEventListener('abort', then)
  switch (request.url) {
    case '/slow': response.write('a'); return stop(() => response.end('b'.repeat(32 << 20)))
    case '/late': response.writeContinue?.(); return stop(() => setImmediate(() => response.end('late')))
    case '/never': return response.write('a')
    case '/block': {
      response.write('a')
      return setImmediate(() => { Atomics.wait(workerData, 0, 0); response.end('b') })
    }
    default: response.end('x')
  }
})`

describe.each(drivers)('stop() on %s', (driver) => {
  test.each(['http', 'https'])(
    '%s: responses in flight are finished, whole; idle keep-alive connections are closed; connects are refused',
    async (protocol) => {
      const main = `
        const cluster = await serve({ worker, threads: 1, port: 0, host })
        const idleAgent = new ${protocol}.Agent({ keepAlive: true })
        const agent = new ${protocol}.Agent({ keepAlive: true })
        const get = async (path, agent) => {
          const request = ${protocol}.get({ port: cluster.port, host, path, agent, ca: pair.cert })
          const [response] = await once(request, 'response')
          return response
        }
        const length = async (response) => {
          let sum = 0
          response.on('data', ({ length }) => (sum += length))
          await once(response, 'end')
          return sum
        }
        const idle = await get('/', idleAgent)
        const { socket } = idle
        const unused = once(socket, 'close')
        idle.resume()
        await once(idle, 'end')
        const slow = await get('/slow', agent)
        await once(slow, 'readable')
        const late = ${protocol}.get({ port: cluster.port, host, path: '/late', agent, ca: pair.cert, headers: { Expect: '100-continue' } })
        await once(late, 'continue')
        const answered = once(late, 'response')
        const stopped = cluster.stop({ timeout: 1e6 })
        await unused
        say('idle closed')
        const [answer] = await answered
        say(answer.headers.connection, await length(answer))
        say(await length(slow))
        await stopped
        const { open, accepted } = await cluster.stats()
        say(open, accepted)
        net.connect(cluster.port, host).on('error', ({ code }) => say(code))`
      // 100-continue tells that the request is there. No response is on its way on the idle connection.
      const create =
        protocol === 'http'
          ? '((listener) => http.createServer().on("request", listener).on("checkContinue", listener))'
          : '((listener) => https.createServer(pair).on("request", listener).on("checkContinue", listener))'
      await expectLines(driver, { 'main.mjs': main, 'worker.mjs': httpWorker(create) }, [
        'idle closed',
        'close 4',
        String((32 << 20) + 1),
        '0 3',
        'ECONNREFUSED',
      ])
    },
  )

  test('what waits in the backlog is accepted and answered', async () => {
    const main = `
      const flag = new Int32Array(new SharedArrayBuffer(4))
      const cluster = await serve({ worker, threads: 1, port: 0, host, workerData: flag })
      const blocked = http.get({ port: cluster.port, host, path: '/block', agent: false })
      const [response] = await once(blocked, 'response')
      const sockets = await Promise.all(Array.from({ length: 20 }, () => connected(cluster.port)))
      const answers = sockets.map(async (socket) => {
        socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
        let text = ''
        socket.on('data', (data) => (text += data))
        await once(socket, 'close')
        return /connection: close/i.test(text) && text.endsWith('x\\r\\n0\\r\\n\\r\\n') || text.endsWith('x')
      })
      const stopped = cluster.stop({ timeout: 1e6 })
      Atomics.store(flag, 0, 1)
      Atomics.notify(flag, 0)
      say((await Promise.all(answers)).filter(Boolean).length)
      response.resume()
      await stopped`
    const worker = httpWorker('http.createServer')
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['20'])
  })

  test('requests that were pipelined before are all answered', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const socket = await connected(cluster.port)
      let text = ''
      socket.on('data', (data) => (text += data))
      socket.write('GET /late HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /late HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
      // Asked later and answered: the others are there.
      await ask(cluster.port)
      await Promise.all([cluster.stop({ timeout: 1e6 }), once(socket, 'close')])
      say(text.match(/HTTP\\/1.1 200/g).length, text.match(/late/g).length, text.endsWith('x') || text.endsWith('x\\r\\n0\\r\\n\\r\\n'))`
    const worker = httpWorker('http.createServer')
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['3 2 true'])
  })

  test('what is open at the deadline is destroyed, not before', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      const request = http.get({ port: cluster.port, host, path: '/never', agent: false })
      const [response] = await once(request, 'response')
      const unused = await connected(cluster.port)
      unused.on('error', () => {})
      response.resume()
      // Kept, if the thread has to be ended by force: this machine may stand still.
      await cluster.stats()
      const begin = performance.now()
      const ends = Promise.all([once(response, 'error').catch((error) => [error]), once(unused, 'close')])
      await cluster.stop({ timeout: 300 })
      const took = performance.now() - begin
      const [[error]] = await ends
      const { open, accepted } = await cluster.stats()
      say(error.code, took >= 299, open, accepted)`
    const worker = httpWorker('http.createServer')
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['ECONNRESET true 0 2'])
  })

  test('a second stop() may shorten the deadline of the first', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const socket = await connected(cluster.port)
      await once(socket, 'data')
      const first = cluster.stop({ timeout: 1e6 })
      await Promise.all([first, cluster.stop({ timeout: 0 }), once(socket, 'close')])
      say('stopped')`
    const worker = `export default () => net.createServer((socket) => socket.write('x'))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['stopped'])
  })

  test('a thread that does not run its event loop is ended by force', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      await once(net.connect(cluster.port, host).on('error', () => {}), 'data')
      await cluster.stop({ timeout: 100 })
      say('stopped')`
    const worker = `export default () => net.createServer((socket) => socket.write('x', () => setImmediate(() => { for (;;); })))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['stopped'])
  })

  test('timers and handles of the worker do not keep a thread', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      say(await ask(cluster.port))
      await cluster.stop()
      say('stopped')`
    const worker = `
      setInterval(() => {}, 1000)
      net.createServer().listen(0)
      process.on('exit', () => say('exit'))
      export default () => http.createServer((request, response) => response.end('x'))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'x',
      'exit',
      'exit',
      'stopped',
    ])
  })

  test('http2: a stream in flight is finished, and the session told to go away', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const session = http2.connect('http://127.0.0.1:' + cluster.port)
      session.once('goaway', (code) => say('goaway', code))
      const stream = session.request({ ':path': '/slow' })
      let sum = 0
      stream.on('data', ({ length }) => (sum += length))
      await once(stream, 'data')
      const idle = http2.connect('http://127.0.0.1:' + cluster.port)
      await once(idle, 'remoteSettings')
      const ends = Promise.all([once(stream, 'end'), once(session, 'close'), once(idle, 'close')])
      await cluster.stop({ timeout: 1e6 })
      await ends
      say(sum)`
    const worker = httpWorker('http2.createServer')
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'goaway 0',
      String((32 << 20) + 1),
    ])
  })

  test('http2: a session is destroyed at the deadline', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const session = http2.connect('http://127.0.0.1:' + cluster.port).on('error', () => {})
      const stream = session.request({ ':path': '/never' }).on('error', () => {})
      await once(stream, 'data')
      await cluster.stats()
      await Promise.all([cluster.stop({ timeout: 100 }), once(session, 'close')])
      const { open, accepted } = await cluster.stats()
      say(open, accepted)`
    const worker = httpWorker('http2.createServer')
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['0 1'])
  })

  test('net: connections may end by themselves before the deadline', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const socket = await connected(cluster.port)
      socket.write('one')
      say(String(await once(socket, 'data')))
      const stopped = cluster.stop({ timeout: 1e6 })
      say(String(await once(socket, 'data')))
      socket.end('two')
      say(String(await once(socket, 'data')))
      await Promise.all([stopped, once(socket, 'close')])
      say((await cluster.stats()).open)`
    const worker = `export default ({ signal }) => net.createServer((socket) => {
      socket.pipe(socket)
      signal.addEventListener('abort', () => socket.write('bye'))
    })`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'one',
      'bye',
      'two',
      '0',
    ])
  })

  test('core: handlers have the signal and the deadline; what is left then is reset', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const open = async (kind) => {
        const socket = await connected(cluster.port)
        socket.write(kind)
        await once(socket, 'data')
        return socket
      }
      const waits = await open('w')
      const sends = await open('s')
      const stays = await open('n')
      const ends = Promise.all([once(waits, 'close'), once(sends, 'close')])
      const reset = once(stays, 'error').catch((error) => [error])
      let text = ''
      sends.on('data', (data) => (text += data))
      waits.resume()
      await cluster.stats()
      const stopped = cluster.stop({ timeout: 1e6 })
      await ends
      say(text)
      void cluster.stop({ timeout: 100 })
      const [{ code }] = await reset
      say(code)
      await stopped
      const { open: left, accepted } = await cluster.stats()
      say(left, accepted)`
    const worker = `export default ({ signal }) => ({
      async onConnection(connection) {
        const lease = await connection.receive()
        const kind = Buffer.from(lease.bytes).toString()
        lease.release()
        await connection.send(Buffer.from('x'))
        if (kind === 'w') await connection.receive({ signal })
        else await new Promise((resolve) => signal.addEventListener('abort', resolve))
        if (kind === 'n') await new Promise(() => {})
        await connection.send(Buffer.from('last'))
        await connection.shutdown()
      },
    })`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'last',
      'ECONNRESET',
      '0 3',
    ])
  })

  test('await using stops it', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      say(await ask(cluster.port))
      await cluster[Symbol.asyncDispose]()
      say((await cluster.stats()).threads.length)`
    const worker = httpWorker('http.createServer')
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['x', '0'])
  })
})
