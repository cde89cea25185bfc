/**
 * A sandbox that is put up late: io_uring_enter is refused for good after the driver has started. What was not taken ends
 * with that error, every close completes, and nothing spins.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { errno, kinds } from './rig'
import { run } from './run-child'

const directory = mkdtempSync(join(tmpdir(), 'uring-net-filter-'))
const filter = join(directory, 'filter.node')
const source = join(__dirname, 'refused_enter', 'filter.c')

beforeAll(async () => {
  // A compiler does not live well with a preloaded sanitizer.
  const env = { ...process.env, LD_PRELOAD: '' }
  const args = ['-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', source, '-o', filter]
  await promisify(execFile)('gcc', args, { env })
}, 60_000)

afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** What the program says when it has ended as it should. */
async function saidBy(name: string, kind: string): Promise<Record<string, unknown>> {
  const { said, ...ended } = await run(name, kind, { args: [filter] })
  expect(ended).toEqual({ code: 0, signal: null, stderr: '' })
  return said[0] as Record<string, unknown>
}

const eperm = errno('EPERM')

describe.each(kinds.filter((kind) => kind === 'uring'))('%s: refused', (kind) => {
  test('what was not taken completes with the error, what was ends, and then each close', async () => {
    const { turns, ...said } = await saidBy('refused', kind)
    expect(said).toEqual({
      // What the kernel had taken goes on.
      before: 0,
      refused: {
        receive: eperm,
        receiveInto: eperm,
        send: eperm,
        gathered: eperm,
        accept: eperm,
        connect: eperm,
      },
      inKernel: { receive: eperm, send: expect.any(Number), accept: expect.any(Number) },
      closed: Array(11).fill(0),
      endpoints: 0,
      inFlight: 0,
      unexpectedCompletions: 0,
      unfinished: 0,
      left: 0,
    })
    const { send, accept } = said['inKernel'] as Record<string, number>
    expect([send, accept].every((result) => result! < 0)).toBe(true)
    // A loop that spins makes thousands.
    expect(turns).toBeLessThan(50)
  })
})

describe.each(kinds)('%s: refused', (kind) => {
  test('a driver with operations in flight waits without spinning', async () => {
    const { turns, ...said } = await saidBy('refused-idle', kind)
    // To epoll the filter is nothing: there the receive that was started after it is the fourth.
    expect(said).toEqual({ inFlight: kind === 'uring' ? 3 : 4, received: false, left: 0 })
    expect(turns).toBeLessThan(50)
  })

  test('the end of the driver ends everything in flight and frees its descriptors', async () => {
    // Its own are that of the ring or of epoll, and the one kept back for accept.
    expect(await saidBy('refused-end', kind)).toEqual({ left: 0, freed: 2 })
  })
})
