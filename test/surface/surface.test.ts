/**
 * The public surface, row by row, with plain node:net as the oracle: the same program in library mode and in register
 * mode, on each driver, must give the same result. URING_NET_TEST_NODES names other Node binaries, separated by colons;
 * each is compared with itself. Each row is a test; the rows themselves are in rows/.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { inTurn, runRows } from './run'
import type { Results, Run, Theme } from './run'

const chosen = process.env['URING_NET_DRIVER']
const drivers = chosen === 'uring' || chosen === 'epoll' ? [chosen] : ['uring', 'epoll']
const nodes = (process.env['URING_NET_TEST_NODES'] ?? process.execPath).split(':')
const atATime = 2
const beforeMs = 1_000_000

function output(node: string, args: string[]): string {
  return execFileSync(node, args, { encoding: 'utf8' }).trim()
}

const list = output(process.execPath, [join(__dirname, 'child.js'), '--list'])
const themes = JSON.parse(list) as Theme[]
const titles = themes.flatMap((theme) => theme.titles)

/** Nothing to compare with. */
const unusable = ['deadline', 'failed', 'crashed']

describe.each(nodes)('%s', (node) => {
  const oracle: Run = { node, mode: 'plain', driver: '' }
  const runs = ['library', 'register'].flatMap((mode) =>
    drivers.map((driver): Run => ({ node, mode, driver })),
  )
  const results = new Map<Run, Results>()

  beforeAll(async () => {
    await inTurn(
      atATime,
      [oracle, ...runs].map((run) => async () => results.set(run, await runRows(run, titles))),
    )
  }, beforeMs)

  const rowOf = (run: Run, title: string): unknown => results.get(run)!.rows.get(title)

  test.each(titles)('node:net itself answers: %s', (title) => {
    const answer = Object.keys(rowOf(oracle, title) as object)
    expect(answer.filter((key) => unusable.includes(key))).toEqual([])
  })

  describe.each(runs.map((run) => [`${run.mode} mode on ${run.driver}`, run] as const))(
    '%s',
    (_, run) => {
      test('what sockets read is received by the driver', () => {
        expect(results.get(run)!.isCarried).toBe(true)
      })

      describe.each(themes)('$theme', ({ titles: ofTheme }) => {
        test.each(ofTheme)('%s', (title) => {
          expect(rowOf(run, title)).toEqual(rowOf(oracle, title))
        })
      })
    },
  )
})

/** Each fault of faults.js, and rows that have to notice it. */
const noticed: Record<string, string[]> = {
  'early callback': [
    'write callbacks come once each, in order, without an error, and never inside write()',
  ],
  'lost bytes': [
    'write() takes all kinds of data and encodings, and the peer gets the same bytes',
    'a write that fits the kernel, then destroy(), is delivered',
  ],
  'wrong order': [
    'write() takes all kinds of data and encodings, and the peer gets the same bytes',
  ],
  'early close': ['events of a client: all of a normal life, in order'],
  'close without hadError': [
    'a reset by the peer is ECONNRESET and close(true)',
    'destroy(error) emits the error, then close(true)',
  ],
  'bare errors': ['a port nobody listens on, a path that is none: the whole life'],
}

test.each(Object.entries(noticed))(
  'the rows notice an implementation with: %s',
  async (fault, rows) => {
    const node = process.execPath
    const [good, bad] = await inTurn(atATime, [
      () => runRows({ node, mode: 'plain', driver: '' }, rows),
      () => runRows({ node, mode: `fault:${fault}`, driver: '' }, rows),
    ])
    for (const title of rows) expect(bad!.rows.get(title)).not.toEqual(good!.rows.get(title))
  },
)
