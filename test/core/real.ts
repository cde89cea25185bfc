/**
 * The ownership API on the real addon: one copy of it for each driver, connected pairs, and programs of their own. Owns the
 * loading and the children; it decides nothing about what is right. Every wait ends with Jest's deadline at the latest.
 */
import { spawn } from 'node:child_process'
import type { StdioOptions } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import type * as readiness from '../../src/adapters/readiness'
import type * as active from '../../src/core/active'
import type * as core from '../../src/core/index'
import { drivers } from '../e2e/subjects'
import type { DriverName } from '../e2e/subjects'

export { drivers }

export type Core = typeof core & Pick<typeof readiness, 'toReadiness'>

/** What a call answers that seccomp refuses. */
const refused = -constants.errno.ENOSYS

interface CoreOptions {
  /** False: there is never a pipe, as where splice(2) is refused. */
  pipes?: boolean
}

/** A copy of the package of its own, on that driver. Throws when the driver cannot run here. */
export function loadCore(driver: DriverName, { pipes = true }: CoreOptions = {}): Core {
  const before = process.env['URING_NET_DRIVER']
  process.env['URING_NET_DRIVER'] = driver
  let loaded: Core
  try {
    jest.isolateModules(() => {
      /* eslint-disable @typescript-eslint/no-require-imports -- a registry of its own */
      loaded = {
        ...(require('../../src/core/index') as typeof core),
        ...(require('../../src/adapters/readiness') as typeof readiness),
      }
      const { requireDriver } = require('../../src/core/active') as typeof active
      if (!pipes) requireDriver().pipes.acquire = () => refused
      /* eslint-enable @typescript-eslint/no-require-imports */
    })
  } finally {
    if (before === undefined) delete process.env['URING_NET_DRIVER']
    else process.env['URING_NET_DRIVER'] = before
  }
  if (loaded!.driver.name !== driver) throw new Error(`the ${driver} driver does not run here`)
  return loaded!
}

/** How pipeTo carries bytes, on each driver: by way of pipes, and where there are none by way of buffers. */
export const carriers = drivers.flatMap((name) => [
  { name, by: 'pipes' },
  { name, by: 'buffers' },
])

export interface Pair {
  listener: core.Listener
  near: core.Connection
  far: core.Connection
  close(): Promise<void>
}

/** Two ends of one connection, on TCP or on a Unix socket. */
export async function makePair({ listen, connect }: Core, path?: string): Promise<Pair> {
  const listener = await listen(path === undefined ? { port: 0, host: '127.0.0.1' } : { path })
  const accepting = listener.accept()
  const near = await connect(
    path === undefined ? { port: listener.localName!.port, host: '127.0.0.1' } : { path },
  )
  const far = (await accepting)!
  const close = async (): Promise<void> => {
    await Promise.all([near.close(), far.close(), listener.close()])
  }
  return { listener, near, far, close }
}

/** A connection carries bytes both ways. */
export async function expectWorks({ near, far }: Pair): Promise<void> {
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    const [sent, received] = await Promise.all([from.send(Buffer.from('works')), to.receive()])
    expect(sent.ok).toBe(true)
    expect(Buffer.from(received!.bytes).toString()).toBe('works')
    received!.release()
  }
}

/** What a connection receives, `length` bytes of it or all until the end. */
export async function read(from: core.Connection, length = Infinity): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let left = length; left > 0;) {
    const lease = await from.receive()
    if (lease === null) break
    chunks.push(Buffer.from(lease.bytes))
    left -= lease.length
    lease.release()
  }
  return Buffer.concat(chunks)
}

/** Turns of the event loop until `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

const folders: string[] = []

/** The path of a Unix socket: it buffers some 200 KiB and no more, so that pressure is cheap and certain. */
export function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'uring-net-core-'))
  folders.push(folder)
  return join(folder, 'socket')
}

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** The compiled core. */
export const corePath = join(__dirname, '..', '..', 'dist', 'src', 'core', 'index.js')

export interface Child {
  /** What it has printed, errors too. */
  output: string
  stdio: ReturnType<typeof spawn>['stdio']
  exited: Promise<{ output: string; code: number | null }>
}

interface ChildOptions {
  node?: string
  flags?: string[]
  /** For descriptors from 3 on. */
  stdio?: Extract<StdioOptions, unknown[]>
}

/** Starts a program, an async function's body with `core` and `print` in scope; it is ended by force when it hangs. */
export function start(
  driver: string,
  source: string,
  { node = process.execPath, flags = [], stdio = [] }: ChildOptions = {},
): Child {
  const program = `
    const core = require(${JSON.stringify(corePath)})
    const print = (...words) => console.log(words.join(' '))
    ;(async () => {${source}})()`
  const process_ = spawn(node, [...flags, '-e', program], {
    env: { ...process.env, URING_NET_DRIVER: driver, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe', ...stdio],
    timeout: programDeadlineMs,
    killSignal: 'SIGKILL',
  })
  const child: Child = {
    output: '',
    stdio: process_.stdio,
    exited: new Promise((resolve) => {
      process_.on('close', (code) => resolve({ output: child.output, code }))
    }),
  }
  for (const stream of [process_.stdout!, process_.stderr!]) {
    stream.on('data', (data: Buffer) => (child.output += data.toString()))
  }
  return child
}

/** As start, to its end. */
export function run(
  driver: string,
  source: string,
  options?: ChildOptions,
): Promise<{ output: string; code: number | null }> {
  return start(driver, source, options).exited
}
