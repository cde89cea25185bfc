/** The report made from facts, and its two forms: JSON values and text. */
import { makeReport } from '../../src/cli/doctor/report'
import { formatReport, wantsColour } from '../../src/cli/doctor/text'
import {
  isOlder,
  parseLimits,
  parseNumber,
  parseSeccomp,
  parseSysAdmin,
} from '../../src/cli/doctor/proc'
import { factsWith, refusedWith } from './facts'

const choice = (name: 'uring' | 'epoll' | 'node' | null) => ({ name, reason: 'so' }) as const

test.each([
  ['uring', 0],
  ['epoll', 3],
  ['node', 4],
  [null, 1],
] as const)('driver %s is exit code %d', (name, code) => {
  const report = makeReport('1.0.0', factsWith({ driver: choice(name) }))
  expect(report.exitCode).toBe(code)
})

test('what is not known is null, and survives JSON', () => {
  const report = makeReport(
    '1.0.0',
    factsWith({
      probe: undefined,
      used: [],
      ring: undefined,
      memlock: undefined,
      seccomp: undefined,
      sysctl: { disabled: undefined, group: undefined },
    }),
  )
  expect(JSON.parse(JSON.stringify(report))).toEqual(report)
  expect(report).toMatchObject({
    ring: null,
    limits: { memlock: null },
    seccomp: null,
    sysctl: { io_uring_disabled: null, io_uring_group: null },
    features: { bufferRing: { present: null, used: false } },
  })
})

test('features are unknown, not missing, when the probe was refused', () => {
  const { splice, ...features } = makeReport('1.0.0', refusedWith(-1, 'setup')).features
  expect(Object.values(features).every(({ present }) => present === null)).toBe(true)
  // Asked for without a ring.
  expect(splice.present).toBe(false)
})

test('the text fits into 100 columns, aligned, without colours unless asked for', () => {
  const report = makeReport('1.0.0', factsWith())
  const text = formatReport(report, false)
  expect(text).not.toContain('\u001B')
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
  expect(text).toMatch(/^driver {5}uring: the kernel/m)
  expect(text).toMatch(/^ {2}bufferRing {10}used {6}5\.19 {2}/m)
  expect(text).toMatch(/in the way\n {2}nothing$/)
  const coloured = formatReport(report, true)
  expect(coloured.replace(/\u001B\[\d+m/g, '')).toBe(text)
})

test('each obstacle has a line for the problem and one for the remedy', () => {
  const text = formatReport(makeReport('1.0.0', refusedWith(-1, 'setup', { seccomp: 2 })), false)
  expect(text).toMatch(/in the way\n {2}seccomp {4}a seccomp filter .*\n {13}-> allow .*$/)
  expect(text).toContain("refused at 'setup': EPERM")
})

test('the core has a line of its own where it differs from the sockets', () => {
  const text = formatReport(makeReport('1.0.0', factsWith({ driver: choice('node') })), false)
  expect(text).toMatch(/^driver {5}node: so\ncore {7}uring: /m)
})

test('colours are for terminals that want them', () => {
  expect(wantsColour(true, {})).toBe(true)
  expect(wantsColour(true, { NO_COLOR: '' })).toBe(true)
  expect(wantsColour(true, { NO_COLOR: '1' })).toBe(false)
  expect(wantsColour(true, { TERM: 'dumb' })).toBe(false)
  expect(wantsColour(false, {})).toBe(false)
})

test('/proc is read as it is written', () => {
  const limits = [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max open files            1024                 524288               files     ',
    'Max locked memory         65536                unlimited            bytes     ',
  ].join('\n')
  expect(parseLimits(limits, 'Max open files')).toEqual({ soft: 1024, hard: 524288 })
  expect(parseLimits(limits, 'Max locked memory')).toEqual({ soft: 65536, hard: 'unlimited' })
  expect(parseLimits('', 'Max open files')).toBeUndefined()
  expect(parseSeccomp('Name:\tnode\nSeccomp:\t2\nSeccomp_filters:\t1\n')).toBe(2)
  expect(parseSeccomp('')).toBeUndefined()
  expect(parseSysAdmin('CapEff:\t000001ffffffffff\n')).toBe(true)
  // Docker's default set.
  expect(parseSysAdmin('CapEff:\t00000000a80425fb\n')).toBe(false)
  expect(parseNumber('-1\n')).toBe(-1)
  expect(parseNumber('many\n')).toBeUndefined()
})

test('kernel releases are compared by number', () => {
  expect(isOlder('5.19.0-1-amd64', 6, 0)).toBe(true)
  expect(isOlder('6.0.0', 6, 0)).toBe(false)
  expect(isOlder('6.9.1', 6, 12)).toBe(true)
  expect(isOlder('10.1', 6, 12)).toBe(false)
  expect(isOlder('unreadable', 6, 0)).toBe(false)
})
