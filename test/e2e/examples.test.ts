/** The built examples do what they say, each in a process of its own on each driver. Owns those processes and their peers. */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { programDeadlineMs } from '../deadlines'
import { drivers } from './subjects'

type Child = ChildProcessByStdio<null, Readable, null>

const host = '127.0.0.1'
const running = new Set<Child>()

function run(driver: string, name: string, args: (string | number)[]): Child {
  const path = join(__dirname, '../../dist/examples', `${name}.js`)
  const child = spawn(process.execPath, [path, ...args.map(String)], {
    env: { ...process.env, URING_NET_DRIVER: driver },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: programDeadlineMs,
  })
  running.add(child)
  return child
}

/** Starts an example that listens; its port, which its first line says. */
async function start(
  driver: string,
  name: string,
  ...args: (string | number)[]
): Promise<{ port: number }> {
  const child = run(driver, name, args)
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  expect(line).toContain(`driver ${driver}`)
  return { port: Number(/:(\d+),/.exec(line)![1]) }
}

/** What an example that ends by itself prints. */
async function outputOf(
  driver: string,
  name: string,
  ...args: (string | number)[]
): Promise<string[]> {
  const child = run(driver, name, args)
  let text = ''
  child.stdout.on('data', (data: Buffer) => (text += data.toString()))
  await once(child, 'close')
  return text.trimEnd().split('\n')
}

/** A server of node:net on a free port. */
async function listen(onConnection: (socket: net.Socket) => void): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: true }, onConnection).listen(0, host)
  await once(server, 'listening')
  return server
}

const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port
const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

async function read(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

afterEach(async () => {
  for (const child of running) {
    const isOver = child.exitCode !== null || child.signalCode !== null
    const exited = isOver ? undefined : once(child, 'exit')
    child.kill()
    await exited
  }
  running.clear()
})

describe.each(drivers)('on %s', (driver) => {
  test('proxy.js carries both directions whole, and passes on each FIN', async () => {
    const target = await listen((socket) => socket.pipe(socket))
    try {
      const { port } = await start(driver, 'proxy', 0, portOf(target))
      const bytes = Array.from({ length: 8 }, () => randomBytes(1 << 20))
      const answers = await Promise.all(
        bytes.map((sent) => {
          const socket = net.connect({ port, host, allowHalfOpen: true })
          socket.end(sent)
          return read(socket)
        }),
      )
      expect(answers.map(hash)).toEqual(bytes.map(hash))
    } finally {
      target.close()
    }
  })

  test('proxy.js resets the one side when the other is broken', async () => {
    const target = await listen((socket) =>
      socket.on('error', () => {}).once('data', () => socket.resetAndDestroy()),
    )
    try {
      const { port } = await start(driver, 'proxy', 0, portOf(target))
      const socket = net.connect({ port, host })
      socket.write('break it')
      const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
      expect(error.code).toBe('ECONNRESET')
    } finally {
      target.close()
    }
  })

  test('deadline-client.js has its answer, or says after which time there is none', async () => {
    const server = await listen((socket) =>
      socket.once('data', (data) => socket.end(`${data.toString().trim()} to you\n`)),
    )
    const silent = await listen((socket) => socket.resume().on('end', () => socket.end()))
    try {
      expect(await outputOf(driver, 'deadline-client', portOf(server), host, 40_000)).toEqual([
        `driver ${driver}`,
        'answer: hello to you',
      ])
      expect(await outputOf(driver, 'deadline-client', portOf(silent), host, 1000)).toEqual([
        `driver ${driver}`,
        'ETIMEDOUT: no answer within 1000 ms',
      ])
    } finally {
      server.close()
      silent.close()
    }
  })

  describe('static-files.js', () => {
    const directory = mkdtempSync(join(tmpdir(), 'uring-net-files-'))
    const content = randomBytes(3 << 20)
    writeFileSync(join(directory, 'large file'), content)
    writeFileSync(join(directory, 'empty'), '')
    symlinkSync('/etc/passwd', join(directory, 'outside'))
    afterAll(() => rmSync(directory, { recursive: true, force: true }))

    /** Several requests on one connection. */
    async function ask(
      port: number,
      wanted: { path: string; method?: string; range?: string }[],
    ): Promise<[number, string, Record<string, unknown>][]> {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const answers: [number, string, Record<string, unknown>][] = []
      for (const { path, method = 'GET', range } of wanted) {
        const request = http.request({
          port,
          host,
          agent,
          path,
          method,
          headers: range === undefined ? {} : { range },
        })
        request.end()
        const [response] = (await once(request, 'response')) as [http.IncomingMessage]
        const { 'content-length': length, 'content-range': part } = response.headers
        answers.push([response.statusCode!, hash(await read(response)), { length, part }])
      }
      agent.destroy()
      return answers
    }

    test('answers with the whole, with parts, and without a body', async () => {
      const { port } = await start(driver, 'static-files', 0, directory)
      const size = content.length
      const none = hash(Buffer.alloc(0))
      expect(
        await ask(port, [
          { path: '/large%20file' },
          { path: '/large%20file', range: 'bytes=1000-1999' },
          { path: '/large%20file', range: `bytes=${size - 5}-` },
          { path: '/large%20file', range: 'bytes=-70000' },
          { path: '/large%20file', range: `bytes=${size}-` },
          { path: '/large%20file', method: 'HEAD' },
          { path: '/empty?really' },
          { path: '/nothing' },
          { path: '/outside' },
          { path: '/%2e%2e/%2e%2e/etc/passwd' },
          { path: '/%' },
          { path: '/' },
        ]),
      ).toEqual([
        [200, hash(content), { length: `${size}` }],
        [
          206,
          hash(content.subarray(1000, 2000)),
          { length: '1000', part: `bytes 1000-1999/${size}` },
        ],
        [
          206,
          hash(content.subarray(size - 5)),
          { length: '5', part: `bytes ${size - 5}-${size - 1}/${size}` },
        ],
        [
          206,
          hash(content.subarray(size - 70_000)),
          { length: '70000', part: `bytes ${size - 70_000}-${size - 1}/${size}` },
        ],
        [416, none, { length: '0', part: `bytes */${size}` }],
        [200, none, { length: `${size}` }],
        [200, none, { length: '0' }],
        ...Array.from({ length: 5 }, () => [404, none, { length: '0' }]),
      ])
    })

    test('answers pipelined requests in order, and closes after what is no request', async () => {
      const { port } = await start(driver, 'static-files', 0, directory)
      const socket = net.connect({ port, host })
      const get = 'GET /empty HTTP/1.1\r\nHost: x\r\n\r\n'
      socket.write(`${get}${get}HEAD /nothing HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n\r\n`)
      const answers = (await read(socket)).toString().match(/HTTP\/1\.1 \d+/g)
      expect(answers).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 400'])
    })
  })
})
