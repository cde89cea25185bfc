/**
 * Sizes of this thread's driver: what the program asks for by configure(), else by the environment, else the defaults. Owns
 * the ranges. They hold from when the driver is made; worker threads have their own, and inherit the environment.
 */
import type { NativeOptions } from './binding'
import { UringError, invalidArgument, outOfRange } from './errors'

/** What can be set. All are integers. */
export interface DriverOptions {
  /** Submission queue entries, io_uring_setup(2): 8 to 32768. URING_NET_SUBMISSION_ENTRIES. Fewer when RLIMIT_MEMLOCK is small. */
  submissionEntries: number
  /** Completion queue entries: 16 to 65536. URING_NET_COMPLETION_ENTRIES. More wait in the kernel (`stats().overflows`). */
  completionEntries: number
  /** Completions for which JavaScript is called once: 1 to 65536. URING_NET_BATCH_SIZE. */
  batchSize: number
  /** Sockets, listeners and files at one time: 16 to 1048576. URING_NET_ENDPOINTS_MAX. More are refused with ENFILE. */
  endpointsMax: number
  /** Bytes of the pool that sockets of `net` receive into: 65536 to 67108864. URING_NET_POOL_BYTES. io_uring only. */
  poolBytes: number
  /** Buffers of 64 KiB that the low-level API has with the kernel at one time: 8 to 32768. URING_NET_RECEIVE_BUFFERS. */
  receiveBuffers: number
  /** Microseconds that a small write may wait for others: 1 to 1000000. URING_NET_GATHER_US. io_uring only. */
  gatherUs: number
}

type Name = keyof DriverOptions

interface Known {
  readonly variable: string
  readonly range: readonly [number, number]
  readonly initial: number
}

const known: Readonly<Record<Name, Known>> = {
  submissionEntries: { variable: 'SUBMISSION_ENTRIES', range: [8, 1 << 15], initial: 256 },
  completionEntries: { variable: 'COMPLETION_ENTRIES', range: [16, 1 << 16], initial: 4096 },
  batchSize: { variable: 'BATCH_SIZE', range: [1, 1 << 16], initial: 256 },
  endpointsMax: { variable: 'ENDPOINTS_MAX', range: [16, 1 << 20], initial: 1 << 17 },
  poolBytes: { variable: 'POOL_BYTES', range: [1 << 16, 1 << 26], initial: 2 << 20 },
  receiveBuffers: { variable: 'RECEIVE_BUFFERS', range: [8, 1 << 15], initial: 4096 },
  gatherUs: { variable: 'GATHER_US', range: [1, 1_000_000], initial: 100 },
}
const names = Object.keys(known) as Name[]

/** What a driver is made of when nobody asks for anything else. */
export const defaultOptions: NativeOptions = {
  ...fromEach(({ initial }) => initial),
  commandCapacity: 1024,
  disable: 0,
}

let configured: Partial<DriverOptions> = {}
let effective: Readonly<DriverOptions> | undefined

/** Frozen at the first call: a driver is made of it. Throws ERR_URING_OPTIONS for a bad value in the environment. */
export function driverOptions(): Readonly<DriverOptions> {
  effective ??= Object.freeze(chosen())
  return effective
}

function chosen(): DriverOptions {
  const options = fromEach(
    (option, name) => configured[name] ?? fromEnvironment(option) ?? option.initial,
  )
  const { submissionEntries: entries, completionEntries } = options
  // io_uring_setup(2) refuses it.
  if (completionEntries >= entries) return options
  throw new UringError(
    'ERR_URING_OPTIONS',
    `uring-net: completionEntries is ${completionEntries}; expected at least the ${entries} of submissionEntries`,
  )
}

/** All that a native driver is told. */
export function nativeOptions(): NativeOptions {
  return { ...defaultOptions, ...driverOptions() }
}

/**
 * Sets sizes of this thread's driver; what is not named keeps its value. To be called before anything of this package is
 * used on the thread, `uring-net` itself being imported included: throws ERR_URING_OPTIONS from then on, and for a name that
 * is not known; ERR_INVALID_ARG_TYPE and ERR_OUT_OF_RANGE for bad values. Then nothing has changed.
 */
export function configure(options: Partial<DriverOptions>): void {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object', options)
  }
  if (effective !== undefined) {
    throw new UringError(
      'ERR_URING_OPTIONS',
      'uring-net: configure() comes too late: the driver of this thread has been made',
    )
  }
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, name)) {
      throw new UringError(
        'ERR_URING_OPTIONS',
        `uring-net: there is no option ${name}; expected ${names.join(', ')}`,
      )
    }
    if (value !== undefined) check(name as Name, value)
  }
  configured = { ...configured, ...options }
}

function check(name: Name, value: unknown): void {
  if (typeof value !== 'number') throw invalidArgument(name, 'an integer', value)
  const [low, high] = known[name].range
  if (!isWithin(value, known[name])) {
    throw outOfRange(`"${name}" must be an integer from ${low} to ${high}. Received ${value}`)
  }
}

function fromEnvironment(option: Known): number | undefined {
  const variable = `URING_NET_${option.variable}`
  const text = process.env[variable]
  if (text === undefined || text === '') return undefined
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (isWithin(value, option)) return value
  throw new UringError(
    'ERR_URING_OPTIONS',
    `uring-net: ${variable} is '${text}'; expected an integer from ${option.range.join(' to ')}`,
  )
}

function isWithin(value: number, { range: [low, high] }: Known): boolean {
  return Number.isInteger(value) && value >= low && value <= high
}

function fromEach(valueOf: (option: Known, name: Name) => number): DriverOptions {
  const entries = names.map((name) => [name, valueOf(known[name], name)])
  return Object.fromEntries(entries) as DriverOptions
}
