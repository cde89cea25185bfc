/**
 * The demo as a user starts it: its self-check passes on each driver, it says what is wrong when it cannot start, and
 * it ends when told to.
 */
import { createServer, type AddressInfo } from 'node:net'
import { startDemo } from './demo-process'
import { drivers } from './subjects'

const CHECK_MS = 170_000
const SHORT_MS = 60_000

describe.each(drivers)('the demo on the %s driver', (driver) => {
  test(
    'passes its self-check, prints the table and ends by itself',
    async () => {
      const { code, output } = await startDemo(driver, ['--check'], CHECK_MS).ended
      // One assertion, so that a failure shows what the demo printed.
      expect({ code, output }).toEqual({ code: 0, output: expect.any(String) as string })
      expect(output).toMatch(new RegExp(`^Driver ${driver}`, 'm'))
      expect(output).toMatch(new RegExp(`^${driver} driver +1 B +2 B +1,000 B .* 10 MB$`, 'm'))
      for (const protocol of ['tcp', 'unix', 'tls', 'http/1.1', 'https/1.1', 'h2c', 'h2', 'ws']) {
        expect(output).toMatch(new RegExp(`^${protocol} +ok `, 'm'))
      }
      expect(output).toMatch(/ driver: \d{3} passed, 0 failed in /)
    },
    CHECK_MS + 5000,
  )

  test.each(['SIGINT', 'SIGTERM'] as const)(
    'closes cleanly on %s',
    async (signal) => {
      const demo = startDemo(driver, ['--no-check', '--any-port'], SHORT_MS)
      await demo.printed(/Ctrl\+C stops/)
      demo.kill(signal)
      expect(await demo.ended).toMatchObject({ code: 0, signal: null })
    },
    SHORT_MS + 5000,
  )

  test(
    'names the flag to change when a port is in use',
    async () => {
      const taken = createServer()
      await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
      const { port } = taken.address() as AddressInfo
      const args = ['--no-check', '--any-port', '--h2c-port', String(port)]
      const { code, output } = await startDemo(driver, args, SHORT_MS).ended
      taken.close()
      expect(code).toBe(1)
      expect(output).toContain(`127.0.0.1:${port} (HTTP/2 without TLS) is in use`)
      expect(output).toContain('--h2c-port <n>')
    },
    SHORT_MS + 5000,
  )
})
