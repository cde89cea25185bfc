/**
 * A seccomp profile refuses io_uring. When it comes after the start, it takes it away from under open sockets: they go on,
 * on libuv, without a byte lost or a turn of the loop wasted. The driver says what was refused.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drivers } from '../e2e/subjects'
import { program, removeApps, run, scenarios } from './program'

const directory = mkdtempSync(join(tmpdir(), 'uring-net-refusal-'))
const answers = ['EPERM', 'ENOSYS', 'EINVAL'] as const
const filter = (answer: string): string => join(directory, `${answer}.so`)

beforeAll(() => {
  const source = join(__dirname, 'refusal', 'refuse.c')
  // A compiler does not live well with a preloaded sanitizer.
  const env = { ...process.env, LD_PRELOAD: '' }
  const compile = (to: string, ...flags: string[]): void => {
    execFileSync('gcc', ['-shared', '-fPIC', ...flags, source, '-o', to], { env })
  }
  for (const answer of answers) compile(filter(answer), `-DANSWER=${answer}`)
  compile(filter('register'), '-DANSWER=EPERM', '-DONLY_REGISTER')
}, 60_000)

afterAll(() => {
  removeApps()
  rmSync(directory, { recursive: true, force: true })
})

/** In scope: `server` echoes, `connect()` resolves to a client with `ask(text)`; `refuse()`; `whenRefused()` after a turn. */
const prelude = `
const net = require('node:net')
const { once } = require('node:events')
const refuse = () => {
  try { process.dlopen({ exports: {} }, process.env.TEST_REFUSE) } catch (error) {
    if (!/self-register/.test(error.message)) throw error
  }
}
const turn = () => new Promise(setImmediate)
const accepted = []
const server = net.createServer((socket) => { accepted.push(socket); socket.on('data', (data) => socket.write(data)) })
const connect = async () => {
  const socket = net.connect(server.address().port, '127.0.0.1')
  await once(socket, 'connect')
  let text = '', done
  socket.on('data', (data) => { text += data.latin1Slice(); done?.() })
  socket.ask = async (question) => {
    text = ''
    socket.write(question)
    while (text.length < question.length) await new Promise((resolve) => { done = resolve })
    return text === question
  }
  return socket
}
const rounds = async (clients, count) => {
  let isRight = true
  for (let round = 0; round < count; round++) {
    const answers = await Promise.all(clients.map((client, nth) => client.ask('round ' + round + ' of ' + nth)))
    isRight &&= answers.every(Boolean)
  }
  return isRight
}
const closed = async (sockets) => { await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close'))) }
const reason = () => process.env.TEST_MODE === 'plain' ? 'io_uring_enter' : require(library).driver.reason
const main = (run) => server.listen(0, '127.0.0.1', () => run().catch((error) => say(error.stack)))
`

const told =
  "say(process.env.TEST_MODE !== 'uring' || /libuv serves the sockets: io_uring_enter E/.test(reason()))"

const goesOn = `${prelude}
main(async () => {
  const clients = await Promise.all(Array.from({ length: 12 }, connect))
  say(await rounds(clients, 4))
  // Bytes on their way both ways, a reader that is paused, and one that never was asked anything.
  accepted[3].pause()
  const quiet = await connect()
  const asked = clients.map((client, nth) => client.ask('at the moment of ' + nth))
  refuse()
  await turn()
  accepted[3].resume()
  say((await Promise.all(asked)).every(Boolean))
  say(await rounds([...clients, quiet], 12))
  const late = await connect()
  say(await rounds([late, ...clients], 12))
  say(await clients[0].ask('x'.repeat(3 << 20)))
  const { idle, active } = performance.eventLoopUtilization()
  await new Promise((resolve) => setTimeout(resolve, 300))
  const since = performance.eventLoopUtilization({ idle, active, utilization: 0 })
  say(since.utilization < 0.5)
  ${told}
  const all = [...clients, quiet, late]
  for (const client of all) client.end()
  await closed([...all, ...accepted])
  server.close(() => say('closed'))
})
`

const endings = `${prelude}
main(async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, connect))
  say(await rounds(clients, 4))
  refuse()
  // Nobody has entered the kernel yet: the receives are all under way.
  const ends = clients.map((client, nth) => new Promise((resolve) => {
    client.on('end', () => resolve('end')).on('error', (error) => resolve(error.code))
    if (nth % 4 === 0) accepted[nth].destroy()
    if (nth % 4 === 1) accepted[nth].end('and the end')
    if (nth % 4 === 2) accepted[nth].resetAndDestroy()
    if (nth % 4 === 3) client.destroy(new Error('mine'), resolve('mine'))
  }))
  say(await Promise.all(ends))
  await closed([...clients, ...accepted])
  ${told}
  server.close(() => say('closed'))
})
`

scenarios(
  Object.fromEntries(
    answers.flatMap((answer) => {
      const options = { env: { TEST_REFUSE: filter(answer) } }
      return [
        [
          `io_uring_enter answers ${answer}: all goes on`,
          { source: goesOn, lines: [...Array<string>(7).fill('true'), 'closed'], options },
        ],
        [
          `io_uring_enter answers ${answer}: sockets end as they should`,
          {
            source: endings,
            lines: ['true', 'end,end,ECONNRESET,mine,end,end,ECONNRESET,mine', 'true', 'closed'],
            options,
          },
        ],
      ] as const
    }),
  ),
)

const isSanitized = process.env['URING_NET_SANITIZED'] === '1'

// A sanitizer has to be the first of the preloaded.
const ifUring = drivers.includes('uring') && !isSanitized ? test : test.skip

ifUring(
  'one that lets rings be made, and refuses io_uring_register: the reason names it',
  async () => {
    const path = program('say(require(library).driver.reason)')
    const { stdout } = await run('auto', path, { env: { LD_PRELOAD: filter('register') } })
    expect(stdout).toBe(
      'io_uring is not used: io_uring_register failed ' +
        '(EPERM: refused by a seccomp profile or by the sysctl kernel.io_uring_disabled)\n',
    )
  },
)
