/** Turns of the event loop, for what has no event of its own. */

/** A turn: what is pending in this one has been delivered afterwards. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn()
}
