/** What the engines of a thread have in common: whether they keep its event loop alive. Owns the count of what does. */
export abstract class LoopEngine {
  abstract readonly native: { setRef(on: number): void }
  #alive = 0

  /** One thing more keeps the event loop alive. */
  retain(): void {
    if (this.#alive++ === 0) this.native.setRef(1)
  }

  /** One thing less keeps the event loop alive. */
  release(): void {
    if (--this.#alive === 0) this.native.setRef(0)
  }
}
