/**
 * `uring-net run`: a program as `node` would run it, with uring-net/register loaded before it. Owns what Node is given; how
 * the process is started is in launch.ts.
 *
 * The hook is given as --require, not as --import: it then also reaches worker threads made from a string
 * (`new Worker(source, { eval: true })`), which on Node 20 to 26 start before their --import has run, and the app itself
 * is loaded as without it (with any --import Node takes its loader for ES modules, which refuses unknown extensions).
 * It is given as an option, not in NODE_OPTIONS: forks, cluster workers and worker threads inherit options, and other
 * programs that the app starts (npm, another Node) are left alone.
 */
import { join, resolve } from 'node:path'
import type { Command } from './command'
import { UsageError } from './command'
import { launch } from './launch'
import { parseRunArguments } from './run-arguments'

const register = join(__dirname, '..', 'register.js')

const usage = 'uring-net run [--driver auto|uring|epoll|node] [node options] app.js [arguments]'

const help = `usage: ${usage}

Runs app.js as node does, its sockets and servers on the driver: also those of its worker threads,
forks and cluster workers. Exit code and signals are the app's.

  --driver D    sets URING_NET_DRIVER; before the app, and before node options that take a value
  --            ends the options, as with node

The same without a wrapper: node --require uring-net/register app.js`

export const run: Command = {
  summary: 'runs a program with its sockets on the driver',
  usage,
  start(args) {
    const { help: isHelp, driver, forNode, app } = parseRunArguments(args)
    if (isHelp) {
      console.log(help)
      return 0
    }
    if (app !== undefined) mustExist(app)
    const env = driver === undefined ? process.env : { ...process.env, URING_NET_DRIVER: driver }
    return launch(['--require', register, ...process.execArgv, ...forNode], env)
  },
}

/** Says in a line what Node says with a stack. Loaders may find an app that is no file, so with any the word is Node's. */
function mustExist(app: string): void {
  if ([...process.execArgv, process.env.NODE_OPTIONS ?? ''].join('') !== '') return
  try {
    require.resolve(resolve(app))
  } catch {
    throw new UsageError(`run: there is no app at ${resolve(app)}`)
  }
}
