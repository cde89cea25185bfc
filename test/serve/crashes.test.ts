/** A thread that crashes takes its own connections with it and nothing else; another takes its place, within a bound. */
import { drivers } from '../e2e/subjects'
import { expectLines, removePrograms, run } from './program'

afterAll(removePrograms)

/** Tells its thread; then echoes, and does what 'throw', 'exit', 'close' and 'reject' say. */
const worker = `
export default ({ thread }) => {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.write(String(thread))
    socket.on('data', (data) => {
      switch (String(data)) {
        case 'throw': throw Object.assign(new RangeError('thrown'), { code: 'MINE' })
        case 'exit': process.exit(7)
        case 'reject': return void Promise.reject(new Error('rejected'))
        case 'close': socket.destroy(); return server.close()
        default: socket.write(data)
      }
    })
  })
  return server
}`

/** A connection to that thread. */
const connectTo = `
const connectTo = async (cluster, thread) => {
  for (;;) {
    const socket = net.connect(cluster.port, host).on('error', () => {})
    if (String(await once(socket, 'data')) === String(thread)) return socket
    socket.destroy()
  }
}
const nextCrash = async (cluster) => {
  const [reason, thread] = await once(cluster, 'crash')
  return { reason, thread }
}
`

describe.each(drivers)('a crash on %s', (driver) => {
  test('leaves the connections of other threads alone, and the thread is replaced', async () => {
    const main = `${connectTo}
      const cluster = await serve({ worker, threads: 3, port: 0, host })
      const [first, second, third] = [await connectTo(cluster, 0), await connectTo(cluster, 1), await connectTo(cluster, 2)]
      const before = (await cluster.stats()).threads
      const crash = nextCrash(cluster)
      second.write('throw')
      await once(second, 'close')
      const { reason, thread } = await crash
      say(thread, reason.name, reason.code, reason.message)
      for (const socket of [first, third]) {
        socket.write('still here')
        say(String(await once(socket, 'data')))
      }
      const again = await connectTo(cluster, 1)
      const { threads, crashes, restarts, open } = await cluster.stats()
      const kept = before.filter(({ threadId }) => threads.some((other) => other.threadId === threadId))
      say(threads.length, kept.map(({ thread }) => thread).join(), crashes, restarts)
      first.end(); third.end(); again.end()
      await cluster.stop()`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      '1 RangeError MINE thrown',
      'still here',
      'still here',
      '3 0,2 1 1',
    ])
  })

  test('whatever ends a thread is told with its reason', async () => {
    const main = `${connectTo}
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      for (const how of ['throw', 'exit', 'reject', 'close']) {
        const socket = await connectTo(cluster, 0)
        const crash = nextCrash(cluster)
        socket.write(how)
        const { reason } = await crash
        say(how, reason.code ?? '-', reason.message)
      }
      await connectTo(cluster, 0)
      const { accepted, crashes } = await cluster.stats()
      say(accepted, crashes)
      await cluster.stop({ timeout: 0 })`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'throw MINE thrown',
      'exit ERR_URING_THREAD_ENDED the worker has ended with exit code 7',
      'reject - rejected',
      'close ERR_URING_THREAD_ENDED the worker has closed its server',
      '5 4',
    ])
  })

  test('what waits in the backlog of a thread that crashes is answered by the next', async () => {
    const main = `${connectTo}
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const socket = await connectTo(cluster, 0)
      const crash = once(cluster, 'crash')
      const gone = once(socket, 'close')
      socket.write('throw')
      await gone
      // Nobody accepts now.
      const sockets = await Promise.all(Array.from({ length: 10 }, () => connected(cluster.port)))
      const answers = await Promise.all(sockets.map(async (each) => String(await once(each, 'data'))))
      await crash
      say(answers.join(''))
      for (const each of sockets) each.end()
      await cluster.stop()`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, ['0000000000'])
  })

  test('more crashes than may be stop it all with an error', async () => {
    const main = `${connectTo}
      const cluster = await serve({ worker, threads: 2, port: 0, host, crashesMax: 2 })
      const told = []
      cluster.on('crash', (reason) => told.push(reason.message))
      const failed = once(cluster, 'error').catch((error) => [error])
      const crash = async () => {
        const socket = await connectTo(cluster, 1)
        socket.write('throw')
        await once(socket, 'close')
      }
      await crash()
      await crash()
      await crash()
      const [error] = await failed.catch((e) => [e])
      say(error.code, error.cause.code, told.length)
      await cluster.stop()
      const { threads, crashes, restarts } = await cluster.stats()
      say(threads.length, crashes, restarts)
      await cluster.restart().catch(({ code }) => say(code))`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'ERR_URING_CRASHES MINE 3',
      '0 3 2',
      'ERR_URING_CLOSED',
    ])
  })

  test('an error that nobody listens for ends the process', async () => {
    const main = `${connectTo}
      const cluster = await serve({ worker, threads: 1, port: 0, host, crashesMax: 0 })
      const socket = await connectTo(cluster, 0)
      socket.write('throw')`
    const { code, stderr } = await run(driver, { 'main.mjs': main, 'worker.mjs': worker })
    expect(stderr).toContain('ERR_URING_CRASHES')
    expect(code).toBe(1)
  })

  test('a crash that nobody listens for is a warning of the process', async () => {
    const main = `${connectTo}
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      const warning = once(process, 'warning')
      ;(await connectTo(cluster, 0)).write('throw')
      const [reason] = await warning
      say(reason.message)
      await cluster.stop({ timeout: 0 })`
    const { code, stdout, stderr } = await run(driver, { 'main.mjs': main, 'worker.mjs': worker })
    expect(stderr).toContain('RangeError: thrown')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'thrown\n' })
  })

  test('a thread that cannot start again is tried until the bound', async () => {
    const main = `${connectTo}
      const { writeFileSync } = library('node:fs')
      const cluster = await serve({ worker, threads: 1, port: 0, host, crashesMax: 2 })
      writeFileSync(worker, 'throw new Error("broken")')
      const reasons = []
      cluster.on('crash', ({ message }) => reasons.push(message))
      const failed = new Promise((resolve) => cluster.once('error', resolve))
      ;(await connectTo(cluster, 0)).write('throw')
      const { code } = await failed
      say(code, reasons.join())
      await cluster.stop()`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': worker }, [
      'ERR_URING_CRASHES thrown,broken,broken',
    ])
  })

  test('core: what a handler rejects with is its onError, or a crash without', async () => {
    const main = `
      const cluster = await serve({ worker, threads: 1, port: 0, host })
      let socket = await connected(cluster.port)
      socket.resume()
      await once(socket, 'close')
      say('closed')
      await cluster.stop()
      const other = await serve({ worker, threads: 1, port: 0, host, workerData: 'no onError' })
      const crash = once(other, 'crash')
      socket = (await connected(other.port)).on('error', () => {})
      socket.resume()
      const [{ message }] = await crash
      say(message)
      await other.stop()`
    const handler = `export default ({ workerData }) => {
      const onConnection = async () => { throw new Error('of the handler') }
      return workerData === undefined ? { onConnection, onError: ({ message }) => say('told', message) } : { onConnection }
    }`
    await expectLines(driver, { 'main.mjs': main, 'worker.mjs': handler }, [
      'told of the handler',
      'closed',
      'of the handler',
    ])
  })
})
