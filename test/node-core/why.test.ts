/** The line that says why a test did not pass. */
import { tellingLine, why } from './why'

const output = `node:assert:95
  throw new AssertionError(obj);
  ^

AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:
    at Object.<anonymous> (/suite/test/parallel/test-net-a.js:1:1)
Error: something that followed`

test('of an output the error is told that ended the test, not what was printed around it', () => {
  expect(tellingLine(output)).toBe(
    'AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:',
  )
})

test('a wrong number of calls is told, though no error is printed', () => {
  expect(tellingLine('a\n  Mismatched f calls. Expected 1, actual 0.\nb')).toBe(
    'Mismatched f calls. Expected 1, actual 0.',
  )
})

test('an output in which nothing stands out has no such line', () => {
  expect(tellingLine('a\nb')).toBe('')
})

test('how the test ended comes first', () => {
  expect(why({ status: 'fail', code: 1, line: 'Error: x' })).toBe('exit 1  Error: x')
  expect(why({ status: 'fail', signal: 'SIGSEGV', line: '' })).toBe('SIGSEGV')
  expect(why({ status: 'fail', timedOut: true })).toBe('timeout')
})

test('a test that skipped itself says why', () => {
  expect(why({ status: 'skip', reason: 'no IPv6' })).toBe('skipped: no IPv6')
})

test('folders of this machine are not shown, the inner one first', () => {
  const line = 'Error: ENOENT /home/me/suite/test/x and /home/me/y'
  const folders = { '/home/me': '~', '/home/me/suite': 'S' }
  expect(why({ status: 'fail', code: 1, line }, folders)).toBe(
    'exit 1  Error: ENOENT S/test/x and ~/y',
  )
})

test('the line is short', () => {
  const line = `Error: ${'x'.repeat(1000)}`
  expect(why({ status: 'fail', code: 1, line }).length).toBeLessThan(130)
})
