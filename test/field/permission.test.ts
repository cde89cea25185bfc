/**
 * Under the permission model a program without leave for the network has no sockets, also when it gives the leave up later:
 * what it is refused, and how it is told, is what plain Node refuses and tells. For versions of Node that have --allow-net.
 */
import { execFileSync } from 'node:child_process'
import { drivers } from '../e2e/subjects'
import { nodes, removeApps } from '../register/program'
import { play } from './play'
import type { Way } from './play'

afterAll(removeApps)

const able = nodes.filter((node) =>
  execFileSync(node, ['--help'], { encoding: 'utf8' }).includes('--allow-net'),
)

const attempts = `
const shape = (error) => [error.name, error.code, error.syscall, error.permission, error.message.replaceAll(process.env.TEST_DIRECTORY, 'D').replace(/\\d{4,}/g, 'N')].join(' | ')
const outcome = (make, ...names) => new Promise((resolve) => {
  let made
  const finish = (what) => { made?.destroy?.(); if (made?.listening) made.close(); process.off('uncaughtException', uncaught); resolve(what) }
  const uncaught = (error) => finish('uncaught ' + shape(error))
  process.on('uncaughtException', uncaught)
  try { made = make() } catch (error) { return finish('throws ' + shape(error)) }
  for (const name of names) made.once(name, () => finish(name))
  made.once('error', (error) => finish('error ' + shape(error)))
})
const attempts = async () => {
  const results = {}
  const attempt = async (title, make, ...names) => { results[title] = await outcome(make, ...names) }
  for (const place of ['TCP', 'Unix']) {
    await attempt(place + ' listen', () => net.createServer().listen(places[place]()), 'listening')
    await attempt(place + ' http listen', () => attach(require('node:http').createServer()).listen(places[place]()), 'listening')
  }
  await attempt('TCP connect', () => net.connect({ port: 1, host: '127.0.0.1' }), 'connect')
  await attempt('TCP connect by name', () => net.connect({ port: 1, host: 'localhost' }), 'connect')
  await attempt('TCP connect to IPv6', () => net.connect({ port: 1, host: '::1' }), 'connect')
  await attempt('TCP connect of a socket that is there', () => new net.Socket().connect(1, '127.0.0.1'), 'connect')
  await attempt('TCP connect from a local port', () => net.connect({ port: 1, host: '127.0.0.1', localPort: 0, localAddress: '127.0.0.1' }), 'connect')
  await attempt('Unix connect', () => net.connect(require('node:path').join(process.env.TEST_DIRECTORY, 'nobody')), 'connect')
  return results
}
`

const without = `${attempts} attempts().then(done)`

/** Connections that are there when the leave is given up, and new ones. */
const dropping = `${attempts}
const main = async () => {
  const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket))
  const target = await listen(server, 'TCP')
  const socket = net.connect(target)
  await once(socket, 'connect')
  const before = await attempts()
  process.permission.drop('net')
  socket.write('x')
  const [still] = await once(socket, 'data')
  const results = await attempts()
  const log = await outcome(() => net.connect(target), 'connect')
  done({ before, still: String(still), results, log })
}
main()`

const base = ['--permission', '--no-warnings', '--allow-addons', '--allow-fs-read=*']
const cases: Record<string, { source: string; flags: string[] }> = {
  'without --allow-net': { source: without, flags: base },
  'without --allow-net, with leave to write files': {
    source: without,
    flags: [...base, '--allow-fs-write=*'],
  },
  'with --allow-net': { source: without, flags: [...base, '--allow-net'] },
  'with --allow-net, with leave to write files': {
    source: without,
    flags: [...base, '--allow-net', '--allow-fs-write=*'],
  },
  'when the leave is given up': {
    source: dropping,
    flags: [...base, '--allow-net', '--allow-fs-write=*'],
  },
}

describe.each(nodes)('%s', (node) => {
  if (!able.includes(node)) {
    test.skip('this Node does not have --allow-net', () => {})
    return
  }

  describe.each(Object.entries(cases))('%s', (_title, scene) => {
    const ways: Way[] = ['register', 'library']
    test.each(ways.flatMap((way) => drivers.map((driver) => [way, driver] as const)))(
      'in %s mode on %s: as on plain Node',
      async (way, driver) => {
        const [plain, ours] = await Promise.all([
          play('plain', 'register', node, scene),
          play(driver, way, node, scene),
        ])
        expect(plain).toMatchObject({ exit: '0', stderr: '' })
        const { result, exit, stderr } = ours
        expect({ result, exit, stderr }).toEqual({ result: plain.result, exit: '0', stderr: '' })
      },
    )
  })
})
