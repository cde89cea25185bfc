/**
 * A program cannot tell that register was loaded: it prints nothing, warns of nothing, leaves no global, no activity and
 * no loaded tls behind, and with nothing to do the process ends. With the driver 'node' nothing at all is changed.
 */
import { register } from '../cli/program'
import { drivers } from '../e2e/subjects'
import { expectLines, nodes, program, removeApps, run, scenarios } from './program'
import type { Mode } from './program'

afterAll(removeApps)

const loud: string[][] = [
  [],
  ['--pending-deprecation'],
  ['--trace-warnings', '--trace-deprecation', '--pending-deprecation'],
  ['--throw-deprecation', '--pending-deprecation'],
  ['--unhandled-rejections=strict', '--trace-exit'],
  ['--frozen-intrinsics', '--no-warnings'],
  ['--disable-proto=throw'],
  ['--preserve-symlinks'],
  ['--enable-source-maps'],
]

const echo = `const net = require('net')
const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
  const client = net.connect(server.address().port, '127.0.0.1', () => client.end('x'))
  client.on('close', () => server.close()).resume()
})`

/** With any --import Node itself does some things differently. */
const emptyModule = (): string => program('', 'empty.js')

/** Prints what it finds, sorted; register must not add to it. */
const looks: Record<string, string> = {
  'the global object': `
    const describe = (object) => Reflect.ownKeys(object).map(String).sort().join()
    say(describe(globalThis)); const keys = []; for (const key in globalThis) keys.push(key); say(keys.join())`,
  'process, its listeners and its environment': `
    say(Reflect.ownKeys(process).map(String).filter((key) => key !== '_exiting').sort().join())
    say(process.eventNames().map(String).filter((name) => name !== 'exit').join(), Object.keys(process.env).sort().filter((key) => !/^(URING_NET|NODE_OPTIONS|TEST_MODE)/.test(key)).join())
    say(process.exitCode, process.title, process.argv.length)`,
  'the keys of net and of its prototypes': `
    const net = require('net')
    for (const object of [net, net.Socket, net.Server, net.Socket.prototype, net.Server.prototype]) {
      say(Object.keys(object).sort().join())
    }
    const inherited = []; for (const key in new net.Server()) inherited.push(key); say(inherited.sort().join())`,
  'module resolution': `
    say(module.paths.length, Object.keys(require.extensions).join(), require('module').builtinModules.length, require.main === module)`,
  'active resources, right away and a turn later': `
    say(JSON.stringify(process.getActiveResourcesInfo()))
    setImmediate(() => setImmediate(() => say(JSON.stringify(process.getActiveResourcesInfo()), process._getActiveHandles().length, process._getActiveRequests().length)))`,
  'Error.stackTraceLimit and prepareStackTrace': `say(Error.stackTraceLimit, typeof Error.prepareStackTrace)`,
  'the loaded tls, http and child_process': `
    say(process.moduleLoadList.filter((name) => /^NativeModule (_?tls|_?http|https|http2|child_process|cluster|dns|crypto|internal\\/crypto.*)/.test(name)).filter((name) => !/internal/.test(name)).join())`,
}

describe.each(nodes)('%s', (node) => {
  describe.each(loud.map((flags) => [flags.join(' '), flags] as const))('flags: %s', (_, flags) => {
    test.each(['require', 'import'] as const)('loaded by --%s it prints nothing', async (by) => {
      for (const driver of drivers) {
        const empty = await run(driver, program(''), { node, by, flags })
        expectLines(empty, [])
        expectLines(await run(driver, program(echo), { node, by, flags }), [])
      }
    })
  })

  test.each(['', '--pending-deprecation'])(
    'in NODE_OPTIONS with %s it prints nothing',
    async (option) => {
      for (const driver of drivers) {
        const env = { NODE_OPTIONS: `--require ${register} ${option}`, URING_NET_DRIVER: driver }
        expectLines(await run('plain', program(echo), { node, env }), [])
      }
    },
  )

  describe.each(Object.entries(looks))('%s', (_title, look) => {
    test.each(drivers)('are on %s as they are without register', async (driver) => {
      const flags = ['--no-deprecation']
      const path = program(look)
      const oracle = await run('plain', path, { node, flags })
      expect(oracle).toMatchObject({ stderr: '', code: 0 })
      expect(await run(driver, path, { node, flags })).toEqual(oracle)
    })
  })

  test.each(drivers)(
    '%s: no async resource is made and none runs while nothing happens',
    async (driver) => {
      // Counts from the program's first line on; the turns are the same with and without register.
      const source = `
      const { createHook, executionAsyncId, AsyncResource } = require('async_hooks')
      const seen = []
      createHook({
        init(id, type) { seen.push('init ' + type) },
        before(id) { seen.push('before') },
        promiseResolve() {},
      }).enable()
      const first = new AsyncResource('probe').asyncId()
      setTimeout(() => {
        const second = new AsyncResource('probe').asyncId()
        const listed = seen.join()
        say(executionAsyncId() > 0, second - first, listed)
      }, 50)`
      const path = program(source)
      const oracle = await run('plain', path, { node })
      const ours = await run(driver, path, { node })
      expect(ours).toEqual(oracle)
      expect(ours.stdout).toMatch(/^true /)
    },
  )

  test.each(drivers)(
    '%s: a process with nothing to do ends at once, in every form',
    async (driver) => {
      for (const by of ['require', 'import'] as const) {
        for (const source of [
          '',
          'process.on("exit", (code) => say("exit", code))',
          'require("net").createServer()',
          'new (require("net").Socket)()',
          'require("net").createServer().listen(0, "127.0.0.1").unref()',
          'const server = require("net").createServer().listen(0, "127.0.0.1", () => server.close())',
          'process.exitCode = 3',
          'throw Object.assign(new Error("x"), { stack: "thrown" })',
        ]) {
          const path = program(source)
          const [oracle, ours] = await Promise.all([
            run('plain', path, { node, flags: by === 'import' ? ['--import', emptyModule()] : [] }),
            run(driver, path, { node, by }),
          ])
          expect({ ...ours, source }).toEqual({ ...oracle, source })
        }
      }
    },
  )

  test.each(['require', 'import'] as const)(
    'with the driver node, by --%s, the members of net are the very same',
    async (by) => {
      const source = `
        const members = (object) => Object.fromEntries(Reflect.ownKeys(object).map((key) => [String(key), Object.getOwnPropertyDescriptor(object, key)]))
        const text = (object) => JSON.stringify(Object.entries(members(object)).map(([key, { value, get, set, ...flags }]) => [key, String(value).slice(0, 80), String(get).slice(0, 80), String(set).slice(0, 80), flags]))
        const net = require('net'), tls = require('tls'), { ChildProcess } = require('child_process')
        for (const object of [net, net.Socket.prototype, net.Server.prototype, tls.TLSSocket.prototype, ChildProcess.prototype]) say(hash(text(object)))
        say(process.listenerCount('exit'), require('diagnostics_channel').hasSubscribers('child_process'))`
      const path = program(source)
      const flags = by === 'import' ? ['--import', emptyModule()] : []
      const oracle = await run('plain', path, { node, flags })
      expect(await run('node', path, { node, by })).toEqual(oracle)
      // Known bad: a driver that does replace members.
      expect((await run(drivers[0]!, path, { node, by })).stdout).not.toBe(oracle.stdout)
    },
  )
})

test.each(drivers)('%s: what the program itself warns of is heard', async (driver) => {
  // In a tick that runs between two completions.
  const source = `${echo.replace('socket.pipe(socket)', '(process.nextTick(warn), socket.pipe(socket))')}
    const warn = require('util').deprecate(() => {}, 'of the program', 'DEP_PROGRAM')`
  const { stdout, stderr } = await run(driver, program(source), {
    flags: ['--pending-deprecation'],
  })
  expect(stdout).toBe('')
  expect(stderr).toContain('of the program')
  expect(stderr).not.toContain('DEP0134')
})

const noisy: Record<string, [string, string]> = {
  'a warning': [looks['the global object']!, 'process.emitWarning("x")'],
  'a global': [looks['the global object']!, 'globalThis.uringNet = 1'],
  'a timer': [looks['active resources, right away and a turn later']!, 'setTimeout(() => {}, 300)'],
  'a loaded tls': [looks['the loaded tls, http and child_process']!, 'require("tls")'],
}
test.each(Object.entries(noisy))('known bad: %s is noticed', async (_title, [look, fault]) => {
  const mode: Mode = 'plain'
  const oracle = await run(mode, program(look))
  const hook = program(fault, 'hook.js')
  expect(await run(mode, program(look), { flags: ['--require', hook] })).not.toEqual(oracle)
})

scenarios({
  'register loaded twice, by --require and by the program, is loaded once': {
    source: `
      const net = require('net')
      const before = [net.Socket.prototype.connect, net.Server.prototype._listen2, process._send]
      require(require('path').join(library, '..', 'register.js'))
      require(library)
      const after = [net.Socket.prototype.connect, net.Server.prototype._listen2, process._send]
      say(process.env.TEST_MODE === 'plain' || before.every((member, index) => member === after[index]))`,
    lines: ['true'],
    options: { env: { URING_NET_DRIVER: 'node' } },
  },
})
