/**
 * Unmodified programs in every form run on the driver, on both ends: shown by the driver's own counters in the process
 * that talks, never by what a socket looks like.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { programDeadlineMs, waitDeadlineMs } from '../deadlines'
import { library } from '../e2e/program'
import { drivers } from '../e2e/subjects'
import { command, expectLines, nodes, program, removeApps, run, scenarios } from './program'
import type { Mode, Scenario } from './program'
import { names } from './protocols'

afterAll(removeApps)

/** What a driver has carried. */
interface Bytes {
  opened: number
  sent: number
}

type Way = 'nothing' | 'sending' | 'all'

/**
 * What the driver carries, of the server and of the client. HTTP's server reads by a parser that libuv serves; TLS and
 * HTTP/2 are libuv's both ways.
 */
const ways: Record<string, [server: Way, client: Way]> = {
  'net.connect': ['all', 'all'],
  'net.connect to a name': ['all', 'all'],
  'new net.Socket()': ['all', 'all'],
  'http.request': ['sending', 'all'],
  'http.request with an agent that keeps alive': ['sending', 'all'],
  fetch: ['sending', 'all'],
  'WebSocket of the package ws': ['all', 'all'],
  'WebSocket of Node': ['all', 'all'],
}

/** A server of every protocol and a client, each a process of its own. */
class Pair {
  readonly #server: ChildProcess
  readonly #client: ChildProcess
  #ports: unknown
  stderr = ''

  constructor(node: string, server: Mode, client: Mode) {
    this.#server = this.#start(node, server, 'server')
    this.#client = this.#start(node, client, 'client')
  }

  #start(node: string, mode: Mode, role: string): ChildProcess {
    const { key, cert } = JSON.parse(command(mode).env['TEST_PAIR']!) as {
      key: string
      cert: string
    }
    // A file of its own for each: Node reads it only when TLS is first used.
    const authority = join(mkdtempSync(join(tmpdir(), 'uring-net-test-')), 'authority.pem')
    writeFileSync(authority, cert)
    const { args, env } = command(mode)
    const child = fork(join(__dirname, 'protocols.js'), [role], {
      execPath: node,
      execArgv: args,
      env: {
        ...env,
        TEST_PAIR: JSON.stringify({ key, cert }),
        TEST_LIBRARY: library,
        // For fetch, which takes no certificate.
        NODE_EXTRA_CA_CERTS: authority,
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      timeout: programDeadlineMs,
      killSignal: 'SIGKILL',
    })
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (data: Buffer) => (this.stderr += data.toString()))
    }
    return child
  }

  async #answer(child: ChildProcess, ask: unknown): Promise<unknown> {
    const answered = once(child, 'message', { signal: AbortSignal.timeout(waitDeadlineMs) })
    if (ask !== undefined) child.send(ask as object)
    return ((await answered) as unknown[])[0]
  }

  async up(): Promise<void> {
    this.#ports = await this.#answer(this.#server, undefined)
  }

  async #bytes(): Promise<Bytes[]> {
    return Promise.all(
      [this.#server, this.#client].map((child) => this.#answer(child, 'bytes') as Promise<Bytes>),
    )
  }

  /** What both drivers carried while `name` talked. */
  async talk(name: string): Promise<{ isWhole: boolean; server: Bytes; client: Bytes }> {
    const before = await this.#bytes()
    const isWhole = (await this.#answer(this.#client, { name, ports: this.#ports })) as boolean
    const after = await this.#bytes()
    const [server, client] = after.map(({ opened, sent }, index) => ({
      opened: opened - before[index]!.opened,
      sent: sent - before[index]!.sent,
    }))
    return { isWhole, server: server!, client: client! }
  }

  async down(): Promise<void> {
    const ends = [this.#server, this.#client].map((child) => {
      if (child.exitCode !== null || child.signalCode !== null) return undefined
      const exited = once(child, 'exit')
      child.disconnect()
      return exited
    })
    await Promise.all(ends)
  }
}

describe.each(nodes)('%s', (node) => {
  describe.each([
    ...drivers.map((driver) => [driver, driver] as const),
    ['plain', drivers[0]!] as const,
    [drivers[0]!, 'plain'] as const,
  ])('a %s server, a %s client', (server, client) => {
    let pair: Pair
    beforeAll(() => {
      pair = new Pair(node, server, client)
      return pair.up()
    })
    afterAll(() => pair.down())

    test.each(names)('%s: whole, and carried by the driver as far as it is', async (name) => {
      const talk = await pair.talk(name)
      expect(talk.isWhole).toBe(true)
      const [ofServer, ofClient] = ways[name] ?? ['nothing', 'nothing']
      for (const [mode, bytes, way] of [
        [server, talk.server, ofServer],
        [client, talk.client, ofClient],
      ] as const) {
        if (mode === 'plain') expect(bytes).toEqual({ opened: 0, sent: 0 })
        else {
          if (way === 'all') expect(bytes.opened).toBeGreaterThan(0)
          if (way !== 'nothing') expect(bytes.sent).toBeGreaterThan(0)
        }
      }
    })

    test('none of it printed anything', () => {
      expect(pair.stderr).toBe('')
    })
  })
})

// --- how a program is written -------------------------------------------------------------------------------------

const echo = `
const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
  const client = connect(server.address().port, '127.0.0.1', () => client.end('there and back'))
  client.on('data', (data) => say(data))
  client.on('close', () => server.close(() => say('carried', carried(28))))
})`
const lines = ['there and back', 'carried true']

const written: Record<string, Scenario> = {
  'CommonJS, require': {
    source: `const { createServer, connect } = require('net');${echo}`,
    lines,
  },
  'CommonJS, require with the prefix, and import()': {
    source: `import('node:net').then(({ createServer, default: { connect } }) => {${echo}})`,
    lines,
  },
  'an ES module, names': {
    source: `import { createServer, connect } from 'net';${echo}`,
    lines,
    name: 'app.mjs',
  },
  'an ES module, the default': {
    source: `import net from 'node:net'; const { createServer, connect } = net;${echo}`,
    lines,
    name: 'app.mjs',
  },
  'an ES module, the namespace, after an await at top level': {
    source: `import * as net from 'net'; await 0; const { createServer, connect } = net;${echo}`,
    lines,
    name: 'app.mjs',
  },
  'process.getBuiltinModule, where there is one': {
    source: `const { createServer, connect } = process.getBuiltinModule?.('net') ?? require('net');${echo}`,
    lines,
  },
  'classes that extend net.Socket and net.Server': {
    source: `const net = require('net'); class Socket extends net.Socket {}; class Server extends net.Server {};
      const createServer = (listener) => new Server(listener); const connect = (...args) => new Socket().connect(...args);${echo}`,
    lines,
  },
}

const everyWay = Object.fromEntries(
  Object.entries(written).flatMap(([title, scenario]) =>
    (['require', 'import', 'NODE_OPTIONS'] as const).map((by) => [
      `by ${by}: ${title}`,
      { ...scenario, options: { by } },
    ]),
  ),
)
scenarios(everyWay)

// --- threads and processes ----------------------------------------------------------------------------------------

/** Says once whether an echo in this thread was carried, through \`told\`. */
const echoThen = `
const echo = (told) => {
  const net = require('net')
  const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
    const client = net.connect(server.address().port, '127.0.0.1', () => client.end('there and back'))
    let text = ''
    client.on('data', (data) => (text += data))
    client.on('close', () => server.close(() => told(text === 'there and back' && carried(28))))
  })
}
`

const started: Record<string, Scenario> = {
  'a worker thread of a file': {
    source: `${echoThen}
      const { Worker, isMainThread, parentPort } = require('worker_threads')
      if (!isMainThread) echo((is) => parentPort.postMessage(is))
      else new Worker(__filename).on('message', (is) => { say('worker', is); echo((is) => say('main', is)) })`,
    lines: ['worker true', 'main true'],
  },
  'a worker thread of a string': {
    source: `${echoThen}
      const { Worker } = require('worker_threads')
      const source = 'const carried = ' + carried + '; const library = ' + JSON.stringify(library) + '; const echo = ' + echo + '; echo((is) => require("worker_threads").parentPort.postMessage(is))'
      new Worker(source, { eval: true }).on('message', (is) => say('worker', is))`,
    lines: ['worker true'],
  },
  'two worker threads at a time, terminated while they serve': {
    source: `${echoThen}
      const { Worker, isMainThread, parentPort } = require('worker_threads')
      if (!isMainThread) {
        echo((is) => { const server = require('net').createServer((socket) => socket.write('still here')).listen(0, '127.0.0.1', () => parentPort.postMessage([is, server.address().port])) })
      } else {
        let open = 2
        for (let i = 0; i < 2; i++) {
          const worker = new Worker(__filename).on('message', ([is, port]) => {
            const client = require('net').connect(port, '127.0.0.1')
            client.on('data', () => worker.terminate())
            client.on('error', () => {})
            client.on('close', () => { say('worker', is); if (--open === 0) echo((is) => say('main', is)) })
          })
        }
      }`,
    lines: ['worker true', 'worker true', 'main true'],
  },
  'a forked process': {
    source: `${echoThen}
      if (process.argv[2] === 'child') echo((is) => process.send(is, () => process.disconnect()))
      else require('child_process').fork(__filename, ['child']).on('message', (is) => say('fork', is))`,
    lines: ['fork true'],
  },
  'a spawned Node process, by NODE_OPTIONS': {
    source: `${echoThen}
      if (process.argv[2] === 'child') echo((is) => say('spawned', is))
      else require('child_process').spawn(process.execPath, [__filename, 'child'], { stdio: 'inherit' })`,
    lines: ['spawned true'],
    options: { by: 'NODE_OPTIONS' },
  },
  'a worker thread of a forked process, by NODE_OPTIONS': {
    source: `${echoThen}
      const { Worker, isMainThread, parentPort } = require('worker_threads')
      if (!isMainThread) echo((is) => parentPort.postMessage(is))
      else if (process.argv[2] === 'child') new Worker(__filename).on('message', (is) => process.send(is, () => process.disconnect()))
      else require('child_process').fork(__filename, ['child']).on('message', (is) => say('worker', is))`,
    lines: ['worker true'],
    options: { by: 'NODE_OPTIONS' },
  },
}
scenarios(started)

test.each(['by require: CommonJS, require', 'a worker thread of a string', 'a forked process'])(
  'known bad: register that carries nothing (the driver is node) is noticed: %s',
  async (title) => {
    const { source, lines: expected, name, options } = (everyWay[title] ?? started[title])!
    const outcome = await run('node', program(source, name), options)
    expect(outcome.code).toBe(0)
    expect(() => expectLines(outcome, expected)).toThrow()
  },
)
