/** The figures of one measured window, as the load generators print them. */

/** Of both processes, over the window. */
export interface Cpu {
  seconds: number
  serverUserUs: number
  serverSystemUs: number
  loadBusyUs: number
}

export interface Window extends Cpu {
  ops: number
  opsPerSecond?: number
  p50Us?: number
  p99Us?: number
  rssKb?: number
  rssBeforeKb?: number
  elapsedMs?: number
  /** Of the slowest flooding connection to the fastest. */
  share?: number
}
