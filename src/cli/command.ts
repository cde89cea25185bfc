/** What a command of `uring-net` is, and the error that means wrong usage. Knows no command. */

export interface Command {
  /** For the list of commands. */
  readonly summary: string
  /** One line: how it is called. */
  readonly usage: string
  /** Its exit code. A UsageError is printed with the usage, and the exit code is 2. */
  start(args: string[]): number | Promise<number>
}

/** The command line is wrong; the message says what is. */
export class UsageError extends Error {}
