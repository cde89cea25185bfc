/** A small RLIMIT_MEMLOCK: the ring shrinks until it and its receive pool fit, and only then gives way to epoll. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const nobody = 65534
const isRoot = process.getuid?.() === 0

const program = `
  const { driver } = require(process.argv[1])
  console.log(driver.name === 'uring' ? driver.stats().submissionEntries : driver.reason)
  process.exit()
`

/** Submission entries of the ring under the limit, or why there is none; undefined where it cannot be tried. */
function ringWith(kibibytes: number): number | string | undefined {
  const library = join(__dirname, '..', '..', 'dist', 'src', 'index.js')
  const env = { ...process.env, URING_NET_DRIVER: 'auto' }
  const { stdout, stderr, status } = spawnSync(
    'bash',
    ['-c', `ulimit -l ${kibibytes} && exec "$@"`, 'bash', process.execPath, '-e', program, library],
    // The superuser is not limited.
    {
      encoding: 'utf8',
      env,
      timeout: 15_000,
      cwd: '/',
      ...(isRoot ? { uid: nobody, gid: nobody } : {}),
    },
  )
  if (status === 0) return Number.parseInt(stdout, 10) || stdout.trim()
  console.warn(`not tried, an ordinary user cannot run this: ${stderr.slice(0, 300)}`)
  return undefined
}

test.each([64, 80, 96])('with RLIMIT_MEMLOCK of %i KiB the ring is smaller', (kibibytes) => {
  const entries = ringWith(kibibytes)
  if (entries === undefined) return
  expect(entries).toBeGreaterThanOrEqual(8)
  expect(entries).toBeLessThan(256)
})

test('with RLIMIT_MEMLOCK of 0 there is none, and the reason says so', () => {
  const reason = ringWith(0)
  if (reason === undefined) return
  expect(reason).toMatch(/ENOMEM/)
})
