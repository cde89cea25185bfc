/** docs/compatibility.md: what it says is in the results, and it is what the results give now. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { toDocument } from './document'
import { circumstances } from './fixtures'
import type { Result } from './records'
import { readExpectations, readResults } from './records'

const TEST = 'parallel/test-net-a.js'

function makeResult(changes: Partial<Result> & { node?: string } = {}): Result {
  const { node = circumstances.node, ...rest } = changes
  return {
    circumstances: { ...circumstances, node },
    driver: 'uring',
    areas: {
      net: { baseline: 161, passes: 160, expected: 0 },
      worker: { baseline: 9, passes: 9, expected: 0 },
    },
    notPassing: { [TEST]: 'exit 1  `Error`: x' },
    ...rest,
  }
}

const epoll = makeResult({ driver: 'epoll', notPassing: {} })

test('a version has a row for each area and a column for each driver', () => {
  const lines = toDocument([epoll, makeResult()], []).split('\n')
  expect(lines.find((line) => line.startsWith('| area'))).toMatch(
    /^\| area +\| plain Node \| uring \| epoll \|$/,
  )
  expect(lines.find((line) => line.startsWith('| net'))).toMatch(/\| +161 \| +160 \| +160 \|$/)
  expect(lines.find((line) => line.startsWith('| all'))).toMatch(/\| +170 \| +169 \| +169 \|$/)
})

test('the order of the results does not matter, versions count as numbers', () => {
  const results = [
    makeResult(),
    epoll,
    makeResult({ node: '9.1.0' }),
    makeResult({ node: '20.1.0' }),
  ]
  const text = toDocument(results, [])
  expect(toDocument(results.toReversed(), [])).toBe(text)
  expect(text.match(/^## .*/gm)).toEqual([
    '## Node.js 9.1.0',
    '## Node.js 20.1.0',
    '## Node.js 24.12.0',
  ])
})

test('an expected failure is listed with its reason', () => {
  const text = toDocument([makeResult()], [{ test: TEST, reason: 'reads a private field' }])
  expect(text).toContain(`- \`${TEST}\` on uring: reads a private field\n`)
})

test('a failure nobody expected is listed as such, also when another driver expects it', () => {
  const text = toDocument([makeResult()], [{ test: TEST, reason: 'x', driver: 'epoll' }])
  expect(text).toContain(`- \`${TEST}\` on uring: not expected (\`exit 1  'Error': x\`)\n`)
})

test('without results it says so', () => {
  expect(toDocument([], [])).toContain('No run has been recorded yet.')
})

test('the document in docs/ is what the recorded results give', () => {
  const text = readFileSync(join(__dirname, '..', '..', 'docs', 'compatibility.md'), 'utf8')
  expect(text).toBe(toDocument(readResults(__dirname), readExpectations(__dirname)))
})
