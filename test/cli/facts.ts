/** Facts of a machine where nothing is in the way, to be made worse one at a time. */
import type { Facts } from '../../src/cli/doctor/facts'

type Features = NonNullable<Facts['probe']>['features']

export const allFeatures: Features = {
  coopTaskrun: true,
  singleIssuer: true,
  deferTaskrun: true,
  multishotAccept: true,
  multishotReceive: true,
  bufferRing: true,
  syncCancel: true,
  sendZeroCopy: true,
  splice: true,
}

const noFeatures = Object.fromEntries(
  Object.keys(allFeatures).map((name) => [name, false]),
) as Features

const uring = { name: 'uring', reason: 'the kernel (6.12.0) offers io_uring' } as const

export function factsWith(changes: Partial<Facts> = {}): Facts {
  const limits = { soft: 1_048_576, hard: 1_048_576 }
  return {
    node: { version: 'v22.0.0', platform: 'linux', arch: 'x64', permission: false },
    kernel: '6.12.0',
    wish: 'auto',
    driver: uring,
    core: uring,
    auto: uring,
    addon: { ok: true },
    probe: { kernel: '6.12.0', uringError: 0, uringStep: '', features: allFeatures },
    ring: { ok: true, submissionEntries: 256, completionEntries: 4096 },
    used: ['multishotAccept', 'multishotReceive', 'bufferRing'],
    memlock: { soft: 8_388_608, hard: 8_388_608 },
    nofile: limits,
    seccomp: 0,
    sysctl: { disabled: 0, group: -1 },
    privileged: false,
    container: undefined,
    ...changes,
  }
}

/** io_uring refused with -errno at a step of the probe; epoll runs. */
export function refusedWith(errno: number, step: string, changes: Partial<Facts> = {}): Facts {
  const epoll = { name: 'epoll', reason: `io_uring is not used: ${step} failed` } as const
  const kernel = changes.kernel ?? '6.12.0'
  return factsWith({
    driver: epoll,
    core: epoll,
    auto: epoll,
    probe: { kernel, uringError: errno, uringStep: step, features: noFeatures },
    ring: { ok: false, step, errno },
    used: [],
    ...changes,
  })
}
