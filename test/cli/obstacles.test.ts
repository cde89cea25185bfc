/** Each thing that may stand in the way, by facts that show it: named, with its remedy, and nothing else named. */
import type { Facts } from '../../src/cli/doctor/facts'
import { findObstacles } from '../../src/cli/doctor/obstacles'
import { allFeatures, factsWith, refusedWith } from './facts'

const EPERM = -1
const ENOMEM = -12
const EINVAL = -22
const EMFILE = -24
const ENOSYS = -38
const ETIME = -62

const epoll = { name: 'epoll', reason: 'it is' } as const
const node = { name: 'node', reason: 'it is' } as const
const none = { name: null, reason: 'it cannot run' } as const
const nodeOf = (changes: Partial<Facts['node']>) => ({ ...factsWith().node, ...changes })
const notLoaded = (error: string, code?: string): Partial<Facts> => ({
  driver: node,
  core: node,
  auto: node,
  addon: { ok: false, error, code },
  probe: undefined,
  ring: undefined,
})

test('where io_uring runs with room to grow nothing is in the way', () => {
  expect(findObstacles(factsWith())).toEqual([])
})

test('limits that do not hurt and filters that let io_uring pass are not named', () => {
  const small = { soft: 65_536, hard: 65_536 }
  const facts = factsWith({ memlock: small, seccomp: 2, sysctl: { disabled: 1, group: 5 } })
  expect(findObstacles(facts)).toEqual([])
})

const { uringError: _error, ...probe } = factsWith().probe!
const lacking = { ...probe, uringError: 0, features: { ...allFeatures, multishotReceive: false } }

const cases: [title: string, facts: Facts, id: string, problem: RegExp, remedy: RegExp][] = [
  [
    'the sysctl is 2',
    refusedWith(EPERM, 'setup', { sysctl: { disabled: 2, group: -1 }, privileged: true }),
    'sysctl',
    /is 2: nobody/,
    /^sysctl -w kernel\.io_uring_disabled=0$/,
  ],
  [
    'the sysctl is 2, seen from a container',
    refusedWith(EPERM, 'setup', { sysctl: { disabled: 2, group: -1 }, container: 'docker' }),
    'sysctl',
    /is 2/,
    /=0 {2}# on the host$/,
  ],
  [
    'the sysctl is 1 and the process in no group that may',
    refusedWith(EPERM, 'setup', { sysctl: { disabled: 1, group: 990 } }),
    'sysctl',
    /is 1: only/,
    /=0, or run in group 990$/,
  ],
  [
    'the sysctl is 1, the process may, and a filter refuses',
    refusedWith(EPERM, 'setup', {
      sysctl: { disabled: 1, group: 990 },
      privileged: true,
      seccomp: 2,
    }),
    'seccomp',
    /filter/,
    /io_uring_setup, io_uring_enter and io_uring_register.*@aio/,
  ],
  [
    'Docker’s default profile',
    refusedWith(EPERM, 'setup', { seccomp: 2, container: 'docker' }),
    'seccomp',
    /seccomp filter/,
    /^docker run --security-opt seccomp=/,
  ],
  [
    'a pod’s profile',
    refusedWith(EPERM, 'setup', { seccomp: 2, container: 'kubernetes' }),
    'seccomp',
    /seccomp filter/,
    /^securityContext\.seccompProfile/,
  ],
  [
    'a filter that allows the set-up and refuses the use',
    refusedWith(EPERM, 'nop', { seccomp: 2 }),
    'seccomp',
    /seccomp filter/,
    /io_uring_enter/,
  ],
  [
    'a filter that hides io_uring',
    refusedWith(ENOSYS, 'setup', { seccomp: 2, container: 'podman' }),
    'seccomp',
    /seccomp filter/,
    /^podman run/,
  ],
  [
    'a refusal by neither',
    refusedWith(EPERM, 'setup'),
    'security',
    /security module/,
    /SELinux or AppArmor/,
  ],
  [
    'a kernel built without io_uring',
    refusedWith(ENOSYS, 'setup'),
    'kernel',
    /no io_uring/,
    /CONFIG_IO_URING=y/,
  ],
  [
    'Linux 5.10',
    refusedWith(EINVAL, 'buffers', { kernel: '5.10.0-28-amd64' }),
    'kernel',
    /Linux 5\.10\.0-28-amd64 is too old/,
    /boot Linux 6\.0/,
  ],
  [
    'Linux 5.19, which passes the probe',
    factsWith({ kernel: '5.19.0', probe: lacking, driver: epoll, core: epoll, auto: epoll }),
    'kernel',
    /5\.19\.0 lacks multishotReceive$/,
    /boot Linux 6\.0/,
  ],
  [
    'a ring beyond RLIMIT_MEMLOCK',
    refusedWith(ENOMEM, 'setup', { memlock: { soft: 65_536, hard: 65_536 } }),
    'memlock',
    /RLIMIT_MEMLOCK/,
    /^ulimit -l unlimited/,
  ],
  [
    'a ring of full size beyond RLIMIT_MEMLOCK, in a container',
    factsWith({ ring: { ok: false, step: 'ring', errno: ENOMEM }, container: 'docker' }),
    'memlock',
    /RLIMIT_MEMLOCK/,
    /^docker run --ulimit memlock=-1$/,
  ],
  [
    'a ring that was made smaller',
    factsWith({ ring: { ok: true, submissionEntries: 64, completionEntries: 1024 } }),
    'memlock',
    /64 entries of 256/,
    /^ulimit -l/,
  ],
  [
    'no memory although nothing limits locked memory',
    refusedWith(ENOMEM, 'setup', { memlock: { soft: 'unlimited', hard: 'unlimited' } }),
    'memory',
    /no memory/,
    /control group/,
  ],
  [
    'no descriptor left',
    refusedWith(EMFILE, 'setup', { nofile: { soft: 24, hard: 24 } }),
    'nofile',
    /no file descriptor is left/,
    /^ulimit -n/,
  ],
  [
    'few descriptors',
    factsWith({ nofile: { soft: 1024, hard: 1024 }, container: 'podman' }),
    'nofile',
    /allows 1024 descriptors/,
    /^podman run --ulimit nofile=65536$/,
  ],
  [
    'a self-test that fails for no known reason',
    refusedWith(ETIME, 'receive'),
    'self-test',
    /at 'receive' with (errno 62|ETIME)$/,
    /kernel/,
  ],
  [
    'an addon that is not built',
    factsWith(notLoaded('the native addon is not built (looked in /a, /b)')),
    'addon',
    /is not built$/,
    /npm run build$/,
  ],
  [
    'an addon of another version',
    factsWith(notLoaded('the native addon at /a speaks contract 1, this package 2; rebuild it')),
    'addon',
    /speaks contract 1/,
    /^install uring-net anew, .*npm run build$/,
  ],
  [
    '--no-addons',
    factsWith(notLoaded('loading addons is disabled', 'ERR_DLOPEN_DISABLED')),
    'addon',
    /--no-addons/,
    /without --no-addons/,
  ],
  [
    'the permission model',
    factsWith({
      ...notLoaded('loading addons is disabled', 'ERR_DLOPEN_DISABLED'),
      node: nodeOf({ permission: true }),
    }),
    'addon',
    /permission model/,
    /--allow-addons.*--allow-fs-read/,
  ],
  [
    'another platform',
    factsWith({ ...notLoaded('Linux only'), node: nodeOf({ platform: 'darwin' }) }),
    'platform',
    /no driver for darwin/,
    /Linux 6\.0/,
  ],
  [
    'a Node without what sockets need',
    factsWith({ driver: { name: 'node', reason: 'Node v30 has no kBuffer where it is expected' } }),
    'node',
    /no kBuffer/,
    /Node\.js 20, 22, 24 or 26/,
  ],
  [
    'epoll by URING_NET_DRIVER where io_uring runs',
    factsWith({ wish: 'epoll', driver: epoll, core: epoll }),
    'forced',
    /'epoll', where uring would run/,
    /^unset URING_NET_DRIVER$/,
  ],
  [
    'a driver by URING_NET_DRIVER that does not exist',
    factsWith({ wish: 'fast', driver: none, core: none }),
    'forced',
    /'fast', which cannot be had/,
    /^unset URING_NET_DRIVER {2}# auto takes uring$/,
  ],
]

test.each(cases)('%s is named with its remedy, alone', (_title, facts, id, problem, remedy) => {
  const obstacles = findObstacles(facts)
  expect(obstacles.map((obstacle) => obstacle.id)).toEqual([id])
  expect(obstacles[0]!.problem).toMatch(problem)
  expect(obstacles[0]!.remedy).toMatch(remedy)
  expect(obstacles[0]!.remedy).not.toContain('\n')
})

test('io_uring forced where it cannot run names both the force and the reason', () => {
  const refused = { name: null, reason: 'it cannot run: setup failed' } as const
  const changes = { wish: 'uring', driver: refused, core: refused, seccomp: 2 } as const
  const ids = findObstacles(refusedWith(EPERM, 'setup', changes)).map(({ id }) => id)
  expect(ids).toEqual(['forced', 'seccomp'])
})

test('an old kernel with a filter is both', () => {
  const facts = refusedWith(EPERM, 'setup', { kernel: '5.15.0', seccomp: 2 })
  expect(findObstacles(facts).map(({ id }) => id)).toEqual(['kernel', 'seccomp'])
})

test('epoll by URING_NET_DRIVER is not in the way where io_uring would not run', () => {
  const facts = refusedWith(EPERM, 'setup', { wish: 'epoll', seccomp: 2 })
  expect(findObstacles(facts).map(({ id }) => id)).toEqual(['seccomp'])
})
