/**
 * The suite as others use it: under node:test and under Jest, from ES modules; and that what is written about it is so. The
 * example and the tables in README.md are those of the lists.
 */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { programDeadlineMs } from '../deadlines'
import type { Check } from './check'
import { checks } from './checks/index'
import { conformance } from './conformance'
import { faults } from './faults/index'
import { compiled, runNode } from './program'
import { documented } from './report/document'
import type { Subject } from './subject'

const root = join(__dirname, '..', '..')
const example = join(root, 'examples', 'conformance-duplexify.mjs')

describe('under a runner', () => {
  const subject: Subject = {
    name: 'mine',
    capabilities: {},
    knownFailures: { 'H-3': 'too hard' },
    async makePair() {
      const end = (): Socket => new PassThrough() as unknown as Socket
      return { a: end(), b: end(), stop() {} }
    },
  }
  const base = { rule: 'H', area: 'harness', intent: 'why', hazards: [] } as const
  const some: Check[] = [
    { ...base, id: 'H-1', strength: 'required', requirement: 'one holds', run: async () => {} },
    {
      ...base,
      id: 'H-2',
      strength: 'recommended',
      requirement: 'two holds',
      run: async () => {
        throw new Error('it does not')
      },
    },
    {
      ...base,
      id: 'H-3',
      strength: 'required',
      requirement: 'three holds',
      run: async () => {
        throw new Error('of course not')
      },
    },
    {
      ...base,
      id: 'H-4',
      strength: 'required',
      requirement: 'four holds',
      needs: ['reset'],
      run: async () => {},
    },
    {
      ...base,
      id: 'H-5',
      strength: 'required',
      requirement: 'five holds',
      needs: ['reset'],
      opposite: { requirement: 'five does not hold', run: async () => {} },
      run: async () => {},
    },
  ]

  function declared(withSkip: boolean) {
    const tests = new Map<string, () => Promise<void>>()
    const skipped: string[] = []
    const test = (name: string, run: () => Promise<void>) => void tests.set(name, run)
    const skip = (name: string) => void skipped.push(name)
    conformance({ test: withSkip ? Object.assign(test, { skip }) : test, subject, checks: some })
    return { tests, skipped }
  }

  test('there is a test for each check, with its strength and requirement in the name', () => {
    const { tests, skipped } = declared(true)
    expect([...tests.keys()]).toEqual([
      'H-1 [required] one holds',
      'H-2 [recommended] two holds',
      'H-3 [required] three holds (known failure: too hard)',
      'H-5 [required] five does not hold',
    ])
    expect(skipped).toEqual(['H-4 [required] four holds (not applicable without reset)'])
  })

  test('what is not applicable is named also where nothing can be skipped', () => {
    const { tests } = declared(false)
    expect([...tests.keys()]).toContain('H-4 [required] four holds (not applicable without reset)')
  })

  test('a failure rejects with all that is known of it; a known one does not', async () => {
    const { tests } = declared(true)
    await expect(tests.get('H-1 [required] one holds')!()).resolves.toBeUndefined()
    await expect(tests.get('H-2 [recommended] two holds')!()).rejects.toThrow(
      /must hold +two holds\n +observed +it does not\n +why +why\n/,
    )
    const [known] = [...tests.keys()].filter((name) => name.startsWith('H-3'))
    await expect(tests.get(known!)!()).resolves.toBeUndefined()
  })
})

test('it is imported by its name, from an ES module, and runs under node:test', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'compat-esm-'))
  try {
    symlinkSync(root, join(directory, 'uring-net'))
    const modules = join(directory, 'node_modules')
    symlinkSync(directory, modules)
    const program = join(directory, 'program.test.mjs')
    writeFileSync(
      program,
      `import net from 'node:net'
       import { once } from 'node:events'
       import { test } from 'node:test'
       import { checks, conformance } from 'uring-net/conformance'
       async function makePair({ allowHalfOpen = true } = {}) {
         const server = net.createServer({ allowHalfOpen }).listen(0, '127.0.0.1')
         await once(server, 'listening')
         const b = net.connect({ port: server.address().port, host: '127.0.0.1', allowHalfOpen })
         const [[a]] = await Promise.all([once(server, 'connection'), once(b, 'connect')])
         server.close()
         return { a, b, stop: () => [a, b].forEach((end) => end.destroy()) }
       }
       const subject = { name: 'mine', capabilities: { halfOpen: true }, makePair }
       const some = checks.filter(({ rule }) => rule === 'H')
       conformance({ test, subject, checks: some })`,
    )
    const { code, stdout } = await runNode(['--test-reporter=tap', program], programDeadlineMs)
    expect(stdout).toMatch(/^ok 1 - H-1 \[required\] makePair\(\)/m)
    expect(code).toBe(0)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('the example subject fails what it says that it fails, and nothing else', async () => {
  // Most of what it fails it fails by silence: short clocks first, and the usual ones where these say no.
  const program = `
    import subject from ${JSON.stringify(pathToFileURL(example).href)}
    import suite from ${JSON.stringify(pathToFileURL(compiled('index.js')).href)}
    const { checks, defaultClocks, runCheck } = suite
    const short = { ...defaultClocks, signalMs: 400, checkMs: 4000 }
    const failures = []
    for (const check of checks) {
      let outcome = await runCheck(check, subject, short)
      if (outcome.status === 'failed') outcome = await runCheck(check, subject)
      if (outcome.status === 'failed') failures.push(check.id + ': ' + outcome.reason)
    }
    console.log(JSON.stringify(failures))
    process.exit()`
  const args = ['--expose-gc', '--input-type=module', '-e', program]
  const { stdout, stderr } = await runNode(args, 100_000)
  expect({ stderr, failures: JSON.parse(stdout) as unknown }).toEqual({ stderr: '', failures: [] })
}, 110_000)

test('the README has the example and the tables that the lists give', () => {
  const readme = readFileSync(join(__dirname, 'README.md'), 'utf8')
  const source = readFileSync(example, 'utf8')
  // Otherwise: npm run build && node dist/test/compat/main.js --document
  expect(readme).toBe(documented(readme, source, checks, faults))
})
