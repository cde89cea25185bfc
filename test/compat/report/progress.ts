/** What a person sees while checks run: on a terminal a line that moves, elsewhere a line for each subject. */
import type { Job } from '../processes'
import type { OutcomeRecord, SubjectRecord } from './record'
import { formatSubject } from './text'
import type { Paint } from './text'

export class Progress {
  readonly #out: NodeJS.WriteStream
  readonly #paint: Paint
  /** What runs, by subject. */
  readonly #running = new Map<Job, { label: string; done: number; failed: number; check: string }>()

  constructor(out: NodeJS.WriteStream, paint: Paint) {
    this.#out = out
    this.#paint = paint
  }

  started(job: Job, label: string, check: string): void {
    const { done, failed } = this.#running.get(job) ?? { done: 0, failed: 0 }
    this.#running.set(job, { label, done, failed, check })
    this.#draw()
  }

  finished(job: Job, { status }: OutcomeRecord): void {
    const state = this.#running.get(job)
    if (state === undefined) return
    state.done++
    if (status === 'failed') state.failed++
  }

  ended(job: Job, subject: SubjectRecord): void {
    this.#running.delete(job)
    this.#clear()
    this.#out.write(`${formatSubject(subject, this.#paint)}\n`)
    this.#draw()
  }

  #draw(): void {
    if (!this.#out.isTTY || this.#running.size === 0) return
    const parts = [...this.#running].map(([{ checks }, { label, done, failed, check }]) => {
      const bad = failed > 0 ? `, ${failed} failed` : ''
      return `${label} ${done}/${checks.length}${bad} ${check}`
    })
    this.#clear()
    this.#out.write(parts.join(' · ').slice(0, this.#out.columns - 1))
  }

  #clear(): void {
    if (this.#out.isTTY) this.#out.write('\r\u001B[K')
  }
}
