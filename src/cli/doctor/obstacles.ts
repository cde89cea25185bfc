/**
 * Judges the facts: what keeps io_uring, or the connections it should carry, from running here, and the one line that
 * mends it. Pure. Says nothing about what is not in the way.
 */
import { driverOptions } from '../../core/options'
import { Errno, errnoName } from './errno'
import { features } from './features'
import type { FeatureName } from './features'
import type { Container, Facts } from './facts'
import { isOlder } from './proc'

export interface Obstacle {
  /** Stable. */
  id:
    | 'forced'
    | 'platform'
    | 'addon'
    | 'node'
    | 'kernel'
    | 'sysctl'
    | 'seccomp'
    | 'security'
    | 'memlock'
    | 'memory'
    | 'nofile'
    | 'self-test'
  problem: string
  remedy: string
}

/** Fewer descriptors than this are few for a server. */
const NOFILE_MIN = 4096

const calls = 'io_uring_setup, io_uring_enter and io_uring_register'

export function findObstacles(facts: Facts): Obstacle[] {
  const rules = [forced, platform, addon, nodeItself, kernel, ring, shrunkRing, descriptors]
  return rules.map((rule) => rule(facts)).filter((obstacle) => obstacle !== undefined)
}

const ranks = { uring: 3, epoll: 2, node: 1 }

function forced({ wish, core, auto }: Facts): Obstacle | undefined {
  if (wish === 'auto') return undefined
  if (core.name === null) {
    const problem = `URING_NET_DRIVER is '${wish}', which cannot be had: importing uring-net throws`
    return { id: 'forced', problem, remedy: `unset URING_NET_DRIVER  # auto takes ${auto.name}` }
  }
  if (auto.name === null || ranks[auto.name] <= ranks[core.name]) return undefined
  const problem = `URING_NET_DRIVER is '${wish}', where ${auto.name} would run`
  return { id: 'forced', problem, remedy: 'unset URING_NET_DRIVER' }
}

function platform({ node }: Facts): Obstacle | undefined {
  if (node.platform === 'linux') return undefined
  const problem = `there is no driver for ${node.platform}`
  return { id: 'platform', problem, remedy: 'run it on Linux 6.0 or later' }
}

function addon({ node, addon }: Facts): Obstacle | undefined {
  if (node.platform !== 'linux' || addon.ok) return undefined
  if (node.permission) {
    const problem = "the native addon is refused by Node's permission model"
    const remedy = "add --allow-addons, and --allow-fs-read for this package's directory"
    return { id: 'addon', problem, remedy }
  }
  if (addon.code === 'ERR_DLOPEN_DISABLED') {
    const problem = 'the native addon is refused by --no-addons'
    return { id: 'addon', problem, remedy: 'start Node without --no-addons' }
  }
  if (/is not built/.test(addon.error)) {
    // The package brings it for x64 and arm64: this is a clone, or another processor.
    const remedy = 'clone the repository, and there: npm run build'
    return { id: 'addon', problem: 'the native addon is not built', remedy }
  }
  // Of another version, platform or C library.
  const problem = `the native addon cannot be loaded: ${addon.error}`
  const remedy = 'install uring-net anew, or in a clone of the repository: npm run build'
  return { id: 'addon', problem, remedy }
}

function nodeItself({ node, driver, core }: Facts): Obstacle | undefined {
  if (core.name === null || core.name === 'node' || driver.name !== 'node') return undefined
  const problem = `Node ${node.version} lacks what sockets need to run on a driver: ${driver.reason}`
  return { id: 'node', problem, remedy: 'use Node.js 20, 22, 24 or 26' }
}

/** The kernel as such: too old, or without what selection asks for. */
function kernel({ kernel, probe, ring }: Facts): Obstacle | undefined {
  if (probe === undefined) return undefined
  const isOld = isOlder(kernel, 6, 0)
  const remedy = isOld ? 'boot Linux 6.0 or later' : 'use an unmodified kernel, 6.0 or later'
  if (ring?.ok === false && ring.step !== 'ring') {
    // Refusals have reasons of their own, below; an old kernel would still be too old without them.
    if (!isOld) return undefined
    return { id: 'kernel', problem: `Linux ${kernel} is too old for the io_uring driver`, remedy }
  }
  const missing = (Object.keys(features) as FeatureName[]).filter(
    (name) => features[name].role === 'needed' && !probe.features[name],
  )
  if (missing.length === 0) return undefined
  return { id: 'kernel', problem: `Linux ${kernel} lacks ${missing.join(', ')}`, remedy }
}

/** Why the ring, or the self-test on it, was refused. */
function ring(facts: Facts): Obstacle | undefined {
  const { ring } = facts
  if (ring === undefined || ring.ok) return undefined
  const { errno, step } = ring
  if (errno === Errno.EPERM || errno === Errno.EACCES) return refusal(facts)
  if (errno === Errno.ENOSYS) return absence(facts)
  if (errno === Errno.ENOMEM) return memory(facts)
  if (errno === Errno.EMFILE || errno === Errno.ENFILE) {
    const problem = 'no file descriptor is left for the ring'
    return { id: 'nofile', problem, remedy: nofileRemedy(facts.container) }
  }
  if (isOlder(facts.kernel, 6, 0)) return undefined
  const problem = `the io_uring self-test failed at '${step}' with ${errnoName(errno)}`
  return { id: 'self-test', problem, remedy: 'use an unmodified kernel, 6.0 or later' }
}

function refusal({ sysctl, privileged, seccomp, container }: Facts): Obstacle {
  const where = container === undefined ? '' : '  # on the host'
  if (sysctl.disabled === 2) {
    const problem = 'kernel.io_uring_disabled is 2: nobody may set a ring up'
    return { id: 'sysctl', problem, remedy: `sysctl -w kernel.io_uring_disabled=0${where}` }
  }
  if (sysctl.disabled === 1 && !privileged) {
    const problem = 'kernel.io_uring_disabled is 1: only kernel.io_uring_group may set a ring up'
    const { group } = sysctl
    const member = group !== undefined && group >= 0 ? `, or run in group ${group}` : ''
    return {
      id: 'sysctl',
      problem,
      remedy: `sysctl -w kernel.io_uring_disabled=0${member}${where}`,
    }
  }
  if (seccomp === 2) return filtered(container)
  const problem = 'io_uring is refused, by neither sysctl nor seccomp: by a security module'
  const remedy = 'allow io_uring in the SELinux or AppArmor policy; dmesg names the denial'
  return { id: 'security', problem, remedy }
}

function absence({ kernel, seccomp, container }: Facts): Obstacle | undefined {
  if (isOlder(kernel, 5, 1)) return undefined
  // A filter may answer as if the call did not exist.
  if (seccomp === 2) return filtered(container)
  const problem = 'this kernel has no io_uring (built without CONFIG_IO_URING, or emulated)'
  return { id: 'kernel', problem, remedy: 'use a kernel with CONFIG_IO_URING=y, 6.0 or later' }
}

function filtered(container: Container | undefined): Obstacle {
  const problem = 'a seccomp filter refuses io_uring'
  const profile = `a profile that allows ${calls}`
  const remedies = {
    docker: `docker run --security-opt seccomp=FILE  # ${profile}`,
    podman: `podman run --security-opt seccomp=FILE  # ${profile}`,
    kubernetes: `securityContext.seccompProfile: ${profile}`,
    none: `allow ${calls} in it (systemd: add @aio to SystemCallFilter=)`,
  }
  return { id: 'seccomp', problem, remedy: remedies[container ?? 'none'] }
}

function memory({ memlock, container }: Facts): Obstacle {
  if (memlock?.soft === 'unlimited') {
    const problem = 'there is no memory for a ring'
    return { id: 'memory', problem, remedy: 'raise the memory limit of the control group' }
  }
  const problem = 'the ring does not fit into RLIMIT_MEMLOCK, which all processes of a user share'
  return { id: 'memlock', problem, remedy: memlockRemedy(container) }
}

/** It runs, but the queues are smaller than they should be. */
function shrunkRing({ ring, container }: Facts): Obstacle | undefined {
  const { submissionEntries: asked } = driverOptions()
  if (!ring?.ok || ring.submissionEntries >= asked) return undefined
  const { submissionEntries: entries } = ring
  const problem = `RLIMIT_MEMLOCK holds the ring to ${entries} entries of ${asked}`
  return { id: 'memlock', problem, remedy: memlockRemedy(container) }
}

function descriptors({ nofile, ring, container }: Facts): Obstacle | undefined {
  if (nofile === undefined || nofile.soft === 'unlimited' || nofile.soft >= NOFILE_MIN) return
  // Said already.
  if (ring?.ok === false && (ring.errno === Errno.EMFILE || ring.errno === Errno.ENFILE))
    return undefined
  const problem = `RLIMIT_NOFILE allows ${nofile.soft} descriptors, files and sockets together`
  return { id: 'nofile', problem, remedy: nofileRemedy(container) }
}

function memlockRemedy(container: Container | undefined): string {
  if (container === 'docker' || container === 'podman') {
    return `${container} run --ulimit memlock=-1`
  }
  return 'ulimit -l unlimited  # systemd: LimitMEMLOCK=infinity'
}

function nofileRemedy(container: Container | undefined): string {
  if (container === 'docker' || container === 'podman') {
    return `${container} run --ulimit nofile=65536`
  }
  return 'ulimit -n 65536  # systemd: LimitNOFILE=65536'
}
