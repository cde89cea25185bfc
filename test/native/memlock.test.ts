/** A small RLIMIT_MEMLOCK, of which libuv takes up to 64 KiB: the ring shrinks until it and its buffers fit, and only then it is refused. */
import type { NativeStats } from '../../src/core/binding'
import { errno, kinds } from './rig'
import { run } from './run-child'

/** The ring under the limit, or the error; undefined where it cannot be tried. */
async function ringWith(
  kibibytes: number,
): Promise<(NativeStats & { error?: number }) | undefined> {
  const ended = await run('limited', 'uring', {
    ulimit: `ulimit -l ${kibibytes}`,
    asOrdinaryUser: true,
  })
  if (ended.code === 0) return ended.said[0] as NativeStats
  console.warn(`not tried, an ordinary user cannot run this: ${ended.stderr.slice(0, 300)}`)
  return undefined
}

const describeUring = kinds.includes('uring') ? describe : describe.skip

describeUring('with RLIMIT_MEMLOCK', () => {
  test.each([128, 256])('of %i KiB the ring is smaller than was asked for', async (kibibytes) => {
    const ring = await ringWith(kibibytes)
    if (ring === undefined) return
    expect(ring.submissionEntries).toBeGreaterThanOrEqual(8)
    expect(ring.submissionEntries).toBeLessThan(4096)
    expect(ring.completionEntries).toBeLessThan(8192)
  })

  test('the more there is, the larger it is', async () => {
    const rings = [await ringWith(128), await ringWith(512)]
    if (rings.includes(undefined)) return
    expect(rings[0]!.submissionEntries).toBeLessThan(rings[1]!.submissionEntries)
  })

  test('of 0 there is none', async () => {
    const ring = await ringWith(0)
    if (ring === undefined) return
    expect(ring.error).toBe(errno('ENOMEM'))
  })
})
