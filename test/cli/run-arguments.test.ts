/** Which arguments are uring-net's own and which are Node's. */
import { UsageError } from '../../src/cli/command'
import { parseRunArguments } from '../../src/cli/run-arguments'

test.each([
  ['what follows the app is the app’s', ['a.js', '--driver', 'x', '--help'], undefined, 'a.js'],
  ['after a double dash comes the app', ['--', '-a.js', '--driver', 'x'], undefined, '-a.js'],
  ['options of Node go to Node, and it finds the app', ['-r', 'x', 'a.js'], undefined, undefined],
  ['a program from stdin is no file', ['-', 'argument'], undefined, undefined],
])('%s', (_title, args, driver, app) => {
  expect(parseRunArguments(args)).toEqual({ help: false, driver, forNode: args, app })
})

test.each([
  [
    ['--driver', 'epoll', 'a.js', 'b'],
    ['a.js', 'b'],
  ],
  [
    ['--driver=epoll', '--inspect', 'a.js'],
    ['--inspect', 'a.js'],
  ],
  [
    ['--inspect', '--driver', 'epoll', 'a.js'],
    ['--inspect', 'a.js'],
  ],
  [
    ['--driver', 'epoll', '--', 'a.js'],
    ['--', 'a.js'],
  ],
])('the driver is taken out of %j', (args, forNode) => {
  expect(parseRunArguments(args)).toMatchObject({ driver: 'epoll', forNode })
})

test('help is asked for before the app only', () => {
  expect(parseRunArguments(['--inspect', '-h', 'a.js']).help).toBe(true)
  expect(parseRunArguments(['a.js', '-h']).help).toBe(false)
})

test.each([[[]], [['--']], [['--driver', 'epoll']], [['--driver', 'epoll', '--']]])(
  '%j names no app',
  (args) => expect(() => parseRunArguments(args)).toThrow(UsageError),
)

test.each([[['--driver']], [['--driver', 'a.js']], [['--driver=', 'a.js']]])(
  '%j names no driver',
  (args) => expect(() => parseRunArguments(args)).toThrow(/--driver takes one of/),
)
