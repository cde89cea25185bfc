#!/usr/bin/env node
/**
 * The program `uring-net`: finds the command and ends with its exit code. Owns the table of commands and what is said about
 * wrong usage (exit code 2); what a command does is in its own file.
 */
import type { Command } from './command'
import { UsageError } from './command'
import { conformance } from './conformance'
import { doctor } from './doctor'
import { run } from './run'
import { packageVersion } from './version'

const commands: Record<string, Command> = { run, doctor, conformance }

function help(): string {
  const entries = Object.entries(commands)
  const width = Math.max(...entries.map(([name]) => name.length))
  const lines = entries.map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return [
    'usage: uring-net <command> [arguments]',
    '',
    ...lines,
    '',
    'uring-net <command> --help tells more; uring-net --version prints the version',
  ].join('\n')
}

async function start([name, ...args]: string[]): Promise<number> {
  if (name === '--help' || name === '-h') {
    console.log(help())
    return 0
  }
  if (name === '--version' || name === '-v') {
    console.log(packageVersion())
    return 0
  }
  if (name === undefined) {
    console.error(help())
    return 2
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  try {
    if (command !== undefined) return await command.start(args)
    const what = name.startsWith('-') ? 'option' : 'command'
    throw new UsageError(`unknown ${what} '${name}'; uring-net --help lists the commands`)
  } catch (error) {
    console.error(`uring-net: ${(error as Error).message}`)
    if (!(error instanceof UsageError)) return 1
    if (command !== undefined) console.error(`usage: ${command.usage}`)
    return 2
  }
}

void start(process.argv.slice(2)).then((code) => {
  process.exitCode = code
})
