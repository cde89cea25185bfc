/**
 * Chooses the driver for this thread, once, by steps (D5): uring, else epoll, else node:net. Owns the choice and the
 * reason for it; never talks to a socket.
 */
import { loadBinding } from './binding'
import type { Binding, DriverKind, Probe } from './binding'
import { UringError } from './errors'
import type { SystemError } from './errors'

export type DriverName = 'uring' | 'epoll' | 'node'

export interface Selection {
  readonly name: DriverName
  /** Why this driver, in a sentence. */
  readonly reason: string
  /** What the kernel offers, unless the addon could not be loaded. */
  readonly probe: Probe | undefined
  /** The addon, unless it could not be loaded. */
  readonly binding?: Binding
}

const names = ['auto', 'uring', 'epoll', 'node'] as const

/**
 * Chooses by `wish` ('auto', 'uring', 'epoll' or 'node'; URING_NET_DRIVER when absent). A driver asked for by name that
 * cannot run throws ERR_URING_DRIVER with the reason.
 */
export function selectDriver(wish = wishOf(process.env)): Selection {
  if (!names.includes(wish as (typeof names)[number])) {
    throw new UringError(
      'ERR_URING_DRIVER',
      `uring-net: URING_NET_DRIVER is '${wish}'; expected one of ${names.join(', ')}`,
    )
  }
  if (wish === 'node') return nodeNet('asked for by URING_NET_DRIVER')
  if (process.platform !== 'linux') {
    return refuse(wish, `there is no driver for ${process.platform}`, undefined)
  }
  let binding: Binding
  try {
    binding = loadBinding()
  } catch (error) {
    return refuse(wish, whyNotLoaded(error as NodeJS.ErrnoException), undefined)
  }
  const probe = binding.probe()
  const asked = wish === 'auto' ? undefined : 'asked for by URING_NET_DRIVER'
  const whyNot = wish === 'epoll' ? '' : whyNotUring(probe)
  if (wish === 'uring' && whyNot !== '') return refuse(wish, whyNot, probe)
  if (wish === 'epoll' || whyNot !== '') {
    const reason = asked ?? `io_uring is not used: ${whyNot}`
    return { name: 'epoll', reason, probe, binding }
  }
  const reason = asked ?? `the kernel (${probe.kernel}) offers io_uring`
  return { name: 'uring', reason, probe, binding }
}

/**
 * Makes an engine of the kind that was chosen; of what is next after it when that one fails and none was forced. Answers with
 * the choice as it is then.
 */
export function makeChosen<Engine>(
  selection: Selection,
  make: (binding: Binding, kind: DriverKind) => Engine,
  wish = wishOf(process.env),
): { engine: Engine | undefined; selection: Selection } {
  const { name, binding, probe } = selection
  if (name === 'node' || binding === undefined) return { engine: undefined, selection }
  try {
    return { engine: make(binding, name), selection }
  } catch (error) {
    // What is not the kernel's refusal says nothing about the driver.
    if (!('errno' in (error as Error))) throw error
    const { message } = error as Error
    if (name === 'epoll' || wish === 'uring') {
      return { engine: undefined, selection: refuse(wish, message, probe) }
    }
    const hint = (error as SystemError).code === 'ENOMEM' ? ': raise RLIMIT_MEMLOCK' : ''
    const reason = `io_uring is not used: the ring could not be set up: ${message}${hint}`
    return makeChosen({ name: 'epoll', reason, probe, binding }, make, wish)
  }
}

function wishOf(environment: NodeJS.ProcessEnv): string {
  return environment['URING_NET_DRIVER'] ?? 'auto'
}

function nodeNet(reason: string, probe?: Probe): Selection {
  return { name: 'node', reason, probe }
}

function refuse(wish: string, reason: string, probe: Probe | undefined): Selection {
  if (wish === 'auto') return nodeNet(reason, probe)
  throw new UringError(
    'ERR_URING_DRIVER',
    `uring-net: the ${wish} driver was asked for by URING_NET_DRIVER but cannot run: ${reason}`,
  )
}

/** Node's own words for what the permission model refuses do not always name the option. */
function whyNotLoaded({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ERR_DLOPEN_DISABLED') return `${message} (--allow-addons is missing)`
  if (code === 'ERR_ACCESS_DENIED') return `${message} (--allow-fs-read is missing)`
  return message
}

/** The call that a step of the probe stands on. */
const calls: Record<string, string> = {
  setup: 'io_uring_setup',
  opcodes: 'io_uring_register',
  buffers: 'io_uring_register',
}

const hints: Record<number, string> = {
  [-1]: 'EPERM: refused by a seccomp profile or by the sysctl kernel.io_uring_disabled',
  [-12]: 'ENOMEM: raise RLIMIT_MEMLOCK',
  [-13]: 'EACCES: refused by a security module',
  [-22]: 'EINVAL: the kernel is too old',
  [-38]: 'ENOSYS: the kernel has no io_uring, or a seccomp profile hides it',
}

/** Empty when uring can run. */
function whyNotUring(probe: Probe): string {
  if (probe.uringError !== 0) {
    const hint = hints[probe.uringError] ?? `errno ${-probe.uringError}`
    return `${calls[probe.uringStep] ?? 'io_uring_enter'} failed (${hint})`
  }
  const needed = ['multishotAccept', 'multishotReceive', 'bufferRing'] as const
  const missing = needed.filter((feature) => !probe.features[feature])
  return missing.length === 0 ? '' : `the kernel lacks ${missing.join(', ')} (6.0 has them)`
}
