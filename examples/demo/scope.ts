/**
 * What one check holds: everything it opened is destroyed when it ends, however it ends, and it ends by its deadline.
 * Never decides whether a check passed.
 */
export interface Destroyable {
  destroy(): unknown
}

export class Scope {
  readonly #held: Destroyable[] = []

  /** Holds something until the check ends. */
  hold<T extends Destroyable>(held: T): T {
    this.#held.push(held)
    return held
  }

  release(): void {
    for (const held of this.#held.splice(0)) held.destroy()
  }
}

/** Runs `body` with a scope; rejects when it has not settled in `deadlineMs`. */
export async function runScoped<T>(
  deadlineMs: number,
  body: (scope: Scope) => Promise<T>,
): Promise<T> {
  const scope = new Scope()
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${deadlineMs / 1000} s`)), deadlineMs)
  })
  const work = body(scope)
  // After the deadline nobody waits for it any more; what it was waiting for is destroyed below.
  work.catch(() => {})
  try {
    return await Promise.race([work, deadline])
  } finally {
    clearTimeout(timer)
    scope.release()
  }
}
