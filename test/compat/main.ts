/**
 * The suite's process entry. Started by `uring-net conformance` with its arguments, by processes.ts with --worker; by hand,
 * in a checkout, with --faults [--whole] [--shard i/n] [--grep pattern] [--json file] (the suite's own proof) or --document
 * (writes the example and the tables in README.md).
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError } from '../../src/cli/command'
import { conformanceUsage, parseConformanceArguments } from '../../src/cli/conformance-arguments'
import { checks } from './checks/index'
import { faults } from './faults/index'
import { documented } from './report/document'
import { runCommand } from './run-command'
import { runSelf } from './self'
import { work } from './worker'

async function start([mode, ...args]: string[]): Promise<number> {
  if (mode === '--faults') return proveFaults(args)
  if (mode === '--document') return document()
  return runCommand(parseConformanceArguments(process.argv.slice(2)))
}

async function proveFaults(args: string[]): Promise<number> {
  const string = { type: 'string' } as const
  const whole = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args,
    options: { shard: string, grep: string, json: string, whole },
  })
  const shard = /^(\d+)\/(\d+)$/.exec(values.shard ?? '1/1')
  if (shard === null) throw new UsageError('--shard takes i/n')
  const report = await runSelf({
    shard: [Number(shard[1]), Number(shard[2])],
    grep: values.grep === undefined ? undefined : new RegExp(values.grep, 'i'),
    isWhole: values.whole,
    onFault(name, done, count) {
      const line = `${done}/${count} ${name}`
      process.stdout.write(process.stdout.isTTY ? `\r\u001B[K${line}` : `${line}\n`)
    },
  })
  if (process.stdout.isTTY) process.stdout.write('\r\u001B[K')
  for (const { fault, check, problem } of report.findings) {
    const [line] = problem.split('\n')
    console.log([fault, check, line].filter((part) => part !== '').join(' · '))
  }
  const { faults: count, runs, repeated, findings } = report
  console.log(`${count} faults, ${checks.length} checks, ${runs} runs, ${repeated} of them again`)
  console.log(`${findings.length} findings`)
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(report, null, 2))
  return findings.length === 0 ? 0 : 1
}

function document(): number {
  const root = join(__dirname, '..', '..', '..')
  const path = join(root, 'test', 'compat', 'README.md')
  const example = readFileSync(join(root, 'examples', 'conformance-duplexify.mjs'), 'utf8')
  writeFileSync(path, documented(readFileSync(path, 'utf8'), example, checks, faults))
  return 0
}

if (process.argv[2] === '--worker') {
  work()
} else {
  start(process.argv.slice(2)).then(
    (code) => process.exit(code),
    (error: unknown) => {
      console.error(`uring-net: ${error instanceof Error ? error.message : String(error)}`)
      if (error instanceof UsageError) console.error(`usage: ${conformanceUsage}`)
      process.exit(error instanceof UsageError ? 2 : 1)
    },
  )
}
