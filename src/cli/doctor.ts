/**
 * `uring-net doctor`: which driver programs get here, why, and what stands in the way of a better one. Owns the options and
 * the exit code; facts, obstacles and text are in doctor/.
 */
import type { Command } from './command'
import { UsageError } from './command'
import { collectFacts } from './doctor/facts'
import { makeReport } from './doctor/report'
import { formatReport, wantsColour } from './doctor/text'
import { packageVersion } from './version'

const usage = 'uring-net doctor [--json]'

const help = `usage: ${usage}

Tells which driver programs get here and why, what the kernel offers, and what stands in the way.
Exit code: 0 io_uring, 3 epoll, 4 node:net, 1 no driver (the one asked for cannot run).`

export const doctor: Command = {
  summary: 'tells which driver programs get here, why, and what stands in the way',
  usage,
  start(args) {
    if (args.includes('--help') || args.includes('-h')) {
      console.log(help)
      return 0
    }
    const unknown = args.find((arg) => arg !== '--json')
    if (unknown !== undefined) throw new UsageError(`doctor: unknown argument '${unknown}'`)
    const report = makeReport(packageVersion(), collectFacts())
    if (args.includes('--json')) {
      console.log(JSON.stringify(report, null, 2))
    } else {
      console.log(formatReport(report, wantsColour(process.stdout.isTTY, process.env)))
    }
    return report.exitCode
  },
}
