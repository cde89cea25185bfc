/** Numbers from a seed: the same on every machine and every Node. Owns nothing else. */

export interface Random {
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number
  /** True in so many of 100 cases. */
  chance(percent: number): boolean
  pick<T>(values: readonly T[]): T
  /** One of the values, as often as its weight says. */
  weighted<T>(values: readonly (readonly [weight: number, value: T])[]): T
}

/** A linear congruential generator whose low bits are not used. */
export function random(seed: number): Random {
  let state = (Math.imul(seed, 2654435761) ^ 0x5bd1e995) >>> 0
  const below = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  // Neighbouring seeds differ little in their first numbers.
  for (let i = 0; i < 5; i++) below(2)
  return {
    below,
    chance: (percent) => below(100) < percent,
    pick: (values) => values[below(values.length)]!,
    weighted(values) {
      let left = below(values.reduce((sum, [weight]) => sum + weight, 0))
      for (const [weight, value] of values) {
        if (left < weight) return value
        left -= weight
      }
      throw new Error('no weights')
    },
  }
}
