/**
 * Reports of a made-up run: as text, as data, and as a page in a real browser, which shows a cell's outcome on a click,
 * filters, and asks nobody for anything.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type Page } from 'playwright-core'
import type { Check } from './check'
import { toHtml } from './report/html'
import { toCheckRecord, toRecord } from './report/record'
import type { OutcomeRecord, Report } from './report/record'
import { formatReport, plain } from './report/text'
import type { Outcome } from './run'

const testMs = 30_000
const hostile = '</script><img src=x onerror="document.title=\'broken\'">'

function check(id: string, area: string, more: Partial<Check> = {}): Check {
  return {
    id,
    rule: 'W3',
    strength: 'required',
    area,
    requirement: `${id} holds & "stays"`,
    intent: `programs break without ${id}`,
    hazards: [3, 5],
    run: async () => {},
    ...more,
  }
}

const checks = [
  check('W3-1', 'writing'),
  check('W3-2', 'writing', { strength: 'recommended' }),
  check('C4-1', 'closing', {
    rule: 'C4',
    opposite: { requirement: 'the opposite of C4-1', run: async () => {} },
  }),
]

function outcome(at: number, more: Partial<Outcome>): OutcomeRecord {
  const { requirement } = checks[at]!
  const base = { check: checks[at]!, subject: 'x', requirement, reason: '', trace: [], ms: 1.25 }
  return toRecord({ ...base, status: 'passed', ...more })
}

const trace = [
  { ms: 0.25, side: 'a', what: 'data 16' },
  { ms: 1.5, side: 'b2', what: 'error ECONNRESET' },
  { ms: 1.75, side: '', what: 'fails' },
  { ms: 2, side: 'a', what: 'close' },
]

const report: Report = {
  version: '1.2.3',
  node: 'v20.0.0',
  platform: 'linux x64',
  kernel: '6.1',
  date: '2030-01-02T03:04:05.000Z',
  checks: checks.map(toCheckRecord),
  subjects: [
    {
      label: 'good one',
      name: 'good one',
      driver: 'epoll',
      capabilities: {},
      ms: 1200,
      outcomes: [
        outcome(0, {}),
        outcome(1, { status: 'known failure', reason: 'it is too old' }),
        outcome(2, { requirement: 'the opposite of C4-1' }),
      ],
    },
    {
      label: hostile,
      name: hostile,
      driver: '',
      capabilities: {},
      ms: 30,
      outcomes: [
        outcome(0, {
          status: 'failed',
          reason: `bytes lost ${hostile}`,
          expected: Buffer.from('ab'),
          observed: 7,
          stack: 'Error: bytes lost',
          trace,
        }),
        outcome(1, { status: 'not applicable', reason: 'the subject does not declare: tls' }),
        outcome(2, {}),
      ],
    },
  ],
  absent: [{ driver: 'uring', reason: 'the kernel is too old' }],
}

test('as data: values as text, the last of a long trace, and the same after JSON', () => {
  const long = Array.from({ length: 1000 }, (_none, at) => ({
    ms: at + 1 / 3,
    side: 'a',
    what: 'x',
  }))
  const record = outcome(0, {
    status: 'failed',
    reason: 'no',
    expected: undefined,
    observed: [1n],
    trace: long,
  })
  expect(record).toMatchObject({ expected: 'undefined', observed: '[ 1n ]', traceOmitted: 700 })
  expect(record.trace).toHaveLength(300)
  expect(record.trace.at(-1)).toEqual({ ms: 999.33, side: 'a', what: 'x' })
  expect(outcome(0, {})).not.toHaveProperty('expected')
  expect(outcome(0, {})).not.toHaveProperty('requirement')
  expect(JSON.parse(JSON.stringify(report))).toEqual(report)
})

test('as text: each failure with its check, up to where it failed, the areas, and the sum', () => {
  expect(formatReport(report, plain).split('\n')).toEqual([
    '',
    `W3-1 (writing, required) fails: ${hostile}`,
    '  must hold W3-1 holds & "stays"',
    `  observed  bytes lost ${hostile}`,
    '  expected  <Buffer 61 62>',
    '  instead   7',
    '  why       programs break without W3-1',
    '  trace',
    '         0.3 ms  a   data 16',
    '         1.5 ms  b2  error ECONNRESET',
    '         1.8 ms      fails',
    '    … 1 after',
    '',
    'area     passed  failed  known failure  not applicable',
    'writing       1       1              1               1',
    'closing       2       –              –               –',
    '',
    'uring not run: the kernel is too old',
    '2 subjects: 3 passed, 1 failed, 1 known failure, 1 not applicable',
  ])
})

const browserPath = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => existsSync(path))

if (browserPath === undefined) {
  test.skip('the page in a browser: skipped, chromium is not installed', () => {})
  console.warn('report: skipped, chromium is not installed (apt-get install chromium)')
} else {
  describe('the page in chromium', () => {
    let browser: Browser
    let directory: string
    let page: Page
    const problems: string[] = []

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'compat-page-'))
      writeFileSync(join(directory, 'report.html'), toHtml(report))
      const { LD_PRELOAD: _preload, ...env } = process.env
      browser = await chromium.launch({
        executablePath: browserPath,
        env: env as Record<string, string>,
        args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run'],
      })
    }, testMs)

    beforeEach(async () => {
      problems.length = 0
      page = await browser.newPage()
      page.on('console', (message) => problems.push(message.text()))
      page.on('pageerror', (error) => problems.push(error.message))
      page.on('request', (request) => {
        if (!/^(file|data):/.test(request.url())) problems.push(`asked for ${request.url()}`)
      })
      await page.goto(`file://${join(directory, 'report.html')}`)
    }, testMs)

    afterEach(async () => {
      expect(await page.title()).toBe('uring-net 1.2.3: conformance')
      expect(problems).toEqual([])
      await page.close()
    })

    afterAll(async () => {
      await browser?.close()
      rmSync(directory, { recursive: true })
    }, testMs)

    const cell = (id: string, subject: number) =>
      page.locator(`[data-check="${id}"][data-subject="${subject}"]`)
    const panel = () => page.locator('aside')

    test('has a row for each check below its area, and a column for each subject', async () => {
      expect(await page.locator('tr.area th').allTextContents()).toEqual(['writing', 'closing'])
      expect(await page.locator('th.subject').allTextContents()).toEqual(['good one', hostile])
      expect(await page.locator('tr.check').first().locator('td').allTextContents()).toEqual([
        '✓',
        '✗',
      ])
      expect(await page.locator('tr.check td button').count()).toBe(6)
      expect(await page.textContent('header')).toContain('uring not run: the kernel is too old')
      expect(await page.textContent('.tools')).toMatch(/3 passed\s+.*1 failed/s)
      expect(await panel().isVisible()).toBe(false)
    })

    test('a click shows what must hold, what was observed, the trace and the intent', async () => {
      await cell('W3-1', 1).click()
      const text = (await panel().textContent())!
      for (const part of [
        'W3-1 holds & "stays"',
        `bytes lost ${hostile}`,
        '<Buffer 61 62>',
        'programs break without W3-1',
        'rule W3, hazards 3 refusal-that-keeps, 5 short-send',
        '1.5 ms  b2  error ECONNRESET',
        'writing, required',
      ]) {
        expect(text).toContain(part)
      }
      await cell('C4-1', 0).click()
      expect(await panel().textContent()).toContain('the opposite of C4-1')
      await cell('W3-2', 0).click()
      expect(await panel().textContent()).toMatch(/known failure.*because.*it is too old/s)
      await cell('W3-2', 0).click()
      expect(await panel().isVisible()).toBe(false)
    })

    test('arrows move between cells, and Escape closes what is shown', async () => {
      await cell('W3-1', 0).click()
      for (const key of ['ArrowRight', 'ArrowDown', 'ArrowDown', 'ArrowDown'])
        await page.keyboard.press(key)
      expect(await panel().locator('h2').textContent()).toBe(`C4-1 · ${hostile}`)
      await page.keyboard.press('Escape')
      expect(await panel().isVisible()).toBe(false)
    })

    test('its address leads back to the cell that is shown', async () => {
      await cell('W3-1', 1).click()
      const address = page.url()
      await page.goto('about:blank')
      await page.goto(address)
      expect(await panel().locator('h2').textContent()).toBe(`W3-1 · ${hostile}`)
    })

    test('rows are filtered by words, by area and by failure', async () => {
      const shown = () => page.locator('tr.check:visible code').allTextContents()
      await page.fill('#search', 'closing')
      expect(await shown()).toEqual(['C4-1'])
      expect(await page.locator('tr.area:visible').allTextContents()).toEqual(['closing'])
      await page.fill('#search', 'w3-2')
      expect(await shown()).toEqual(['W3-2'])
      await page.fill('#search', '')
      await page.check('#only-bad')
      expect(await shown()).toEqual(['W3-1'])
    })

    test('it fits a wide window and a narrow one, light and dark', async () => {
      const wide = 'document.documentElement.scrollWidth > innerWidth'
      const background = `getComputedStyle(document.body).backgroundColor`
      const seen = new Set<unknown>()
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        seen.add(await page.evaluate(background))
        for (const [width, height] of [
          [1440, 900],
          [390, 844],
        ] as const) {
          await page.setViewportSize({ width, height })
          expect(await page.evaluate(wide)).toBe(false)
        }
      }
      expect(seen.size).toBe(2)
    })
  })
}
