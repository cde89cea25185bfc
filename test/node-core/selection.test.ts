/** Which of Node's tests are run, and what they ask for. */
import { environment, nodeOptions, preloadArguments } from './environment'
import { withCallSites } from './namespaces'
import { parseOptions } from './options'
import { AREAS, CORE_AREAS, areaOf, directives, parseAreas, select } from './selection'

const names = [
  'parallel/test-child-process-exec.js',
  'parallel/test-child-process-fork-dgram.js',
  'parallel/test-child-process-fork-net-server.js',
  'parallel/test-cluster-dgram-reuse.js',
  'parallel/test-dgram-bind.js',
  'parallel/test-diagnostics-channel-process.js',
  'parallel/test-diagnostics-channel-udp.js',
  'parallel/test-dns-lookup.js',
  'parallel/test-dns.js',
  'parallel/test-http-agent.js',
  'parallel/test-http2-async-local-storage.js',
  'parallel/test-net-end.mjs',
  'parallel/test-network.js',
  'parallel/test-stream-pipe.js',
  'parallel/test-worker-http2-stream-terminate.js',
  'sequential/test-net-listen.js',
]

describe('areas', () => {
  test('a test belongs to the area its name begins with, not to one it mentions', () => {
    expect(names.map(areaOf)).toEqual([
      undefined,
      'child-process',
      'child-process',
      'cluster',
      'dgram',
      undefined,
      'diagnostics-channel',
      'dns',
      'dns',
      'http',
      'http2',
      'net',
      undefined,
      undefined,
      'worker',
      'net',
    ])
  })

  test('all areas are run when nothing is said', () => {
    expect(select(names, {})).toEqual(names.filter((name) => areaOf(name) !== undefined))
  })

  test('a filter alone may name any test of the suite', () => {
    expect(select(names, { filter: /stream/ })).toEqual([
      'parallel/test-stream-pipe.js',
      'parallel/test-worker-http2-stream-terminate.js',
    ])
  })

  test('a filter with areas narrows them', () => {
    expect(select(names, { areas: ['net'], filter: /^sequential/ })).toEqual([
      'sequential/test-net-listen.js',
    ])
  })

  test('names of groups stand for their areas, in one order whatever was written', () => {
    expect(parseAreas('core')).toEqual(CORE_AREAS)
    expect(parseAreas('around,core')).toEqual(AREAS)
    expect(parseAreas('tls,net')).toEqual(['net', 'tls'])
  })

  test('an area nobody knows is refused', () => {
    expect(() => parseAreas('net,udp')).toThrow("no area 'udp'")
  })
})

describe('directives', () => {
  test('flags and variables are read from the comments of a test', () => {
    const source = "'use strict'\n// Flags: --expose-gc  --no-warnings\n// Env: A=1 B=x=y\n"
    expect(directives(source)).toEqual({
      flags: ['--expose-gc', '--no-warnings'],
      env: { A: '1', B: 'x=y' },
    })
  })

  test('a comment that only speaks of flags asks for none', () => {
    expect(directives('// Flags: none needed\n// see // Flags: --a\n')).toEqual({
      flags: [],
      env: {},
    })
  })
})

describe('environment', () => {
  const from = {
    PATH: '/bin',
    NODE_OPTIONS: '--inspect',
    HTTP_PROXY: 'x',
    URING_NET_DRIVER: 'node',
  }

  test('of a plain run has nothing in it that changes what a test sees', () => {
    expect(environment(from, {})).toEqual({ PATH: '/bin' })
  })

  test('names the driver, and the preload for the processes a test starts', () => {
    const preload = { file: '/a b/register.js', via: 'require' } as const
    expect(environment(from, { driver: 'uring', preload })).toEqual({
      PATH: '/bin',
      NODE_OPTIONS: '--require "/a b/register.js"',
      URING_NET_DRIVER: 'uring',
    })
  })

  test('a module is imported by its address', () => {
    expect(preloadArguments({ file: '/a b/hook.mjs', via: 'import' })).toEqual([
      '--import',
      'file:///a%20b/hook.mjs',
    ])
  })

  test('quotes and backslashes survive NODE_OPTIONS', () => {
    expect(nodeOptions(['--require', 'a"b\\c'])).toBe('--require "a\\"b\\\\c"')
  })
})

describe('helpers of the suite', () => {
  test('do without util.getCallSites() where they take it for granted', () => {
    const source = "'use strict';\nconst { inspect, getCallSites } = require('util');\nmore"
    expect(withCallSites(source)).toBe(
      "'use strict';\nconst { inspect, getCallSites = () => [{}, {}] } = require('util');\nmore",
    )
  })

  test('are left alone where they do not', () => {
    expect(withCallSites("const { inspect } = require('util');")).toBeUndefined()
  })
})

describe('command line', () => {
  test('both drivers, all areas, one test at a time', () => {
    expect(parseOptions(['--suite', 'x'])).toMatchObject({
      drivers: ['uring', 'epoll'],
      areas: undefined,
      jobs: 1,
      isRecorded: false,
    })
  })

  test.each([
    [[], '--suite is missing'],
    [['--suite', 'x', '--driver', 'kqueue'], '--driver: uring, epoll, both or none'],
    [['--suite', 'x', '--jobs', '0'], '--jobs: a whole number of at least 1'],
    [['--suite', 'x', '--filter', '('], '--filter: '],
    [['--suite', 'x', '--via', 'magic'], '--via: require or import'],
    [['--suite', 'x', '--speed', '9'], "Unknown option '--speed'"],
  ])('%j is refused', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message)
  })

  test.each([[['--area', 'net']], [['--filter', 'x']], [['--preload', 'x.js']]])(
    'a run with %j is not recorded: it would stand for what was not run',
    (args) => {
      expect(() => parseOptions(['--suite', 'x', '--record', ...args])).toThrow('--record takes no')
    },
  )
})
