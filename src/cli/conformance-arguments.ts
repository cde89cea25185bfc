/**
 * Reads the command line of `uring-net conformance`, for the command and for the process that it starts. Looks at no file
 * and starts nothing.
 */
import { parseArgs } from 'node:util'
import { UsageError } from './command'

export const conformanceDrivers = ['uring', 'epoll', 'node'] as const
export type ConformanceDriver = (typeof conformanceDrivers)[number]

export interface ConformanceArguments {
  help: boolean
  list: boolean
  /** A module whose default export is the subject; undefined means the built-in ones. */
  subject: string | undefined
  /** Undefined leaves URING_NET_DRIVER as it is, for a subject of one's own. */
  drivers: readonly ConformanceDriver[] | undefined
  /** All that work here, rather than one that was asked for. */
  isAnyDriver: boolean
  grep: RegExp | undefined
  json: string | undefined
  html: string | undefined
  /** Differential runs; 0 for none. */
  seeds: number
  /** How many times as long as usual a check waits for what has to come. */
  patience: number
}

export const conformanceUsage =
  'uring-net conformance [--subject file.mjs] [--driver uring|epoll|node|all] [--grep pattern] ' +
  '[--json file] [--html file] [--list] [--seeds N] [--patience N]'

export function parseConformanceArguments(args: readonly string[]): ConformanceArguments {
  const { help, list, subject, driver, grep, json, html, seeds, patience } = read(args)
  const isAnyDriver = driver === 'all' || (driver === undefined && subject === undefined)
  return {
    help,
    list,
    subject,
    drivers: isAnyDriver ? conformanceDrivers : driver === undefined ? undefined : [known(driver)],
    isAnyDriver,
    grep: grep === undefined ? undefined : pattern(grep),
    json,
    html,
    seeds: seeds === undefined ? 0 : count(seeds),
    patience: patience === undefined ? 1 : times(patience),
  }
}

function read(args: readonly string[]) {
  const string = { type: 'string' } as const
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        list: { type: 'boolean', default: false },
        subject: string,
        driver: string,
        grep: string,
        json: string,
        html: string,
        seeds: string,
        patience: string,
      },
    })
    return values
  } catch (error) {
    // Node's own words have a second sentence, on positional arguments, that does not apply.
    throw wrong((error as Error).message.split(/[.\n]/)[0]!)
  }
}

function known(driver: string): ConformanceDriver {
  const found = conformanceDrivers.find((name) => name === driver)
  if (found !== undefined) return found
  throw wrong(`--driver takes one of ${conformanceDrivers.join(', ')}, all; '${driver}' is none`)
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text, 'i')
  } catch (error) {
    throw wrong(`--grep: ${(error as Error).message}`)
  }
}

function count(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw wrong(`--seeds takes a number; '${text}' is none`)
}

function times(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text)
  throw wrong(`--patience takes a number from 1 to 999; '${text}' is none`)
}

function wrong(message: string): UsageError {
  return new UsageError(`conformance: ${message}`)
}
