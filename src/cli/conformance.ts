/**
 * `uring-net conformance`: the conformance suite against the drivers, or against somebody else's sockets. Owns the help; the
 * suite is no part of the library and is started as a process of its own, whose exit code this one's is.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from './command'
import { UsageError } from './command'
import { conformanceUsage, parseConformanceArguments } from './conformance-arguments'
import { packageRoot } from './version'

const suite = join(packageRoot, 'dist', 'test', 'compat', 'main.js')

const help = `usage: ${conformanceUsage}

Runs the checks of uring-net/conformance and tells what holds and what does not, by area, and for
each failure what was expected, what was observed and what happened before it.
Exit code: 0 every check passes or is a known failure, 1 one fails, 2 wrong usage.

  --subject F   a module whose default export is a subject, an array of them, or a function that
                returns either; without it the built-in subjects: see test/compat/README.md
  --driver D    uring, epoll, node, or all that work here (the default of the built-in subjects)
  --grep P      only checks whose id, area or requirement matches the regular expression
  --json F      writes the outcomes; - is standard output
  --html F      writes a page with the matrix of subjects and checks
  --list        prints the checks, and runs none
  --seeds N     also plays N random scripts against node:net and the drivers, and compares
  --patience N  waits N times as long for what has to come (2 s): for a slow machine`

export const conformance: Command = {
  summary: 'checks whether sockets keep the rules that stream libraries rely on',
  usage: conformanceUsage,
  start(args) {
    const { help: isHelp, subject } = parseConformanceArguments(args)
    if (isHelp) {
      console.log(help)
      return 0
    }
    if (subject !== undefined && !existsSync(subject)) {
      throw new UsageError(`conformance: there is no subject at ${subject}`)
    }
    return exitCodeOf(args)
  },
}

function exitCodeOf(args: string[]): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, suite, ...args], { stdio: 'inherit' })
  // A terminal sends it to both; the suite ends its own children, and then this process follows.
  const wait = () => {}
  const stop = () => child.kill('SIGTERM')
  process.on('SIGINT', wait).on('SIGTERM', stop)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => {
      process.off('SIGINT', wait).off('SIGTERM', stop)
      resolve(code ?? 1)
    })
  })
}
