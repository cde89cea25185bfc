/** A small RLIMIT_MEMLOCK: the ring shrinks until it and its receive pool fit, and only then gives way to epoll. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { ordinaryUser } from '../ordinary-user'

const program = `
  const { driver } = require(process.argv[1])
  console.log(driver.name === 'uring' ? driver.stats().submissionEntries : driver.reason)
  process.exit()
`

/** What the program prints under the limit; undefined where it cannot be tried. */
function printedWith(kibibytes: number, program: string): string | undefined {
  const library = join(__dirname, '..', '..', 'dist', 'src', 'index.js')
  const env = { ...process.env, URING_NET_DRIVER: 'auto' }
  const { stdout, stderr, status } = spawnSync(
    'bash',
    ['-c', `ulimit -l ${kibibytes} && exec "$@"`, 'bash', process.execPath, '-e', program, library],
    // The superuser is not limited.
    {
      encoding: 'utf8',
      env,
      timeout: programDeadlineMs,
      ...ordinaryUser(),
    },
  )
  if (status === 0) return stdout.trim()
  console.warn(`not tried, an ordinary user cannot run this: ${stderr.slice(0, 300)}`)
  return undefined
}

/** Submission entries of the ring under the limit, or why there is none. */
function ringWith(kibibytes: number): number | string | undefined {
  const printed = printedWith(kibibytes, program)
  return printed === undefined ? undefined : Number.parseInt(printed, 10) || printed
}

// One of 256 entries needs a little more than 80 KiB. Of 64 and 88 the rings of newer libuv leave too little.
test.each([72, 80])('with RLIMIT_MEMLOCK of %i KiB the ring is smaller', (kibibytes) => {
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

/** The driver of the main thread, then that of a worker. */
const withWorker = `
  const name = "require('" + process.argv[1] + "').driver.name"
  const { Worker } = require('node:worker_threads')
  const first = require(process.argv[1]).driver.name
  const worker = new Worker("require('node:worker_threads').parentPort.postMessage(" + name + ")", { eval: true })
  worker.on('error', (error) => worker.emit('message', error.message))
  worker.once('message', (message) => { console.log(first, message); process.exit() })
`

test.each([16, 24, 32, 40, 48, 64, 96, 128, 160, 192, 256])(
  'with RLIMIT_MEMLOCK of %i KiB each thread that finds no memory for a ring has epoll',
  (kibibytes) => {
    const printed = printedWith(kibibytes, withWorker)
    if (printed === undefined) return
    expect(printed).toMatch(/^(uring|epoll) (uring|epoll)$/)
  },
)

test('with an RLIMIT_MEMLOCK of 512 KiB there is room for the rings of a worker', () => {
  const printed = printedWith(512, withWorker)
  if (printed === undefined) return
  expect(printed).toBe('uring uring')
})
