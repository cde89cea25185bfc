/**
 * What a test process is given: its environment and the options that load the preload into it and its children. It
 * starts nothing.
 */
import { pathToFileURL } from 'node:url'
import type { Driver } from './records'

/**
 * Only these are passed on. Much else that a shell may hold changes what the tests see: proxies, certificates, colours,
 * NODE_* of all kinds.
 */
const PASSED_ON = /^(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|LANG|LC_\w+|URING_NET_ADDON)$/

/** In the environment of every process of a run: what outlived its test is found by it. */
export const MARK = 'NODE_CORE_RUN'

/**
 * `require` is the default: Node loads no `--import` module into a worker that is made from a string, and a module that
 * is required is there before any other code.
 */
export type Via = 'require' | 'import'

export interface Preload {
  file: string
  via: Via
}

export function preloadArguments({ file, via }: Preload): string[] {
  return via === 'require' ? ['--require', file] : ['--import', pathToFileURL(file).href]
}

/** Node splits NODE_OPTIONS at spaces, with double quotes and backslashes as in C. */
export function nodeOptions(words: readonly string[]): string {
  return words
    .map((word) => (/[\s"\\]/.test(word) ? `"${word.replace(/["\\]/g, '\\$&')}"` : word))
    .join(' ')
}

/** What all tests of a run have in common. */
export function environment(
  from: NodeJS.ProcessEnv,
  { driver, preload }: { driver?: Driver | undefined; preload?: Preload | undefined },
): NodeJS.ProcessEnv {
  const passedOn = Object.entries(from).filter(([name]) => PASSED_ON.test(name))
  return {
    ...Object.fromEntries(passedOn),
    ...(preload && { NODE_OPTIONS: nodeOptions(preloadArguments(preload)) }),
    ...(driver && { URING_NET_DRIVER: driver }),
  }
}
