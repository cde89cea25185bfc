/** restart(): every thread is another one afterwards, and no client has noticed. */
import { drivers } from '../e2e/subjects'
import { expectLines, removePrograms } from './program'

afterAll(removePrograms)

const version = (worker: string): string => `
const { readFileSync } = library('node:fs')
const version = readFileSync(new URL('./version', import.meta.url), 'utf8')
${worker}`

const workers: Record<string, string> = {
  net: version('export default () => net.createServer((socket) => socket.resume().end(version))'),
  http: version(
    'export default () => http.createServer((request, response) => response.writeHead(200, { connection: "close" }).end(version))',
  ),
  core: version(`export default () => ({
    async onConnection(connection) {
      await connection.send(Buffer.from(version))
      await connection.shutdown()
      for await (const lease of connection) lease.release()
    },
  })`),
}

describe.each(drivers)('restart() on %s', (driver) => {
  test.each(Object.entries(workers))(
    '%s: a client that connects all the time is always answered, and in the end by new threads',
    async (_kind, worker) => {
      const main = `
        const { writeFileSync } = library('node:fs')
        const cluster = await serve({ worker, threads: 2, port: 0, host })
        const before = (await cluster.stats()).threads.map(({ threadId }) => threadId)
        const askOnce = () => new Promise((resolve) => {
          const socket = net.connect({ port: cluster.port, host, allowHalfOpen: true })
          socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
          let text = ''
          socket.on('data', (data) => (text += data)).on('error', ({ code }) => (text = code))
          socket.on('end', () => socket.end()).on('close', () => resolve(/one|two/.exec(text)?.[0] ?? text))
        })
        const answers = { one: 0, two: 0 }
        let isOver = false
        const client = async () => {
          while (!isOver) {
            const answer = await askOnce()
            answers[answer] = (answers[answer] ?? 0) + 1
          }
        }
        const clients = [client(), client(), client()]
        writeFileSync(new URL('./version', import.meta.url), 'two')
        await cluster.restart()
        isOver = true
        await Promise.all(clients)
        say(Object.keys(answers).join(), answers.one > 0)
        const last = []
        for (let i = 0; i < 8; i++) last.push(await askOnce())
        say(last.join())
        const { threads, restarts, crashes, accepted } = await cluster.stats()
        say(threads.length, threads.some(({ threadId }) => before.includes(threadId)), restarts, crashes)
        say(accepted === answers.one + answers.two + 8)
        await cluster.stop()`
      await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker, version: 'one' }, [
        'one,two true',
        'two,two,two,two,two,two,two,two',
        '2 false 2 0',
        'true',
      ])
    },
  )

  test('the connections of the old thread have until the deadline, while the new one serves', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const old = await connected(cluster.port)
      const id = String(await once(old, 'data'))
      const bye = once(old, 'data')
      const restarted = cluster.restart({ timeout: 1e6 })
      say(String(await bye))
      const next = await connected(cluster.port)
      say(String(await once(next, 'data')) !== id)
      const { threads, open } = await cluster.stats()
      say(threads.map(({ thread }) => thread).join(), open)
      old.end()
      await restarted
      say((await cluster.stats()).threads.length)
      const left = once(next, 'close')
      await cluster.restart({ timeout: 0 })
      await left
      await cluster.stop()`
    const worker = `
      const { threadId } = library('node:worker_threads')
      export default ({ signal }) => net.createServer((socket) => {
        socket.on('error', () => {})
        socket.write(String(threadId))
        signal.addEventListener('abort', () => socket.write('bye'))
      })`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'bye',
      'true',
      '0,0 2',
      '1',
    ])
  })

  test('a worker that cannot start makes it reject, and the old thread serves on', async () => {
    const main = `
      const { writeFileSync } = library('node:fs')
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      writeFileSync(worker, 'throw new Error("broken")')
      await cluster.restart().catch(({ message }) => say(message))
      writeFileSync(worker, 'export default () => ({ async onConnection() {} })')
      await cluster.restart().catch(({ code }) => say(code))
      say(await ask(cluster.port), await ask(cluster.port), await ask(cluster.port))
      const { threads, restarts, crashes } = await cluster.stats()
      say(threads.length, restarts, crashes)
      await cluster.stop()`
    const worker = `export default () => http.createServer((request, response) => response.end('x'))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'broken',
      'ERR_INVALID_RETURN_VALUE',
      'x x x',
      '2 0 0',
    ])
  })

  test('two are carried out one after the other; stop() ends the one that runs', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 2, port: 0, host })
      await Promise.all([cluster.restart(), cluster.restart()])
      say((await cluster.stats()).restarts)
      const ended = cluster.restart().catch(({ code }) => code)
      await cluster.stop()
      say(await ended)`
    const worker = `export default () => http.createServer((request, response) => response.end('x'))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['4', 'ERR_URING_CLOSED'])
  })

  test('a thread that crashes while the next one starts is replaced by that one', async () => {
    const main = `
      const flag = new Int32Array(new SharedArrayBuffer(4))
      const cluster = await serve({ worker, threads: 1, port: 0, host, workerData: flag })
      const socket = (await connected(cluster.port)).on('error', () => {})
      Atomics.store(flag, 0, 1)
      const restarted = cluster.restart()
      const crash = once(cluster, 'crash')
      socket.write('x')
      say((await crash)[0].message)
      Atomics.store(flag, 0, 0)
      Atomics.notify(flag, 0)
      await restarted
      await connected(cluster.port).then((next) => next.end())
      const { threads, restarts, crashes } = await cluster.stats()
      say(threads.length, restarts, crashes)
      await cluster.stop()`
    const worker = `export default async ({ workerData }) => {
      Atomics.wait(workerData, 0, 1)
      return net.createServer((socket) => socket.on('data', () => { throw new Error('thrown') }))
    }`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['thrown', '1 1 1'])
  })
})
