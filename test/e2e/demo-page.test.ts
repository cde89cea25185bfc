/** The demo's page in a real browser: numbers move, echoes over WebSocket return, over HTTP/1.1 and HTTP/2 alike. */
import { existsSync } from 'node:fs'
import { chromium, type Browser, type Page } from 'playwright-core'
import { startDemo, type Demo } from './demo-process'

const browserPath = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => existsSync(path))

const TEST_MS = 60_000

if (browserPath === undefined) {
  test.skip('the page in a browser: skipped, chromium is not installed', () => {})
  console.warn('demo-page: skipped, chromium is not installed (apt-get install chromium)')
} else {
  describe('the page in chromium', () => {
    let demo: Demo
    let browser: Browser

    beforeAll(async () => {
      demo = startDemo(
        process.env['URING_NET_DRIVER'] ?? 'auto',
        ['--no-check', '--any-port'],
        TEST_MS * 3,
      )
      // A sanitizer's runtime is for the demo, not for the browser.
      const { LD_PRELOAD: _preload, ...env } = process.env
      browser = await chromium.launch({
        executablePath: browserPath,
        env: env as Record<string, string>,
        args: [
          '--headless',
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-background-networking',
          '--disable-component-update',
          '--disable-sync',
        ],
      })
      await demo.printed(/Ctrl\+C stops/)
    }, TEST_MS)

    afterAll(async () => {
      await browser?.close()
      demo.kill('SIGTERM')
      await demo.ended
    }, TEST_MS)

    test.each([
      ['HTTP/1.1', /http:\/\/\S+/, 'http/1.1'],
      ['HTTPS', /https:\/\/\S+/, 'h2'],
    ])(
      'shows live numbers and sends echoes over %s',
      async (_name, address, protocol) => {
        const url = address.exec(demo.output())![0]
        const context = await browser.newContext({ ignoreHTTPSErrors: true })
        const page = await context.newPage()
        const problems: string[] = []
        page.on('console', (message) => {
          if (message.type() === 'error' || message.type() === 'warning')
            problems.push(message.text())
        })
        page.on('pageerror', (error) => problems.push(error.message))

        await page.goto(url)
        await page.waitForSelector('#link.on')
        expect(await page.evaluate(nextHopProtocol)).toBe(protocol)
        const driver = /^Driver (\w+)/.exec(demo.output())![1]
        expect(await page.textContent('#driver')).toBe(driver)
        expect(await page.locator('#features li').count()).toBeGreaterThan(0)

        // The page's own updates are traffic, so the totals move with nobody else there.
        const sent = () => page.textContent('#totals tr:nth-child(2) td:nth-child(2)')
        await page.locator('#out-rate', { hasText: /\d/ }).waitFor()
        const before = await sent()
        await page.click('#load')
        await page.locator('#load-result', { hasText: /all equal|wrong|closed/ }).waitFor()
        expect(await page.textContent('#load-result')).toMatch(/^1,000 echoes in .* all equal$/)
        await expectChange(page, sent, before)

        expect(await overflows(page, 1440, 900)).toBe(false)
        expect(await overflows(page, 390, 844)).toBe(false)
        expect(problems).toEqual([])
        await context.close()
      },
      TEST_MS,
    )
  })
}

/** Runs in the page; as text, for the tests are compiled without the browser's types. */
const nextHopProtocol = `performance.getEntriesByType('navigation')[0].nextHopProtocol`

async function expectChange(
  page: Page,
  read: () => Promise<string | null>,
  before: string | null,
): Promise<void> {
  for (let tries = 0; tries < 40; tries++) {
    if ((await read()) !== before) return
    await page.waitForTimeout(100)
  }
  throw new Error(`still ${before} after 4 s`)
}

async function overflows(page: Page, width: number, height: number): Promise<boolean> {
  await page.setViewportSize({ width, height })
  return page.evaluate('document.documentElement.scrollWidth > innerWidth')
}
