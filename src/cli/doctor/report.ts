/**
 * What the doctor says, as `--json` prints it: field names and values are stable, fields may be added. Pure; a null is
 * something that could not be found out.
 */
import type { DriverName } from '../../core/select'
import type { Choice, Facts } from './facts'
import { features } from './features'
import type { Feature, FeatureName } from './features'
import { findObstacles } from './obstacles'
import type { Obstacle } from './obstacles'
import type { Limits } from './proc'

export interface Report {
  /** Of this package. */
  version: string
  /** What sockets and servers run on; name is null when importing the package throws. */
  driver: Choice
  /** What uring-net/core runs on; differs where Node lacks what sockets need. */
  core: Choice
  /** URING_NET_DRIVER, or 'auto'. */
  wish: string
  /** What would be chosen without URING_NET_DRIVER. */
  auto: Choice
  node: Facts['node']
  kernel: string
  addon: { loaded: boolean; error: string | null }
  /** Entries of the queues, when a ring could be set up; else the step and error that it ended with. */
  ring:
    | { ok: true; submissionEntries: number; completionEntries: number }
    | { ok: false; step: string; errno: number }
    | null
  features: Record<
    FeatureName,
    Omit<Feature, 'isSystemCall'> & { present: boolean | null; used: boolean }
  >
  /** Bytes and descriptors. */
  limits: { memlock: Limits | null; nofile: Limits | null }
  /** 0 off, 1 strict, 2 a filter. */
  seccomp: number | null
  sysctl: { io_uring_disabled: number | null; io_uring_group: number | null }
  container: 'kubernetes' | 'docker' | 'podman' | null
  /** What stands in the way; empty is good. */
  obstacles: Obstacle[]
  /** Of the doctor. */
  exitCode: number
}

const exitCodes: Record<DriverName, number> = { uring: 0, epoll: 3, node: 4 }

export function makeReport(version: string, facts: Facts): Report {
  const { driver, core, wish, auto, node, kernel, addon } = facts
  return {
    version,
    driver,
    core,
    wish,
    auto,
    node,
    kernel,
    addon: { loaded: addon.ok, error: addon.ok ? null : addon.error },
    ring: facts.ring ?? null,
    features: featuresOf(facts),
    limits: { memlock: facts.memlock ?? null, nofile: facts.nofile ?? null },
    seccomp: facts.seccomp ?? null,
    sysctl: {
      io_uring_disabled: facts.sysctl.disabled ?? null,
      io_uring_group: facts.sysctl.group ?? null,
    },
    container: facts.container ?? null,
    obstacles: findObstacles(facts),
    exitCode: driver.name === null ? 1 : exitCodes[driver.name],
  }
}

function featuresOf({ probe, used }: Facts): Report['features'] {
  const entries = (Object.keys(features) as FeatureName[]).map((name) => {
    const { isSystemCall = false, ...feature } = features[name]
    const found = probe?.features[name]
    // A probe that io_uring has refused half-way has not asked for what it does not name.
    const isKnown = found === true || isSystemCall || probe?.uringError === 0
    const present = isKnown ? (found ?? null) : null
    return [name, { ...feature, present, used: used.includes(name) }]
  })
  return Object.fromEntries(entries) as Report['features']
}
