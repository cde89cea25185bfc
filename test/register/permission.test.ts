/**
 * The permission model: with --allow-addons and the right to read the package the driver runs; without, the program runs
 * on node:net and the reason names the option that is missing; a driver that was asked for by name is an error with a code.
 */
import { packageDirectory, nodes, program, removeApps, run } from './program'
import { execFileSync } from 'node:child_process'
import { drivers } from '../e2e/subjects'

afterAll(removeApps)

const app = `
const net = require('net')
const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
  const client = net.connect(server.address().port, '127.0.0.1', () => client.end('there and back'))
  client.on('data', (data) => console.log(String(data)))
  client.on('close', () => server.close(() => {
    const { driver } = require(library)
    console.log(driver.name, carried(28), driver.reason)
  }))
})`

/** Node warns of its experiment. */
function flagsOf(node: string, ...allowed: string[]): string[] {
  const help = execFileSync(node, ['--help'], { encoding: 'utf8' })
  return [
    help.includes('  --permission ') ? '--permission' : '--experimental-permission',
    '--no-warnings',
    ...(help.includes('--allow-net') ? ['--allow-net'] : []),
    ...allowed,
  ]
}

describe.each(nodes)('%s', (node) => {
  test.each(drivers)('%s: with --allow-addons and leave to read it runs', async (driver) => {
    const flags = flagsOf(node, '--allow-addons', '--allow-fs-read=*')
    const { stdout, stderr, code } = await run(driver, program(app), { node, flags })
    expect({ stdout, stderr, code }).toEqual({
      stdout: `there and back\n${driver} true asked for by URING_NET_DRIVER\n`,
      stderr: '',
      code: 0,
    })
  })

  test.each(['require', 'import'] as const)(
    'without --allow-addons the program runs on node:net, and the reason says so (by --%s)',
    async (by) => {
      const flags = flagsOf(node, '--allow-fs-read=*')
      const { stdout, stderr, code } = await run('auto', program(app), { node, flags, by })
      expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
      expect(stdout).toMatch(/^there and back\nnode false .*--allow-addons/)
    },
  )

  test('where only the program may be read, the reason names --allow-fs-read or the addon', async () => {
    // The JavaScript of the package may be read, its addon not.
    const path = program(app)
    const flags = flagsOf(
      node,
      '--allow-addons',
      `--allow-fs-read=${path}`,
      `--allow-fs-read=${packageDirectory}/dist/*`,
      `--allow-fs-read=${packageDirectory}/package.json`,
    )
    const { stdout, stderr, code } = await run('auto', path, { node, flags })
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
    expect(stdout).toMatch(/^there and back\nnode false .*--allow-fs-read/)
  })

  test.each(drivers)('%s asked for without --allow-addons: ERR_URING_DRIVER', async (driver) => {
    const flags = flagsOf(node, '--allow-fs-read=*')
    const { stdout, stderr, code } = await run(driver, program(app), { node, flags })
    expect({ stdout, code }).toEqual({ stdout: '', code: 1 })
    expect(stderr).toContain("code: 'ERR_URING_DRIVER'")
    expect(stderr).toContain(
      `the ${driver} driver was asked for by URING_NET_DRIVER but cannot run`,
    )
    expect(stderr).toContain('--allow-addons')
  })

  test('known bad: without the permission model the driver runs, which is noticed', async () => {
    const { stdout } = await run('auto', program(app), { node })
    expect(stdout).not.toMatch(/node false/)
  })
})
