/**
 * Collects what the doctor judges by: the driver as programs get it, the kernel's answers, limits, filters. Owns the only
 * side effects of the doctor (it sets a ring up and reads /proc), never fails because a fact cannot be had, and judges
 * nothing.
 */
import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { loadBinding } from '../../core/binding'
import type { Binding, Probe } from '../../core/binding'
import { Driver } from '../../core/driver'
import type { DriverStats } from '../../core/driver'
import type { SystemError } from '../../core/errors'
import { selectDriver } from '../../core/select'
import type { DriverName, Selection } from '../../core/select'
import { parseLimits, parseNumber, parseSeccomp, parseSysAdmin } from './proc'
import type { Limits } from './proc'

/** A driver and why it was chosen, or why the import of this package throws. */
export type Choice = { name: DriverName; reason: string } | { name: null; reason: string }

/** What became of a ring of full size. */
export type Ring =
  | { ok: true; submissionEntries: number; completionEntries: number }
  /** `step` is 'ring' when the probe passed and the ring of full size did not. */
  | { ok: false; step: string; errno: number }

export type Container = 'kubernetes' | 'docker' | 'podman'

export interface Facts {
  node: { version: string; platform: NodeJS.Platform; arch: string; permission: boolean }
  kernel: string
  /** URING_NET_DRIVER. */
  wish: string
  /** What `uring-net` and uring-net/register put sockets on. */
  driver: Choice
  /** What uring-net/core runs on. */
  core: Choice
  /** What would be chosen without URING_NET_DRIVER. */
  auto: Choice
  addon: { ok: true } | { ok: false; error: string; code: string | undefined }
  /** Absent without addon. */
  probe: Probe | undefined
  ring: Ring | undefined
  /** Kernel features that the chosen driver uses. */
  used: readonly string[]
  memlock: Limits | undefined
  nofile: Limits | undefined
  seccomp: number | undefined
  sysctl: { disabled: number | undefined; group: number | undefined }
  /** CAP_SYS_ADMIN, or a member of kernel.io_uring_group: whom io_uring_disabled = 1 lets pass. */
  privileged: boolean
  container: Container | undefined
}

export function collectFacts(): Facts {
  const wish = process.env.URING_NET_DRIVER ?? 'auto'
  const active = attempt(loadActive)
  const core = choiceOf(active)
  const used = active.value?.stats
  const driver = choiceOf(attempt(loadPresented))
  // Not a second ring beside the first: both may not fit into the limit.
  const free =
    wish === 'auto' || core.name === 'uring' ? active : attempt(() => selectDriver('auto'))
  const addon = attempt(loadAddon)
  // Of before the ring: under a tight limit a probe beside it would fail.
  const probe = free.value?.probe ?? addon.value?.probe()
  const ring = ringOf(active.value) ?? (addon.value && probe && tryRing(addon.value, probe))
  const status = read('/proc/self/status') ?? ''
  const limits = read('/proc/self/limits') ?? ''
  const group = parseNumber(read('/proc/sys/kernel/io_uring_group'))
  return {
    node: {
      version: process.version,
      platform: process.platform,
      arch: process.arch,
      permission: (process as { permission?: unknown }).permission !== undefined,
    },
    kernel: release(),
    wish,
    driver,
    core,
    auto: choiceOf(free),
    addon: addon.value ? { ok: true } : { ok: false, ...describe(addon.error) },
    probe,
    ring,
    used: used?.features ?? [],
    memlock: parseLimits(limits, 'Max locked memory'),
    nofile: parseLimits(limits, 'Max open files'),
    seccomp: parseSeccomp(status),
    sysctl: { disabled: parseNumber(read('/proc/sys/kernel/io_uring_disabled')), group },
    privileged: parseSysAdmin(status) === true || isMember(group),
    container: findContainer(),
  }
}

type Attempt<Value> =
  { value: Value; error?: undefined } | { value?: undefined; error: Error & { code?: string } }

function attempt<Value>(get: () => Value): Attempt<Value> {
  try {
    return { value: get() }
  } catch (error) {
    return { error: error as Error }
  }
}

// Both throw when they are loaded and a forced driver cannot run, which is a fact, not the end of the doctor.

/** The choice once its driver has been made, and what that counts. */
type Active = Selection & { stats: Partial<DriverStats> }

function loadActive(): Active {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- throws at import, see above
  const module = require('../../core/active') as typeof import('../../core/active')
  const { driver, activeSelection } = module
  const stats = driver.stats()
  return { ...activeSelection(), stats }
}

function loadPresented(): { name: DriverName; reason: string } {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- throws at import, see above
  const module = require('../../adapters/driver-info') as {
    driver: { name: DriverName; reason: string }
  }
  return module.driver
}

function loadAddon(): Binding {
  if (process.platform !== 'linux') throw new Error('it is built on Linux only')
  return loadBinding()
}

function choiceOf({ value, error }: Attempt<{ name: DriverName; reason: string }>): Choice {
  if (error !== undefined) return { name: null, reason: withoutPrefix(error.message) }
  return { name: value.name, reason: withoutPrefix(value.reason) }
}

function describe(error: (Error & { code?: string }) | undefined) {
  return { error: withoutPrefix(error?.message ?? ''), code: error?.code }
}

function withoutPrefix(message: string): string {
  return message.replaceAll('uring-net: ', '')
}

function ringOf(active: Active | undefined): Ring | undefined {
  const { submissionEntries, completionEntries } = active?.stats ?? {}
  if (active?.name !== 'uring' || !submissionEntries || !completionEntries) return undefined
  return { ok: true, submissionEntries, completionEntries }
}

/** Which error a ring ends with: the reason of a selection says it to people only. */
function tryRing(binding: Binding, probe: Probe): Ring {
  if (probe.uringError !== 0) {
    return { ok: false, step: probe.uringStep || 'setup', errno: probe.uringError }
  }
  const { value, error } = attempt(() => new Driver(binding, 'uring'))
  if (error !== undefined) return { ok: false, step: 'ring', errno: (error as SystemError).errno }
  const { submissionEntries, completionEntries } = value.native.stats()
  value.close()
  return { ok: true, submissionEntries, completionEntries }
}

function isMember(group: number | undefined): boolean {
  if (group === undefined || group < 0) return false
  return process.getegid?.() === group || (process.getgroups?.() ?? []).includes(group)
}

function findContainer(): Container | undefined {
  if (process.env.KUBERNETES_SERVICE_HOST !== undefined) return 'kubernetes'
  if (exists('/.dockerenv')) return 'docker'
  return exists('/run/.containerenv') ? 'podman' : undefined
}

/** Under the permission model existsSync throws, too. */
function exists(path: string): boolean {
  return attempt(() => existsSync(path)).value ?? false
}

function read(path: string): string | undefined {
  return attempt(() => readFileSync(path, 'utf8')).value
}
