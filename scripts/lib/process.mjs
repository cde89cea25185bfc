/*
 * Child processes and progress lines of the scripts. Owns how a step is shown (one line on stderr
 * with the time it took, so that stdout stays the program's own) and how a program is handed over
 * to. Never decides what runs.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** A failure with a message for people: printed without a stack, exit code 1. */
export class SetupError extends Error {}

export function say(line) {
  process.stderr.write(`setup: ${line}\n`)
}

/** Runs one step and prints its name at once, and the time it took when it is done. */
export async function step(name, run) {
  const start = performance.now()
  process.stderr.write(`setup: ${name} ... `)
  try {
    const result = await run()
    process.stderr.write(`${((performance.now() - start) / 1000).toFixed(1)} s\n`)
    return result
  } catch (error) {
    process.stderr.write('failed\n')
    throw error
  }
}

/** Runs a command and collects its output; never rejects for a non-zero exit code. */
export function capture(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const collect = (chunk) => (output += chunk)
    child.stdout.setEncoding('utf8').on('data', collect)
    child.stderr.setEncoding('utf8').on('data', collect)
    child.on('error', (error) => resolve({ code: 127, output: error.message }))
    child.on('close', (code, signal) => resolve({ code: code ?? 128, signal, output }))
  })
}

/** Like capture, but a failure becomes a SetupError that ends with what the command said last. */
export async function mustRun(what, command, args, options) {
  const { code, output } = await capture(command, args, options)
  if (code !== 0) {
    const tail = output.trimEnd().split('\n').slice(-40).join('\n')
    throw new SetupError(`${what} failed (exit code ${code}):\n${tail}`)
  }
  return output
}

/** Runs node with our stdio, passes signals on and ends with the child's exit code or signal. */
export async function handOver(args, options) {
  process.exitCode = await runNode(args, options)
}

/** Runs node with our stdio, passes signals on and resolves to its exit code (128 + n for a signal). */
export function runNode(args, { env = process.env, node = process.execPath } = {}) {
  const child = spawn(node, args, { cwd: root, env, stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the whole foreground group: the child already has it, and a
      // second one often means "now, without cleaning up".
      if (signal === 'SIGINT' && process.stdin.isTTY) return
      child.kill(signal)
    })
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal]))
  })
}

/** Entry point of a script: failures meant for people are printed without a stack. */
export async function main(run) {
  try {
    await run(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    process.stderr.write(`setup: ${error.message}\n`)
    process.exitCode = 1
  }
}
