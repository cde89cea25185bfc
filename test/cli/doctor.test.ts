/**
 * `uring-net doctor` as a process: on each driver, forced and refused, under limits, filters and Node's own restrictions.
 * What it must say of facts is in obstacles.test.ts; here the facts are real.
 */
import { spawnSync } from 'node:child_process'
import type { Report } from '../../src/cli/doctor/report'
import { drivers } from '../e2e/subjects'
import { runCli } from './program'

type Options = Parameters<typeof runCli>[1]

async function doctor(options?: Options): Promise<Report & { code: number | null }> {
  const { stdout, stderr, code } = await runCli(['doctor', '--json'], options)
  expect(stderr).not.toMatch(/^ {4}at /m)
  const report = JSON.parse(stdout) as Report
  expect(report.exitCode).toBe(code)
  return { ...report, code }
}

const ids = ({ obstacles }: Report) => obstacles.map(({ id }) => id)

/** Runs with the soft and hard limit of `ulimit -FLAG`. */
const limited = (flag: string, value: number) => [
  'sh',
  '-c',
  `ulimit -${flag} ${value}; exec "$@"`,
  'sh',
]

const codes: Record<string, number> = { uring: 0, epoll: 3, node: 4 }

test.each([...drivers, 'node'])('on %s the exit code and the report say so', async (driver) => {
  const report = await doctor({ driver })
  expect(report.driver.name).toBe(driver)
  expect(report.core).toEqual(report.driver)
  expect(report.code).toBe(codes[driver])
  expect(report.node.version).toBe(process.version)
  expect(report.addon).toEqual({ loaded: true, error: null })
  expect(report.limits.nofile!.soft).toBeGreaterThan(0)
  expect(report.wish).toBe(driver)
  // What another driver would do is found out all the same.
  expect(report.features.bufferRing.present).not.toBeUndefined()
  expect(report.features.bufferRing.used).toBe(driver === 'uring')
})

test('the text says what the JSON says, and has no colours in a pipe', async () => {
  const [{ stdout, stderr }, report] = await Promise.all([
    runCli(['doctor'], { driver: 'epoll' }),
    doctor({ driver: 'epoll' }),
  ])
  expect(stderr).toBe('')
  expect(stdout).not.toContain('\u001B')
  expect(stdout).toContain(`driver     epoll: ${report.driver.reason}\n`)
  for (const [name, { purpose }] of Object.entries(report.features)) {
    expect(stdout).toMatch(new RegExp(`^  ${name} .*${purpose}`, 'm'))
  }
  for (const { problem, remedy } of report.obstacles) {
    expect(stdout).toContain(`${problem}\n`)
    expect(stdout).toContain(`-> ${remedy}\n`)
  }
})

test('a driver that does not exist is reported, with everything else', async () => {
  const report = await doctor({ driver: 'fast' })
  expect(report.code).toBe(1)
  expect(report.driver.name).toBeNull()
  expect(ids(report)).toContain('forced')
  expect(report.addon.loaded).toBe(true)
})

test('--no-addons is named, and node:net passed through', async () => {
  const report = await doctor({ flags: ['--no-addons'] })
  expect(report.code).toBe(4)
  expect(ids(report)).toEqual(['addon'])
  expect(report.obstacles[0]!.remedy).toContain('without --no-addons')
})

test('a forced driver that cannot run is reported, with everything else', async () => {
  const report = await doctor({ driver: 'uring', flags: ['--no-addons'] })
  expect(report.code).toBe(1)
  expect(report.driver.name).toBeNull()
  expect(report.auto.name).toBe('node')
  expect(ids(report)).toEqual(['forced', 'addon'])
})

test('an addon that is not there is named', async () => {
  const report = await doctor({ env: { URING_NET_ADDON: '/nonexistent/uring_net.node' } })
  expect(report.code).toBe(4)
  expect(report.addon.loaded).toBe(false)
  expect(ids(report)).toEqual(['addon'])
})

const permission = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission'

test('the permission model is named where it refuses the addon', async () => {
  const flags = [permission, '--allow-fs-read=*', '--no-warnings']
  const report = await doctor({ flags })
  expect(report.code).toBe(4)
  expect(report.node.permission).toBe(true)
  expect(ids(report)).toEqual(['addon'])
  expect(report.obstacles[0]!.remedy).toContain('--allow-addons')
})

test('few descriptors are named, by the limit there is', async () => {
  const report = await doctor({ under: limited('n', 256), driver: drivers[0] })
  expect(report.limits.nofile).toEqual({ soft: 256, hard: 256 })
  const nofile = report.obstacles.find(({ id }) => id === 'nofile')!
  expect(nofile.problem).toContain('256')
})

/** A filter as container engines set it: io_uring_setup (425 on every architecture) is refused. */
const refuseUring = (errno: number) => `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
program = b''.join(struct.pack('HBBI', *i) for i in [
    (0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50000 | ${errno}), (0x06, 0, 0, 0x7fff0000)])
buffer = ctypes.create_string_buffer(program)
filter = struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(buffer))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(filter), 0, 0):
    sys.exit('no filter: errno %d' % ctypes.get_errno())
os.execvp(sys.argv[1], sys.argv[1:])
`

// A filter takes Python to set up, and a kernel that has filters.
const python = ['python3', '-c', refuseUring(1)]
const canFilter = spawnSync(python[0]!, [...python.slice(1), 'true']).status === 0
const filtered = canFilter ? test : test.skip

filtered.each([1, 38])('a seccomp filter that answers errno %d is named', async (errno) => {
  const report = await doctor({ under: ['python3', '-c', refuseUring(errno)] })
  expect(report.code).toBe(3)
  expect(report.seccomp).toBe(2)
  expect(report.ring).toEqual({ ok: false, step: 'setup', errno: -errno })
  expect(ids(report)).toContain('seccomp')
})

const isRoot = process.getuid?.() === 0
const hasSetpriv = spawnSync('setpriv', ['--version']).status === 0
// Root may lock without limit, so another user has to try: an id that no one has, as the kernel counts for each user.
const asStranger = isRoot && hasSetpriv ? test : test.skip

asStranger('a ring that does not fit into RLIMIT_MEMLOCK is named', async () => {
  const user = ['setpriv', '--reuid=64321', '--regid=64321', '--clear-groups']
  const report = await doctor({ under: [...user, ...limited('l', 0)] })
  // Kernels that count rings by control group only are not held by it.
  if (report.ring?.ok) return expect(ids(report)).not.toContain('memlock')
  expect(report.code).toBe(3)
  expect(ids(report)).toContain('memlock')
})
