/** Faults that the harness's own checks catch. */
import type { Fault } from '../fault'

export const harnessFaults: readonly Fault[] = [
  {
    name: 'same-pair-twice',
    imitates: 'a test fixture that keeps a connection; here only for its second user',
    caughtBy: { 'H-1': /handed out twice/ },
    spoil(oracle) {
      let made = 0
      let first: ReturnType<typeof oracle.makePair>
      const makePair: typeof oracle.makePair = (options) => {
        made++
        if (made === 1) first = oracle.makePair(options)
        return made <= 2 ? first : oracle.makePair(options)
      }
      return { ...oracle, makePair }
    },
  },
]
