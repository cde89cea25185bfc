/** In a worker Node disables members of process that would end or change the whole process: they stay as Node made them. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { drivers } from '../e2e/subjects'

const register = join(__dirname, '..', '..', 'dist', 'src', 'register.js')

const program = `
  const { Worker } = require('node:worker_threads')
  const source = "const { abort } = process; console.log(abort.name, abort.disabled); try { abort() } catch (error) { console.log(error.code) }"
  new Worker(source, { eval: true })
`

function printed(args: string[], driver?: string): string {
  const env = { ...process.env, ...(driver && { URING_NET_DRIVER: driver }) }
  const options = { encoding: 'utf8', env, timeout: programDeadlineMs } as const
  const { stdout, stderr } = spawnSync(process.execPath, [...args, '-e', program], options)
  return `${stdout}${stderr}`
}

test.each(drivers)('%s: process.abort of a worker is as on plain Node', (driver) => {
  const plain = printed([])
  expect(plain).toContain('ERR_WORKER_UNSUPPORTED_OPERATION')
  expect(printed(['--require', register], driver)).toBe(plain)
})
