/**
 * Random scripts on both drivers against node:net, and proof that they bite: each known-bad module is found, its script is
 * made short, and the printed program shows the difference. Each run is a process of its own, of the compiled project.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { deviations } from './differential/deviations'
import { rules } from './differential/normalise'
import { scriptOf } from './differential/script'
import type { Script } from './differential/script'
import { shrink } from './differential/shrink'
import { drivers } from '../e2e/subjects'

const compiled = join(__dirname, '..', '..', 'dist', 'test', 'compat', 'differential')
const folder = mkdtempSync(join(tmpdir(), 'differential-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

function node(args: readonly string[], deadlineMs: number): Promise<Outcome> {
  const child = spawn(process.execPath, args, { timeout: deadlineMs, killSignal: 'SIGKILL' })
  const outcome: Outcome = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (data: Buffer) => (outcome.stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (outcome.stderr += data.toString()))
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ ...outcome, code }))
  })
}

function main(args: readonly string[], deadlineMs: number): Promise<Outcome> {
  return node([join(compiled, 'main.js'), ...args], deadlineMs)
}

interface Reported {
  found: { isSteady: boolean; script: Script; code: string }[]
}

test.each(drivers)(
  '%s: 2000 random scripts agree with node:net',
  async (driver) => {
    const { code, stderr } = await main(['--driver', driver, '--seeds', '2000'], 170_000)
    expect(code === 0 ? '' : stderr).toBe('')
  },
  180_000,
)

test('node:net agrees with itself', async () => {
  const isQuiet = ({ stderr }: Outcome): boolean => stderr.includes('0 disagree, 0 disagreed once')
  const args = ['--driver', 'node', '--seeds', '300']
  let outcome = await main(args, 50_000)
  // A machine that stood still disagrees with itself once, but not again.
  if (outcome.code === 0 && !isQuiet(outcome)) outcome = await main(args, 50_000)
  const { code, stderr } = outcome
  expect(code === 0 ? '' : stderr).toBe('')
  expect(stderr).toContain('0 disagree, 0 disagreed once')
}, 110_000)

describe('known-bad modules are found within 200 scripts, and shown by a short program', () => {
  test.each(Object.keys(deviations))(
    '%s',
    async (name) => {
      const module = join(folder, `${name.replace(/\W+/g, '-')}.js`)
      const source = JSON.stringify(join(compiled, 'deviations.js'))
      writeFileSync(
        module,
        `module.exports = require(${source}).deviations[${JSON.stringify(name)}]\n`,
      )
      const { stdout, code } = await main(
        ['--module', module, '--seeds', '200', '--limit', '1', '--json'],
        80_000,
      )
      expect(code).toBe(1)
      const { found } = JSON.parse(stdout) as Reported
      const { script, code: printed } = found.find(({ isSteady }) => isSteady)!
      expect(script.steps.length).toBeLessThanOrEqual(8)
      const program = `${module}.mjs`
      writeFileSync(program, printed)
      const [oracle, bad] = [
        await node([program], programDeadlineMs),
        await node([program, module], programDeadlineMs),
      ]
      expect(oracle).toMatchObject({ code: 0, stderr: '' })
      expect(bad.stdout).not.toBe(oracle.stdout)
    },
    120_000,
  )
})

test('a seed is the same script each time, and another one than its neighbour', () => {
  expect(scriptOf(7)).toEqual(scriptOf(7))
  expect(scriptOf(7)).not.toEqual(scriptOf(8))
})

test('a script is made as short as it can be and still fail', async () => {
  const script = [...Array(50).keys()].map(scriptOf).find(({ steps }) => steps.length > 8)!
  const needed = [script.steps[1]!.action.do, script.steps[7]!.action.do]
  const short = await shrink(script, ({ steps }) => {
    const done = steps.map(({ action }) => action.do)
    const at = done.indexOf(needed[0]!)
    return Promise.resolve(at >= 0 && done.includes(needed[1]!, at + 1))
  })
  expect(short.steps.map(({ action }) => action.do)).toEqual(needed)
})

test('each rule of the normalisation has its reason', () => {
  for (const { name, reason } of rules) expect([name, reason.length > 40]).toEqual([name, true])
})
