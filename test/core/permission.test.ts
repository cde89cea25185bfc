/**
 * Node's permission model: where it knows of the network (Node 25), the ownership API asks it as node:net does.
 * URING_NET_TEST_NODES names Node binaries to try it with, separated by colons.
 */
import { execFileSync } from 'node:child_process'
import { drivers, run } from './real'

const nodes = (process.env['URING_NET_TEST_NODES'] ?? process.execPath).split(':')

describe.each(nodes)('%s', (node) => {
  const knowsNet = execFileSync(node, ['--help'], { encoding: 'utf8' }).includes('--allow-net')
  if (!knowsNet) {
    console.warn(`not tested: ${node} does not know --allow-net`)
    test.skip('this Node does not know --allow-net', () => {})
    return
  }

  const flags = ['--permission', '--no-warnings', '--allow-addons', '--allow-fs-read=*']
  const attempts = `
    const tried = async (attempt) => {
      try { await (await attempt()).close(); print('done') }
      catch (error) { print(error.code, error.permission) }
    }
    await tried(() => core.listen({ port: 0, host: '127.0.0.1' }))
    await tried(() => core.listen({ path: '\\0uring-net-permission-' + process.pid }))
    await tried(() => core.connect({ port: 9, host: '127.0.0.1' }))
    await tried(() => core.connect({ path: '\\0uring-net-no-such-socket' }))
    await tried(async () => core.adopt(0))`

  test.each(drivers)(
    '%s: without --allow-net nothing connects, listens or is adopted',
    async (driver) => {
      const { output, code } = await run(driver, attempts, { node, flags })
      expect(output).toBe('ERR_ACCESS_DENIED Net\n'.repeat(5))
      expect(code).toBe(0)
    },
  )

  test.each(drivers)('%s: with --allow-net all of it is attempted', async (driver) => {
    const { output, code } = await run(driver, attempts, { node, flags: [...flags, '--allow-net'] })
    expect(output).toBe('done\ndone\nECONNREFUSED \nECONNREFUSED \nENOTSOCK \n')
    expect(code).toBe(0)
  })
})
