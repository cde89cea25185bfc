/**
 * Starts Node in place of this process. Where Node has process.execve (22.15, 23.11) the process itself becomes the app, and
 * nothing is left to relay. Elsewhere the app is a child: signals go on to it, and its exit code or signal becomes this
 * process's own. Descriptors beyond stderr and an IPC channel are not handed on either way. Never looks at the arguments.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { isInForeground } from './foreground'

type Execve = (file: string, args: readonly string[], env: NodeJS.ProcessEnv) => never

/** What a supervisor or a person sends to a server. SIGUSR1 starts the app's inspector, not this process's. */
const relayed = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const

/** A terminal sends these to the whole foreground group, the child included: relayed, they would arrive twice. */
const fromKeyboard: readonly string[] = ['SIGINT', 'SIGQUIT']

/** Resolves to the exit code; ends the process by the signal that ended the app. */
export function launch(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const { execve } = process as { execve?: Execve }
  if (execve !== undefined) execve.call(process, process.execPath, [process.execPath, ...args], env)
  return relay(args, env)
}

function relay(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(process.execPath, args, { stdio: 'inherit', env })
  const forward = (signal: NodeJS.Signals) => {
    if (!fromKeyboard.includes(signal) || !isInForeground()) child.kill(signal)
  }
  for (const signal of relayed) process.on(signal, forward)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      for (const name of relayed) process.off(name, forward)
      resolve(signal === null ? code! : endBy(signal))
    })
  })
}

/** Does not return, but for signals that this process survives: then as a shell counts them. */
function endBy(signal: NodeJS.Signals): number {
  process.kill(process.pid, signal)
  return 128 + constants.signals[signal]
}
