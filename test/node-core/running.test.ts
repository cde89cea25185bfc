/** Running test files: how each ending is seen, and that nothing outlives its test. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { programDeadlineMs, waitDeadlineMs } from '../deadlines'
import { environment, preloadArguments } from './environment'
import type { Settings } from './running'
import { Runner, ending } from './running'

const root = mkdtempSync(join(tmpdir(), 'node-core-test-'))

afterAll(() => rmSync(root, { recursive: true, force: true }))

function write(name: string, source: string): string {
  const file = join(root, name)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, source)
  return name
}

async function run(name: string, settings: Partial<Settings> = {}) {
  const runner = new Runner({
    testRoot: root,
    node: process.execPath,
    nodeArguments: [],
    env: environment(process.env, {}),
    timeoutMs: programDeadlineMs,
    ...settings,
  })
  try {
    return await runner.run(name)
  } finally {
    runner.dispose()
  }
}

/** A killed process is gone, or waits for a parent that nobody here is; there is no event for it. */
async function awaitEnd(pid: number): Promise<void> {
  for (const deadline = Date.now() + waitDeadlineMs; Date.now() < deadline; await delay(10)) {
    try {
      if (/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return
    } catch {
      return
    }
  }
  throw new Error(`process ${pid} is still there`)
}

test('a test has its flags, its variables, ports and a folder of its own', async () => {
  const name = write(
    'parallel/test-net-own.js',
    `// Flags: --expose-gc
// Env: GREETING=hello
require('node:fs').writeFileSync(require('node:path').join(process.env.NODE_TEST_DIR, 'x'), '')
const { GREETING, TEST_THREAD_ID, TEST_PARALLEL, NODE_COMMON_PORT } = process.env
require('node:assert').deepStrictEqual(
  [typeof gc, GREETING, TEST_THREAD_ID, TEST_PARALLEL, NODE_COMMON_PORT > 10000],
  ['function', 'hello', '0', '1', true])`,
  )
  expect(await run(name)).toEqual({ status: 'pass', ms: expect.any(Number) })
})

test('a preload reaches the test and the processes it starts', async () => {
  const file = join(root, write('hook.js', 'process.hooked = true'))
  const name = write(
    'parallel/test-net-hooked.js',
    `const { spawnSync } = require('node:child_process')
const child = spawnSync(process.execPath, ['-p', 'process.hooked'])
if (!process.hooked || String(child.stdout) !== 'true\\n') throw new Error(child.stderr)`,
  )
  const preload = { file, via: 'require' } as const
  const hooked = {
    nodeArguments: preloadArguments(preload),
    env: environment(process.env, { preload }),
  }
  expect(await run(name, hooked)).toMatchObject({ status: 'pass' })
  expect(await run(name)).toMatchObject({ status: 'fail', code: 1 })
})

test('a test that skips itself says why', async () => {
  const name = write('parallel/test-net-skip.js', "console.log('1..0 # Skipped: no IPv6')")
  expect(await run(name)).toMatchObject({ status: 'skip', reason: 'no IPv6' })
})

test('an exit code, a signal and a binary that is not there are failures with what was written', async () => {
  const name = write(
    'parallel/test-net-fail.js',
    "console.error('Error: a\\nb'); process.exitCode = 7",
  )
  expect(await run(name)).toMatchObject({
    status: 'fail',
    code: 7,
    line: 'Error: a',
    tail: 'Error: a\nb',
  })
  const killed = write('parallel/test-net-killed.js', "process.kill(process.pid, 'SIGKILL')")
  expect(await run(killed)).toMatchObject({ status: 'fail', signal: 'SIGKILL' })
  const node = join(root, 'no-such-binary')
  expect((await run(name, { node })).tail).toMatch(/not started: .*ENOENT/)
})

test('a skip that ends with an error is a failure', () => {
  expect(ending(1, null, '1..0 # Skipped: x\n').status).toBe('fail')
})

test('a test that does not end is ended, with everything it started', async () => {
  // 1. the test starts a child that leaves the process group, and says its pid
  // 2. neither ends by itself
  // 3. at the end of the test's time both are gone
  const name = write(
    'parallel/test-net-hang.js',
    `const { spawn } = require('node:child_process')
const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true })
console.log('child', child.pid)`,
  )
  const ended = await run(name, { timeoutMs: 5000 })
  expect(ended).toMatchObject({ status: 'fail', timedOut: true, strays: 1 })
  await awaitEnd(Number(/child (\d+)/.exec(ended.tail ?? '')?.[1]))
})
