/** Faults that the harness's own checks catch. */
import type { Fault } from '../fault'

export const harnessFaults: readonly Fault[] = [
  {
    name: 'same-pair-twice',
    imitates: 'a test fixture that keeps one connection for all checks',
    caughtBy: { 'H-1': /handed out twice/ },
    spoil(oracle) {
      let kept: ReturnType<typeof oracle.makePair> | undefined
      const makePair: typeof oracle.makePair = (options) => {
        kept ??= oracle.makePair(options).then(({ a, b, stop }) => ({
          a,
          b,
          stop: () => {
            kept = undefined
            return stop()
          },
        }))
        return kept
      }
      return { ...oracle, makePair }
    },
  },
]
