/**
 * Tells how far the run is: one line that is redrawn on a terminal, a line per trial elsewhere. It never writes to
 * stdout, which belongs to the tables.
 */

const BAR_WIDTH = 24

export class Progress {
  readonly #total: number
  readonly #startedAt = Date.now()
  readonly #stream: NodeJS.WriteStream
  #done = 0

  constructor(total: number, stream: NodeJS.WriteStream = process.stderr) {
    this.#total = total
    this.#stream = stream
  }

  /** A step begins. */
  begin(label: string): void {
    if (this.#stream.isTTY) this.#draw(label)
  }

  /** The step has ended; `result` is its figure in a few words. */
  end(label: string, result: string): void {
    this.#done++
    if (this.#stream.isTTY) this.#draw(label)
    else this.#stream.write(`[${this.#done}/${this.#total}] ${label}: ${result}\n`)
  }

  /** Wipes the line, so that something else can be written. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write('\r\x1b[K')
  }

  #draw(label: string): void {
    const secondsSpent = (Date.now() - this.#startedAt) / 1000
    const line = progressLine(this.#done, this.#total, label, secondsSpent)
    this.#stream.write(`\r\x1b[K${line.slice(0, (this.#stream.columns || 80) - 1)}`)
  }
}

/** The bar, the count, what is under way, and the time left if the rest goes as before. */
export function progressLine(
  done: number,
  total: number,
  label: string,
  secondsSpent: number,
): string {
  const filled = Math.round((BAR_WIDTH * done) / total)
  const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`
  const left = done > 0 ? ` · ${minutes((secondsSpent / done) * (total - done))} left` : ''
  return `${bar} ${done}/${total}${left} · ${label}`
}

function minutes(seconds: number): string {
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`
}
