/**
 * One check on one subject: deadlines, what is undone afterwards, and each outcome. Uncaught exceptions are seen by a
 * process of its own, with the compiled suite, for Jest has a `process` of its own.
 */
import * as assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { promisify } from 'node:util'
import { programDeadlineMs } from '../deadlines'
import { dist } from '../e2e/program'
import type { Check, CheckContext } from './check'
import { runCheck } from './run'
import type { Subject } from './subject'

const clocks = { signalMs: 60, silenceMs: 5, checkMs: 200 }

function check(run: Check['run'], more: Partial<Check> = {}): Check {
  return {
    id: 'H-99',
    rule: 'H',
    strength: 'required',
    area: 'harness',
    requirement: 'something holds',
    intent: 'something breaks',
    hazards: [],
    run,
    ...more,
  }
}

/** Its ends are not connected: no check here needs that. */
function subject(more: Partial<Subject> = {}): Subject & { stops: string[] } {
  const stops: string[] = []
  let pairs = 0
  const makePair = async () => {
    const name = String(++pairs)
    const stop = (): void => void stops.push(name)
    return {
      a: new PassThrough() as unknown as Socket,
      b: new PassThrough() as unknown as Socket,
      stop,
    }
  }
  return { name: 'fake', capabilities: {}, makePair, stops, ...more }
}

const never = new Promise<never>(() => {})

test('a check that returns has passed, and says so', async () => {
  const outcome = await runCheck(
    check(async () => {}),
    subject(),
    clocks,
  )
  expect(outcome).toMatchObject({ status: 'passed', reason: '', subject: 'fake', trace: [] })
})

test('what an assertion compared is part of the outcome', async () => {
  const run = async (): Promise<void> => assert.deepEqual([1], [2], 'the numbers differ')
  expect(await runCheck(check(run), subject(), clocks)).toMatchObject({
    status: 'failed',
    reason: expect.stringMatching(/^the numbers differ/),
    expected: [2],
    observed: [1],
  })
})

test.each<[string, (context: CheckContext) => Promise<unknown>, string]>([
  ['a promise', ({ within }) => within(never, 'a sign'), 'timed out: a sign'],
  ['a condition', ({ until }) => until(() => false, 'the end'), 'timed out: the end'],
  ['whatever it likes', () => never, 'timed out: the check as a whole'],
])('a check that waits for %s fails at its deadline', async (_title, run, reason) => {
  const outcome = await runCheck(
    check(async (context) => void (await run(context))),
    subject(),
    clocks,
  )
  expect(outcome).toMatchObject({ status: 'failed', reason })
  expect(outcome.ms).toBeLessThan(5000)
})

test('a wait begins again when the process stood still until after its deadline', async () => {
  const run = async ({ within }: CheckContext): Promise<void> => {
    const sign = new Promise((resolve) => setTimeout(resolve, 2 * clocks.signalMs))
    const waiting = within(sign, 'a sign')
    for (const end = performance.now() + 700; performance.now() < end;);
    await waiting
  }
  expect(await runCheck(check(run), subject(), clocks)).toMatchObject({ status: 'passed' })
})

test('a pair that does not come fails the check, and is stopped when it comes', async () => {
  let release = (): void => {}
  let stopped = 0
  const made = new Promise<void>((resolve) => (release = resolve)).then(async () => ({
    ...(await subject().makePair()),
    stop: () => void stopped++,
  }))
  const run = async ({ pair }: CheckContext): Promise<void> => void (await pair())
  const outcome = await runCheck(check(run), subject({ makePair: () => made }), clocks)
  expect(outcome).toMatchObject({ status: 'failed', reason: 'timed out: a connected pair' })
  release()
  await made
  await new Promise((resolve) => setImmediate(resolve))
  expect(stopped).toBe(1)
})

test('pairs and all else are undone last first, also after a failure', async () => {
  const fake = subject()
  const run = async (context: CheckContext): Promise<void> => {
    await context.pair()
    context.after(() => void fake.stops.push('after'))
    await context.pair()
    assert.fail('no')
  }
  const outcome = await runCheck(check(run), fake, clocks)
  expect(fake.stops).toEqual(['2', 'after', '1'])
  expect(outcome).toMatchObject({ status: 'failed', reason: 'no' })
})

test('a stop() that throws, rejects or never ends fails the check, and what is left is undone', async () => {
  const broken = {
    'thrown by stop()': () => {
      throw new Error('thrown by stop()')
    },
    'rejected by stop()': () => Promise.reject(new Error('rejected by stop()')),
    'timed out: the end of the pair': () => never,
  }
  for (const [reason, stop] of Object.entries(broken)) {
    const fake = subject()
    const run = async (context: CheckContext): Promise<void> => {
      await context.pair()
      context.after(stop)
    }
    expect(await runCheck(check(run), fake, clocks)).toMatchObject({ status: 'failed', reason })
    expect(fake.stops).toEqual(['1'])
  }
})

test('a check that goes on after its deadline gets no more pairs', async () => {
  const fake = subject()
  let late: Promise<unknown> = never
  const run = async ({ pair }: CheckContext): Promise<void> => {
    const delayed = new Promise((resolve) => setTimeout(resolve, clocks.checkMs + 50))
    late = delayed.then(() => pair())
    late.catch(() => {})
    await late
  }
  await runCheck(check(run), fake, clocks)
  await expect(late).rejects.toThrow('the check is over')
  expect(fake.stops).toEqual([])
})

test('the trace has one clock, and tells the pairs apart', async () => {
  const run = async (context: CheckContext): Promise<void> => {
    const first = await context.pair()
    context.note('between')
    const second = await context.pair()
    second.a.emit('finish')
    first.b.emit('drain')
  }
  const { trace } = await runCheck(check(run), subject(), clocks)
  expect(trace.map(({ side, what }) => [side, what])).toEqual([
    ['', 'between'],
    ['a2', 'finish'],
    ['b', 'drain'],
  ])
  const times = trace.map(({ ms }) => ms)
  expect([...times].sort((left, right) => left - right)).toEqual(times)
})

describe('a check that needs what the subject does not declare', () => {
  const failing = check(async () => assert.fail('it was run'), { needs: ['socket', 'reset'] })

  test('is not applicable, and the reason names all that is missing', async () => {
    expect(await runCheck(failing, subject(), clocks)).toMatchObject({
      status: 'not applicable',
      reason: 'the subject does not declare: socket, reset',
    })
    const half = subject({ capabilities: { socket: true, reset: false } })
    expect(await runCheck(failing, half, clocks)).toMatchObject({
      reason: 'the subject does not declare: reset',
    })
  })

  test('runs its opposite, which may fail', async () => {
    const opposite = (run: Check['run']): Check => ({
      ...failing,
      opposite: { requirement: 'the opposite holds', run },
    })
    expect(
      await runCheck(
        opposite(async () => {}),
        subject(),
        clocks,
      ),
    ).toMatchObject({
      status: 'passed',
      requirement: 'the opposite holds',
    })
    const bad = opposite(async () => assert.fail('the opposite does not hold'))
    expect(await runCheck(bad, subject(), clocks)).toMatchObject({
      status: 'failed',
      reason: 'the opposite does not hold',
    })
  })

  test('is run where it is declared', async () => {
    const able = subject({ capabilities: { socket: true, reset: true } })
    expect(await runCheck(failing, able, clocks)).toMatchObject({ reason: 'it was run' })
  })
})

describe('a known failure', () => {
  const known = subject({ knownFailures: { 'H-99': 'it cannot' } })

  test('is one when the check fails; what was observed is kept', async () => {
    const run = async (): Promise<void> => assert.equal(1, 2)
    expect(await runCheck(check(run), known, clocks)).toMatchObject({
      status: 'known failure',
      reason: 'it cannot',
      expected: 2,
    })
  })

  test('that passes has failed', async () => {
    expect(
      await runCheck(
        check(async () => {}),
        known,
        clocks,
      ),
    ).toMatchObject({
      status: 'failed',
      reason: 'passes, although it is listed as a known failure (it cannot)',
    })
  })
})

describe('a racy failure', () => {
  const racy = subject({ racyFailures: { 'H-99': 'seldom' } })

  test('is a known failure when the check fails', async () => {
    const run = async (): Promise<void> => assert.equal(1, 2)
    const outcome = await runCheck(check(run), racy, clocks)
    expect(outcome).toMatchObject({ status: 'known failure', reason: 'seldom' })
  })

  test('has passed when it passes', async () => {
    const passing = check(async () => {})
    expect(await runCheck(passing, racy, clocks)).toMatchObject({ status: 'passed', reason: '' })
  })
})

describe('what nobody catches', () => {
  /** Runs checks, each the body of an async function with `context`, one after the other. */
  async function outcomesOf(...bodies: string[]): Promise<{ status: string; reason: string }[]> {
    const source = `
      const { runCheck } = require(${JSON.stringify(join(dist, 'test', 'compat', 'run.js'))})
      const subject = { name: 'fake', capabilities: {} }
      const bodies = [${bodies.map((body) => `async (context) => { ${body} }`).join(',')}]
      ;(async () => {
        const outcomes = []
        for (const run of bodies) {
          const check = { id: 'H-99', requirement: '', run }
          const { status, reason } = await runCheck(check, subject, ${JSON.stringify(clocks)})
          outcomes.push({ status, reason })
        }
        console.log(JSON.stringify(outcomes))
      })()`
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', source], {
      timeout: programDeadlineMs,
    })
    return JSON.parse(stdout) as { status: string; reason: string }[]
  }
  const passed = { status: 'passed', reason: '' }
  const failed = (reason: string) => ({ status: 'failed', reason })

  test('belongs to the check that runs', async () => {
    const outcomes = await outcomesOf(
      `setImmediate(() => { throw new Error('thrown') }); await context.silence()`,
      `Promise.reject(new Error('rejected')); await context.silence()`,
      ``,
    )
    expect(outcomes).toEqual([failed('thrown'), failed('rejected'), passed])
  })

  test('is noticed in the tick after the check, and while it is undone', async () => {
    const outcomes = await outcomesOf(
      `setImmediate(() => { throw new Error('after') })`,
      `context.after(() => { process.nextTick(() => { throw new Error('undoing') }) })`,
      ``,
    )
    expect(outcomes).toEqual([failed('after'), failed('undoing'), passed])
  })

  test('of waits that a failed check has left behind fails no other check', async () => {
    const outcomes = await outcomesOf(
      `context.within(new Promise(() => {}), 'left behind'); throw new Error('given up')`,
      `await new Promise((resolve) => setTimeout(resolve, ${clocks.signalMs * 2}))`,
    )
    expect(outcomes).toEqual([failed('given up'), passed])
  })
})
