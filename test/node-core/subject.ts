/**
 * What is under test, found out before anything is run: the binary, the suite, and whether the preload really puts
 * node:net and node:dgram on the driver. It refuses what would give figures of something else.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { delimiter, dirname, join, resolve } from 'node:path'
import { environment, preloadArguments } from './environment'
import type { Preload } from './environment'
import type { Driver } from './records'

export class SubjectError extends Error {}

export interface Binary {
  file: string
  version: string
  hasCallSites: boolean
}

export interface Suite {
  /** The folder that holds parallel/ and sequential/. */
  testRoot: string
  version: string
}

const PROBE_TIMEOUT_MS = 20_000

export function findBinary(path: string): Binary {
  const file = resolve(path)
  const script = 'JSON.stringify([process.versions.node, typeof util.getCallSites])'
  const [version, type] = JSON.parse(run(file, ['-p', script], environment(process.env, {}))) as [
    string,
    string,
  ]
  return {
    file,
    version,
    hasCallSites: type === 'function',
  }
}

/** Programs that some tests skip without. */
export const HELPERS = ['openssl-cli', 'h2load', 'ab'] as const

export function missingHelpers(binary: Binary): string[] {
  // Tests look for the openssl command beside the binary, and nowhere else.
  const beside = dirname(realpathSync(binary.file))
  const folders = (process.env.PATH ?? '').split(delimiter)
  return HELPERS.filter((name) => {
    const places = name === 'openssl-cli' ? [beside] : folders
    return !places.some((folder) => existsSync(join(folder, name)))
  })
}

export function findSuite(path: string): Suite {
  const folder = resolve(path)
  const testRoot = [join(folder, 'test'), folder].find((candidate) =>
    existsSync(join(candidate, 'common', 'index.js')),
  )
  if (testRoot === undefined) throw new SubjectError(`no test/common/index.js in ${path}`)
  return { testRoot, version: suiteVersion(dirname(testRoot)) }
}

export function commonFile({ testRoot }: Suite): string {
  return join(testRoot, 'common', 'index.js')
}

/** A checkout of Node says it in a header, the mirror of its tests in a file of its own. */
function suiteVersion(folder: string): string {
  const header = join(folder, 'src', 'node_version.h')
  if (existsSync(header)) {
    const source = readFileSync(header, 'utf8')
    const part = (name: string) =>
      new RegExp(`define NODE_${name}_VERSION (\\d+)`).exec(source)?.[1]
    return ['MAJOR', 'MINOR', 'PATCH'].map(part).join('.')
  }
  const mirror = join(folder, 'node_version.ts')
  if (!existsSync(mirror)) return 'unknown'
  return /version = "(.*)"/.exec(readFileSync(mirror, 'utf8'))?.[1] ?? 'unknown'
}

/** Without this, a hook that falls back to node:net would pass every test. */
export function checkDriver(node: string, preload: Preload, index: string, driver: Driver): void {
  const script = `
    const dgram = require('node:dgram')
    const net = require('node:net')
    const { driver } = require(${JSON.stringify(index)})
    const opened = () => driver.stats().opened ?? 0
    const server = net.createServer((socket) => {
      socket.on('data', () => {
        const streams = opened()
        socket.destroy()
        server.close()
        const receiver = dgram.createSocket('udp4')
        receiver.on('message', () => {
          const datagrams = opened() - streams
          process.stdout.write(JSON.stringify([driver.name, driver.reason, streams, datagrams]))
          receiver.close()
        })
        receiver.bind(0, '127.0.0.1', () => {
          receiver.send('x', receiver.address().port, '127.0.0.1')
        })
      })
    })
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1').on('error', () => {})
      client.write('x')
    })`
  const env = environment(process.env, { driver, preload })
  const output = run(node, [...preloadArguments(preload), '-e', script], env)
  type Answer = [name: string, reason: string, streams: number, datagrams: number]
  const [name, reason, streams, datagrams] = JSON.parse(output) as Answer
  if (name !== driver) throw new SubjectError(`the driver is ${name}, not ${driver}: ${reason}`)
  if (streams < 1) throw new SubjectError('a server of node:net is not carried by the driver')
  if (datagrams < 1) throw new SubjectError('a socket of node:dgram is not carried by the driver')
}

function run(file: string, args: string[], env: NodeJS.ProcessEnv): string {
  const ended = spawnSync(file, args, { env, encoding: 'utf8', timeout: PROBE_TIMEOUT_MS })
  if (ended.error) throw new SubjectError(`${file} does not run: ${ended.error.message}`)
  if (ended.status === 0) return ended.stdout
  throw new SubjectError(`${file} fails (${ended.signal ?? ended.status}):\n${ended.stderr}`)
}
