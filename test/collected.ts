/**
 * Tests of what happens when something is collected. V8 before Node 26 calls no finalizer of a process any more once a
 * FinalizationRegistry was collected while its clean-up was due, which a test file that a worker of Jest has run before can bring
 * about. Such a test is run in a process of its own then.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { programDeadlineMs } from './deadlines'

setFlagsFromString('--expose-gc')
export const collect = runInNewContext('gc') as () => void

const runner = join(__dirname, '..', 'node_modules/jest/bin/jest.js')

let callsFinalizers: Promise<boolean> | undefined

async function tryOut(): Promise<boolean> {
  let isCalled = false
  const registry = new FinalizationRegistry(() => (isCalled = true))
  ;(() => registry.register({}, 1))()
  for (let round = 0; round < 50 && !isCalled; round++) {
    collect()
    await sleep(1)
  }
  // It must not be collected before.
  registry.unregister(registry)
  return isCalled
}

/** As test(), of a file whose __filename it is. */
export function testCollected(file: string, title: string, body: () => Promise<void>): void {
  test(
    title,
    async () => {
      const isFresh = process.env['TEST_IN_FRESH_PROCESS'] === '1'
      if (isFresh || (await (callsFinalizers ??= tryOut()))) return body()
      const name = expect.getState().currentTestName!.replace(/[^\w ]/g, '.')
      const { status, stderr } = spawnSync(
        process.execPath,
        ['--expose-gc', runner, '-i', file, '-t', `^${name}$`],
        {
          env: { ...process.env, TEST_IN_FRESH_PROCESS: '1' },
          encoding: 'utf8',
          timeout: programDeadlineMs,
        },
      )
      expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining('1 passed') })
    },
    programDeadlineMs + 10_000,
  )
}
