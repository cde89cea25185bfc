/**
 * The demo's life: reads the options, starts the servers, checks them with real clients, prints the table and the
 * addresses, and stays until it is told to stop. What each step does is in the files beside this one.
 */
import { release } from 'node:os'
import { driver } from '../../src/index'
import { createCertificate } from './certificate'
import { createLive } from './live'
import { startMeter } from './meter'
import { parseOptions, usage, type Options } from './options'
import { makeSelfCheck } from './self-check'
import { startServers, type Listener } from './servers'
import { formatSummary, formatTable, makeProgress, paint } from './table'

/** How long after closing the process may need to end by itself. */
const END_DEADLINE_MS = 20_000

async function run(options: Options): Promise<void> {
  const why = driver.reason === '' ? '' : `: ${driver.reason}`
  console.log(`Driver ${paint('bold', driver.name)}${why}`)
  console.log(paint('dim', `Node ${process.version}, Linux ${release()}`))

  const certificate = createCertificate([
    ...new Set(['localhost', '127.0.0.1', '::1', options.host]),
  ])
  const live = createLive()
  const servers = await startServers(options, certificate, live.subscribe)
  const selfCheck = makeSelfCheck(servers.listeners, certificate.cert)
  const meter = startMeter(servers.listeners, live.pushSample)
  live.start(servers.listeners, meter, options.check ? selfCheck.results : [])

  const stop = async () => {
    meter.stop()
    live.close()
    await servers.close()
    endByItself()
  }
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // A second one means it: do not wait for anything.
      if (stopping.signal.aborted) process.exit(130)
      stopping.abort()
      console.log(`\n${signal}: closing`)
      void stop()
    })
  }

  if (options.check) {
    const { results } = selfCheck
    console.log(`\nChecking ${results.length} cases with real clients of each protocol`)
    const progress = makeProgress(results)
    await selfCheck.run((index, result) => {
      if (stopping.signal.aborted) return
      progress.update(index, result)
      live.pushCheck(index, result)
    }, stopping.signal)
    progress.end()
    if (stopping.signal.aborted) return
    console.log(`\n${formatTable(results, driver.name)}\n`)
    console.log(formatSummary(results, driver.name, servers.missing))
    if (options.checkOnly) {
      if (results.some(({ state }) => state !== 'passed')) process.exitCode = 1
      await stop()
      return
    }
  }
  if (!stopping.signal.aborted)
    console.log(formatAddresses(servers.listeners, certificate.fingerprint))
}

function formatAddresses(listeners: Listener[], fingerprint: string): string {
  const width = Math.max(...listeners.map(({ title }) => title.length))
  const lines = listeners.map(({ name, title, url }) => {
    const strong = name === 'http' || name === 'https'
    return `  ${title.padEnd(width)}  ${strong ? paint('bold', url) : url}`
  })
  return [
    '',
    'Listening:',
    ...lines,
    '',
    paint('dim', `The certificate is self-signed, made at this start; SHA-256 ${fingerprint}`),
    `Open ${paint('bold', listeners[0]!.url)} in a browser. Ctrl+C stops.`,
  ].join('\n')
}

/** The process must end because nothing is left to do; one that is kept alive by a leak fails, and says by what. */
function endByItself(): void {
  const timer = setTimeout(() => {
    const left = process.getActiveResourcesInfo().join(', ')
    console.error(`Still alive ${END_DEADLINE_MS / 1000} s after closing everything: ${left}`)
    process.exit(1)
  }, END_DEADLINE_MS)
  timer.unref()
}

function start(): void {
  const options = parseOptions(process.argv.slice(2))
  if (options.help) {
    console.log(usage)
    return
  }
  run(options).catch(fail)
}

function fail(error: unknown): void {
  console.error(paint('red', error instanceof Error ? error.message : String(error)))
  process.exitCode = 1
}

try {
  start()
} catch (error) {
  fail(error)
  console.error('--help lists the options.')
}
