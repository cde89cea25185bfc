/**
 * `uring-net run` on whole programs: that they run as under node, on the driver asked for, with arguments, exit codes and
 * signals unchanged, and that what they start is hooked too.
 */
import { once } from 'node:events'
import { basename, dirname } from 'node:path'
import { library } from '../e2e/program'
import { drivers } from '../e2e/subjects'
import { isForegroundStat } from '../../src/cli/foreground'
import { outcomeOf, register, removeApps, runCli, startCli, writeApp } from './program'

afterAll(removeApps)

/** Echoes through a plain node:net program, then prints the driver and whether bytes went through it. */
const echo = `
const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
  const client = net.connect(server.address().port, '127.0.0.1', () => client.end('there and back'))
  client.on('data', (data) => console.log(String(data)))
  client.on('close', () => server.close(() => {
    const { driver } = require(${JSON.stringify(library)})
    console.log(driver.name, driver.stats().bytesSent > 0)
  }))
})`

const apps = {
  'a CommonJS app': writeApp('app.js', `const net = require('net');${echo}`),
  'an ES module': writeApp(
    'app.mjs',
    `import net from 'node:net'; import { createRequire } from 'node:module';
     const require = createRequire(import.meta.url); await 0; ${echo}`,
  ),
}

for (const [title, app] of Object.entries(apps)) {
  test.each([...drivers, 'node'])(`--driver %s: ${title} runs on it`, async (driver) => {
    expect(await runCli(['run', '--driver', driver, app])).toEqual({
      stdout: `there and back\n${driver} ${driver !== 'node'}\n`,
      stderr: '',
      code: 0,
      signal: null,
    })
  })
}

test('without --driver the environment decides', async () => {
  const { stdout } = await runCli(['run', apps['a CommonJS app']], { driver: 'node' })
  expect(stdout).toContain('node false')
})

test('the app sees the arguments, Node options and main module that it would see under node', async () => {
  const app = writeApp(
    'app.js',
    `console.log(JSON.stringify([process.argv, process.execArgv, require.main === module]))`,
  )
  const args = ['--no-warnings', app, '--driver', 'x', '--', '-h', 'a b', '']
  const { stdout, code } = await runCli(['run', ...args], { flags: ['--stack-size=900'] })
  expect(JSON.parse(stdout)).toEqual([
    [process.execPath, ...args.slice(1)],
    ['--require', register, '--stack-size=900', '--no-warnings'],
    true,
  ])
  expect(code).toBe(0)
})

test('an app is found as node finds it: by directory, without extension, or with any', async () => {
  const app = writeApp('index.js', 'console.log("found")')
  const odd = writeApp('app.serve', 'console.log("found")')
  const cwd = dirname(app)
  for (const name of ['index', '.', odd, `../${basename(cwd)}`]) {
    expect((await runCli(['run', name], { cwd })).stdout).toBe('found\n')
  }
})

test('-e and a double dash mean what they mean to node', async () => {
  const evaluated = await runCli(['run', '-e', 'console.log(process.argv.slice(1))', '--', 'x'])
  expect(evaluated.stdout).toBe("[ 'x' ]\n")
  const app = writeApp('app.js', 'console.log(process.argv.slice(2))')
  const { stdout } = await runCli(['run', '--', app, '--driver', 'x'])
  expect(stdout).toBe("[ '--driver', 'x' ]\n")
})

test('worker threads, also from a string, forks and cluster workers are hooked', async () => {
  const app = writeApp(
    'app.js',
    `
    const cluster = require('node:cluster')
    const { fork } = require('node:child_process')
    const { once } = require('node:events')
    const { Worker, isMainThread } = require('node:worker_threads')
    const source = 'console.log(' + JSON.stringify(process.argv[2] ?? 'main') + ', Object.keys(require.cache).includes(${JSON.stringify(register)}))'
    const tell = (who) => eval(source.replace(/"[^"]*"/, JSON.stringify(who)))
    async function main() {
      tell('main')
      await once(new Worker(source.replace('main', 'string'), { eval: true }), 'exit')
      await once(new Worker(__filename), 'exit')
      await once(fork(__filename, ['fork']), 'exit')
      await once(cluster.fork(), 'exit')
    }
    if (!isMainThread) tell('file')
    else if (cluster.isWorker) { tell('cluster'); process.disconnect() }
    else if (process.argv[2]) { tell('fork'); process.disconnect() }
    else main()`,
  )
  const { stdout, stderr } = await runCli(['run', app])
  expect(stderr).toBe('')
  const who = ['main', 'string', 'file', 'fork', 'cluster']
  expect(stdout).toBe(who.map((name) => `${name} true\n`).join(''))
})

test.each([0, 1, 7, 255])('the exit code %d of the app is that of run', async (code) => {
  expect(await runCli(['run', '-e', `process.exitCode = ${code}`])).toMatchObject({ code })
})

test('an uncaught exception ends run as it ends node', async () => {
  const { stderr, code } = await runCli(['run', '-e', 'throw new Error("as under node")'])
  expect(stderr).toContain('Error: as under node')
  expect(code).toBe(1)
})

test.each(['SIGTERM', 'SIGKILL', 'SIGHUP', 'SIGABRT'] as const)(
  'an app that ends by %s ends run by it',
  async (signal) => {
    const source = `process.kill(process.pid, '${signal}'); setTimeout(() => {}, 40000)`
    expect(await runCli(['run', '-e', source])).toMatchObject({ code: null, signal })
  },
)

test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const)(
  '%s to run reaches the app once, which may live on',
  async (signal) => {
    const source = `
      process.on('${signal}', () => { console.log('${signal}'); setTimeout(() => process.exit(5), 100) })
      console.log('ready'); setTimeout(() => {}, 40000)`
    const child = startCli(['run', '-e', source])
    const outcome = outcomeOf(child)
    await once(child.stdout!, 'data')
    child.kill(signal)
    expect(await outcome).toMatchObject({ stdout: `ready\n${signal}\n`, code: 5, signal: null })
  },
)

test('a signal that the app does not handle ends both', async () => {
  const child = startCli(['run', '-e', 'console.log("ready"); setTimeout(() => {}, 40000)'])
  const outcome = outcomeOf(child)
  await once(child.stdout!, 'data')
  child.kill('SIGINT')
  expect(await outcome).toMatchObject({ code: null, signal: 'SIGINT' })
})

test('only a process of the foreground group gets what is typed', () => {
  // proc(5): pid (name) state ppid pgrp session tty_nr tpgid
  expect(isForegroundStat('7 (node) S 1 7 5 34816 7 0')).toBe(true)
  expect(isForegroundStat('7 (a b) c) S 1 7 5 34816 7 0')).toBe(true)
  expect(isForegroundStat('7 (node) S 1 7 5 34816 5 0')).toBe(false)
  expect(isForegroundStat('7 (node) S 1 7 5 0 -1 0')).toBe(false)
})
