/**
 * `uring-net conformance` on subjects of one's own: how they are found, what is told of a failure, exit codes, and that
 * nothing a subject does ends the run. Owns the files it writes.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { dist } from '../e2e/program'
import type { Report } from '../compat/report/record'
import { removeApps, runCli, writeApp } from './program'

afterAll(removeApps)

const oracle = pathToFileURL(join(dist, 'test', 'compat', 'subjects', 'node-net.js')).href
const imported = `import { nodeNet } from ${JSON.stringify(oracle)}\n`
const harness = ['--grep', '^H-1 ']

function subjectFile(source: string, name = 'subject.mjs'): string {
  return writeApp(name, source)
}

async function outcomes(file: string, ...more: string[]) {
  const { code, stderr, stdout } = await runCli([
    'conformance',
    '--subject',
    file,
    '--json',
    '-',
    ...harness,
    ...more,
  ])
  const report = JSON.parse(stdout) as Report
  return { code, stderr, report, subjects: report.subjects.map(({ name }) => name) }
}

describe('a subject file', () => {
  test.each([
    ['a subject', `export default nodeNet`, ['node:net']],
    ['an array', `export default [nodeNet, { ...nodeNet, name: 'again' }]`, ['node:net', 'again']],
    ['a function', `export default () => nodeNet`, ['node:net']],
    ['an async function', `export default async () => [nodeNet]`, ['node:net']],
  ])('may export %s', async (_title, source, names) => {
    const { code, subjects, report } = await outcomes(subjectFile(imported + source))
    expect(subjects).toEqual(names)
    expect(report.subjects.flatMap((subject) => subject.outcomes)).toMatchObject(
      names.map(() => ({ check: 'H-1', status: 'passed' })),
    )
    expect(code).toBe(0)
  })

  test('may be CommonJS', async () => {
    const path = JSON.stringify(join(dist, 'test', 'compat', 'subjects', 'node-net.js'))
    const file = subjectFile(`module.exports = require(${path}).nodeNet`, 'subject.cjs')
    expect(await outcomes(file)).toMatchObject({ code: 0, subjects: ['node:net'] })
  })

  test.each([
    ['nothing', `export const subject = nodeNet`, /its default export is no subject/],
    ['a subject without makePair', `export default { name: 'mine' }`, /mine has no makePair\(\)/],
    ['an error', `throw new Error('not today')`, /not today/],
  ])('that exports %s is refused with a sentence', async (_title, source, message) => {
    const file = subjectFile(imported + source)
    const { code, stderr } = await runCli(['conformance', '--subject', file])
    expect(stderr).toMatch(message)
    expect(code).toBe(1)
  })

  test('is run on the driver that is asked for', async () => {
    const file = subjectFile(
      `${imported}export default { ...nodeNet, name: 'with ' + process.env.URING_NET_DRIVER }`,
    )
    const { subjects } = await outcomes(file, '--driver', 'epoll')
    expect(subjects).toEqual(['with epoll'])
  })
})

const failing = `${imported}
const makePair = async () => { throw new Error('there is no network here') }
export default { ...nodeNet, name: 'mine', makePair }`

test('a failure tells what must hold, what happened and why it matters, and the exit code is 1', async () => {
  const file = subjectFile(failing)
  const { code, stdout, stderr } = await runCli(['conformance', '--subject', file, ...harness])
  expect(stdout).toContain('✗ mine: 0 passed, 1 failed')
  expect(stdout).toContain('H-1 (harness, required) fails: mine')
  expect(stdout).toMatch(/must hold +makePair\(\) hands out two fresh/)
  expect(stdout).toMatch(/observed +there is no network here/)
  expect(stdout).toMatch(/why +everything else/)
  expect(stdout).toMatch(/^harness +– +1 /m)
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
})

test('a known failure is none, until it passes', async () => {
  const known = `{ ...subject, knownFailures: { 'H-1': 'no network' } }`
  const fails = subjectFile(
    failing.replace('export default', 'const subject =') + `\nexport default ${known}`,
  )
  expect(await outcomes(fails)).toMatchObject({
    code: 0,
    report: { subjects: [{ outcomes: [{ status: 'known failure', reason: 'no network' }] }] },
  })
  const passes = subjectFile(`${imported}const subject = nodeNet\nexport default ${known}`)
  expect(await outcomes(passes)).toMatchObject({
    code: 1,
    report: { subjects: [{ outcomes: [{ status: 'failed' }] }] },
  })
})

test.each([
  ['exits', `process.exit(7)`, /the process ended with exit code 7 during this check/],
  ['is killed', `process.kill(process.pid, 'SIGKILL')`, /ended by SIGKILL during this check/],
])(
  'a subject that %s fails that check, and those after it are run',
  async (_title, act, reason) => {
    const file = subjectFile(`${imported}
    let pairs = 0
    const makePair = async (options) => {
      if (pairs++ === 0 && !process.env.SECOND) { ${act} }
      return nodeNet.makePair(options)
    }
    export default { ...nodeNet, name: 'mine', makePair }`)
    const { code, report } = await outcomes(file, '--grep', '^(H|W1)-')
    const [first, ...others] = report.subjects[0]!.outcomes
    expect(first).toMatchObject({ check: 'H-1', status: 'failed' })
    expect(first!.reason).toMatch(reason)
    // In their process the first pair ends it again: one is lost at a time, and every one has an outcome.
    expect(others).toHaveLength(report.checks.length - 1)
    expect(code).toBe(1)
  },
  60_000,
)

test('--html writes a page, and --json a file', async () => {
  const file = subjectFile(`${imported}export default nodeNet`)
  const [html, json] = ['report.html', 'report.json'].map((name) => join(dirname(file), name))
  const args = ['--subject', file, '--html', html!, '--json', json!, ...harness]
  expect((await runCli(['conformance', ...args])).code).toBe(0)
  expect(readFileSync(html!, 'utf8')).toMatch(/^<!doctype html>/)
  expect(JSON.parse(readFileSync(json!, 'utf8'))).toMatchObject({ node: process.version })
})

test('--patience waits longer for what has to come, so that a slow subject passes', async () => {
  const file = subjectFile(`${imported}
    const makePair = async (options) => {
      await new Promise((resolve) => setTimeout(resolve, 2500))
      return nodeNet.makePair(options)
    }
    export default { ...nodeNet, name: 'slow', makePair }`)
  const late = await outcomes(file)
  expect(late).toMatchObject({
    code: 1,
    report: { subjects: [{ outcomes: [{ status: 'failed' }] }] },
  })
  expect(await outcomes(file, '--patience', '10')).toMatchObject({ code: 0 })
})

test('--list prints the checks that match, and runs none', async () => {
  const { stdout, code } = await runCli(['conformance', '--list', '--grep', 'harness'])
  expect(stdout).toMatch(/^H-1 +harness +required +makePair\(\)/)
  expect(code).toBe(0)
})

test('a driver that cannot run here is an error when it is asked for', async () => {
  const flags = ['--no-addons']
  const { stderr, code } = await runCli(['conformance', '--driver', 'epoll', ...harness], { flags })
  expect(stderr).toMatch(/epoll/)
  expect(code).toBe(1)
  const all = await runCli(['conformance', ...harness], { flags })
  expect(all.stdout).toMatch(/^uring not run: /m)
  expect(all.stdout).toMatch(/^epoll not run: /m)
  expect(all.stdout).toMatch(/✓ node:net: 1 passed/)
  expect(all.code).toBe(0)
})

test.each([
  ['a driver that does not exist', ['--driver', 'fast'], /'fast' is none/],
  ['a subject that is not there', ['--subject', 'no/such.mjs'], /no subject at no\/such\.mjs/],
  ['a pattern that is none', ['--grep', '('], /--grep: Invalid regular expression/],
  ['a pattern that nothing matches', ['--grep', 'xyzzy'], /no check matches/],
  ['a number that is none', ['--seeds', 'many'], /'many' is none/],
  ['no patience at all', ['--patience', '0'], /'0' is none/],
  ['an unknown option', ['--fly'], /Unknown option '--fly'/],
  ['an argument too many', ['x'], /Unexpected argument 'x'/],
])('%s is wrong usage: exit code 2', async (_title, args, message) => {
  const { stdout, stderr, code } = await runCli(['conformance', ...args])
  expect(stderr).toMatch(message)
  expect(stderr).not.toMatch(/^ {4}at /m)
  expect({ stdout, code }).toEqual({ stdout: '', code: 2 })
})

test('--help tells how it is used', async () => {
  const { stdout, code } = await runCli(['conformance', '--help'])
  expect(stdout).toMatch(/^usage: uring-net conformance/)
  expect(code).toBe(0)
})
