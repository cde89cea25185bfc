/** Writes the self-check for a terminal: progress while it runs, the table and the failures after. Never runs anything. */
import { scenarioNames, type CheckResult } from './self-check'

type Paint = 'bold' | 'dim' | 'red' | 'green' | 'yellow'

const codes: Record<Paint, number> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 }

const terminal = process.stdout.isTTY && process.env.NO_COLOR === undefined

export function paint(style: Paint, text: string): string {
  return terminal ? `\x1b[${codes[style]}m${text}\x1b[0m` : text
}

export interface Progress {
  update(index: number, result: CheckResult): void
  end(): void
}

/** On a terminal one line that rewrites itself, elsewhere a line for each protocol. */
export function makeProgress(results: readonly CheckResult[]): Progress {
  let width = 0
  let failed = 0
  const write = (text: string) => {
    process.stdout.write(`\r${text.padEnd(width)}`)
    width = text.length
  }
  return {
    update(index, result) {
      if (result.state === 'failed') failed++
      if (terminal) {
        const filled = Math.round((index / results.length) * 24)
        const bar = '█'.repeat(filled) + '░'.repeat(24 - filled)
        const mark = failed > 0 ? `  ${failed} failed` : ''
        write(`${bar} ${index}/${results.length}  ${result.protocol}: ${result.scenario}${mark}`)
        return
      }
      const last = results[index + 1]?.protocol !== result.protocol
      if (result.state === 'running' || !last) return
      const own = results.filter(({ protocol }) => protocol === result.protocol)
      const passed = own.filter(({ state }) => state === 'passed').length
      console.log(
        `${index + 1}/${results.length} ${result.protocol}: ${passed} of ${own.length} passed`,
      )
    },
    end() {
      if (!terminal) return
      write('')
      process.stdout.write('\r')
    },
  }
}

const LABEL_WIDTH = 21
const CELL_WIDTH = 11

/** One row a protocol and one column a scenario: passed or failed and time, and below it MB/s; in two halves to fit. */
export function formatTable(results: readonly CheckResult[], driverName: string): string {
  const protocols = [...new Set(results.map(({ protocol }) => protocol))]
  const find = (protocol: string, scenario: string) =>
    results.find((one) => one.protocol === protocol && one.scenario === scenario)
  const payloads = scenarioNames.filter((name) => / M?B$/.test(name))
  const others = scenarioNames.filter((name) => !/ M?B$/.test(name))
  return [payloads, others]
    .map((scenarios) => {
      const head = `${`${driverName} driver`.padEnd(LABEL_WIDTH)}${scenarios.map(cell).join('')}`
      const rows = protocols.map((protocol) => {
        const found = scenarios.map((scenario) => find(protocol, scenario))
        const verdicts = found.map(formatVerdict).join('')
        const rates = found.map(formatRate).join('')
        const line = protocol.padEnd(LABEL_WIDTH) + verdicts
        return rates.trim() === ''
          ? line
          : `${line}\n${' '.repeat(LABEL_WIDTH)}${paint('dim', rates)}`
      })
      return [paint('bold', head), ...rows].join('\n')
    })
    .join('\n\n')
}

/** What failed and why, and the sum. */
export function formatSummary(
  results: readonly CheckResult[],
  driverName: string,
  missing: readonly string[],
): string {
  const failed = results.filter(({ state }) => state === 'failed')
  const seconds = results.reduce((sum, { ms }) => sum + ms, 0) / 1000
  const passed = `${results.length - failed.length} passed, ${failed.length} failed`
  return [
    ...failed.map(({ protocol, scenario, message }) =>
      paint('red', `failed  ${protocol}, ${scenario}: ${message}`),
    ),
    ...missing.map((reason) => paint('yellow', `left out  ${reason}`)),
    `Self-check on the ${driverName} driver: ${paint(failed.length > 0 ? 'red' : 'green', passed)} ` +
      `in ${seconds.toFixed(1)} s. MB/s: bytes echoed by time from connecting to the last byte.`,
  ].join('\n')
}

function cell(text: string): string {
  return text.padStart(CELL_WIDTH)
}

function formatVerdict(result: CheckResult | undefined): string {
  if (result === undefined) return paint('dim', cell('-'))
  if (result.state !== 'passed') return paint('red', cell('FAILED'))
  return paint('green', cell(`ok ${formatMs(result.ms)}`))
}

function formatRate(result: CheckResult | undefined): string {
  // Below a kilobyte it would say how long a connection takes, not how fast bytes move.
  if (result?.state !== 'passed' || result.bytes < 1000) return cell('')
  const rate = result.bytes / 1000 / result.ms
  return cell(`${rate < 10 ? rate.toFixed(1) : rate.toFixed(0)} MB/s`)
}

function formatMs(ms: number): string {
  return ms < 10
    ? `${ms.toFixed(1)} ms`
    : ms < 10_000
      ? `${ms.toFixed(0)} ms`
      : `${(ms / 1000).toFixed(0)} s`
}
