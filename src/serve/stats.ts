/** The counters of all threads in one place: adds them up. Owns what threads that are gone have done. */
import type { DriverStats } from '../core/driver'
import type { Counters } from './messages'

/** The numbers of driver.stats(). */
export type DriverCounters = Partial<Omit<DriverStats, 'features'>>

/** One thread's counters. */
export interface ThreadStats extends Counters {
  /** Which of them, from 0 on. During a restart there are two with one number. */
  thread: number
  /** As in worker_threads. */
  threadId: number
}

/** The counters of all threads. */
export interface ClusterStats {
  /** Connections accepted by all threads, those included that are gone. */
  accepted: number
  /** Connections that are open. */
  open: number
  /** Threads that took the place of another. */
  restarts: number
  /** Threads that ended by themselves. */
  crashes: number
  /**
   * The numbers of driver.stats(), added up. Of threads that are gone there is what they counted, not what they held
   * (endpoints, inFlight, the sizes of rings).
   */
  driver: DriverCounters
  /** The threads that serve, or finish. */
  threads: ThreadStats[]
}

/** What a thread holds: nothing once it is gone. */
const held: readonly string[] = ['endpoints', 'inFlight', 'submissionEntries', 'completionEntries']

export class Sum {
  accepted = 0
  open = 0
  readonly driver: Record<string, number> = {}

  /** `isGone`: the thread that counted has ended. */
  add(
    { accepted, open, driver }: Pick<Counters, 'accepted' | 'open' | 'driver'>,
    isGone: boolean,
  ): this {
    this.accepted += accepted
    if (!isGone) this.open += open
    for (const [name, value] of Object.entries(driver)) {
      if (typeof value !== 'number' || (isGone && held.includes(name))) continue
      this.driver[name] = (this.driver[name] ?? 0) + value
    }
    return this
  }
}
