/** The send arena's book-keeping, against a model that knows every range in use. */
import { Arena } from '../../src/core/arena'
import { seeded } from './fixtures'

const classes = [256, 1024, 4096, 16384, 65536]
const pageBytes = 65536

const makeArena = (pages: number): Arena => new Arena(new Uint8Array(pages * pageBytes))

function allocateAll(arena: Arena, length: number): number[] {
  const blocks: number[] = []
  for (let block = arena.allocate(length); block >= 0; block = arena.allocate(length)) {
    blocks.push(block)
  }
  return blocks
}

function expectDisjoint(blocks: readonly number[], bytes: number, end: number): void {
  const sorted = [...blocks].sort((a, b) => a - b)
  sorted.forEach((block, index) => {
    expect(block).toBeGreaterThanOrEqual(0)
    expect(block + bytes).toBeLessThanOrEqual(sorted[index + 1] ?? end)
  })
}

describe('arena', () => {
  test.each(classes)(
    'a page holds as many blocks of %i bytes as fit, and none overlap',
    (bytes) => {
      const arena = makeArena(3)
      const blocks = allocateAll(arena, bytes)
      expect(blocks).toHaveLength((3 * pageBytes) / bytes)
      expectDisjoint(blocks, bytes, 3 * pageBytes)
      expect(arena.bytesInUse).toBe(3 * pageBytes)
    },
  )

  test.each(classes)('%i bytes fit their class and one more byte takes the next', (bytes) => {
    const arena = makeArena(2)
    arena.allocate(bytes)
    expect(arena.bytesInUse).toBe(bytes)
    if (bytes === Arena.blockBytesMax) return
    arena.allocate(bytes + 1)
    expect(arena.bytesInUse).toBe(bytes + classes[classes.indexOf(bytes) + 1]!)
  })

  test('the smallest block serves a single byte', () => {
    const arena = makeArena(1)
    expect(arena.allocate(1)).toBe(0)
    expect(arena.bytesInUse).toBe(256)
  })

  test('a full arena answers -1 in every class, and again after a release it answers a block', () => {
    const arena = makeArena(2)
    const [first] = allocateAll(arena, 65536)
    for (const bytes of classes) expect(arena.allocate(bytes)).toBe(-1)
    arena.release(first!)
    for (const bytes of [256, 256, 256]) expect(arena.allocate(bytes)).toBeGreaterThanOrEqual(0)
    expect(arena.allocate(65536)).toBe(-1)
  })

  test('an arena smaller than a page has no blocks', () => {
    expect(new Arena(new Uint8Array(1000)).allocate(1)).toBe(-1)
  })

  test('an arena writes to the memory it was given, at its own offset', () => {
    const memory = new ArrayBuffer(2 * pageBytes + 512)
    const arena = new Arena(new Uint8Array(memory, 512, 2 * pageBytes))
    arena.bytes[arena.allocate(1)] = 77
    expect(new Uint8Array(memory)[512]).toBe(77)
  })

  test.each(classes)('a double release of a %i byte block throws', (bytes) => {
    const arena = makeArena(2)
    const block = arena.allocate(bytes)
    arena.allocate(bytes)
    arena.release(block)
    expect(() => arena.release(block)).toThrow(/released once/)
    expect(arena.bytesInUse).toBe(bytes)
  })

  test('a release of what was never allocated throws: an offset inside a block is not the block', () => {
    const arena = makeArena(2)
    const block = arena.allocate(16384)
    for (const offset of [block + 256, block + 16384, pageBytes, 8 * pageBytes, -1]) {
      expect(() => arena.release(offset)).toThrow(/released once/)
    }
    expect(arena.bytesInUse).toBe(16384)
  })

  test('a double release throws also after its page served another class', () => {
    const arena = makeArena(1)
    const [first, second] = [arena.allocate(256), arena.allocate(256)]
    arena.release(first)
    arena.release(second)
    const large = arena.allocate(16384)
    expect(() => arena.release(second)).toThrow(/released once/)
    arena.release(large)
  })

  test('one page serves every class in turn: an empty page is not kept from the others', () => {
    const arena = makeArena(1)
    for (let round = 0; round < 3; round++) {
      for (const bytes of classes) {
        const blocks = allocateAll(arena, bytes)
        expect(blocks).toHaveLength(pageBytes / bytes)
        for (const block of blocks) arena.release(block)
        expect(arena.bytesInUse).toBe(0)
      }
    }
  })

  test('a page with one block in use is not given to another class', () => {
    const arena = makeArena(1)
    const blocks = allocateAll(arena, 256)
    for (const block of blocks.slice(1)) arena.release(block)
    expect(arena.allocate(1024)).toBe(-1)
    arena.release(blocks[0]!)
    expect(arena.allocate(1024)).toBeGreaterThanOrEqual(0)
  })

  test('all pages come back from a class that has used them all', () => {
    const arena = makeArena(4)
    for (const block of allocateAll(arena, 256)) arena.release(block)
    expect(allocateAll(arena, 65536)).toHaveLength(4)
  })

  test('an empty page behind one in use goes to whoever needs a page', () => {
    const arena = makeArena(2)
    const blocks = allocateAll(arena, 16384)
    const [first, second] = [blocks.slice(0, 4), blocks.slice(4)]
    for (const block of first) arena.release(block)
    // Now the second page heads the class's list, with blocks in use.
    arena.release(second[0]!)
    expect(arena.allocate(65536)).toBeGreaterThanOrEqual(0)
  })

  test.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'random allocations and releases agree with the model (seed %i)',
    (seed) => {
      const random = seeded(seed)
      const pages = 1 + random(6)
      const arena = makeArena(pages)
      const inUse = new Map<number, number>()
      /** Which block each 256 bytes belong to; -1 when free. */
      const owner = new Int32Array((pages * pageBytes) / 256).fill(-1)
      let bytesInUse = 0
      // Seeds lean to filling or to emptying, so that both ends are reached.
      const lean = 35 + random(30)
      for (let step = 0; step < 1000; step++) {
        if (random(100) < lean) {
          const length = 1 + random(classes[random(classes.length)]!)
          const bytes = classes.find((size) => size >= length)!
          const block = arena.allocate(length)
          if (block < 0) {
            // Refused although a whole page is free would be a leak.
            for (let page = 0; page < pages; page++) {
              const free = owner.subarray(page * 256, page * 256 + 256).every((one) => one === -1)
              if (free) throw new Error(`refused ${length} bytes while page ${page} is free`)
            }
            continue
          }
          for (let at = block / 256; at < (block + bytes) / 256; at++) {
            if (owner[at] !== -1) throw new Error(`${block} overlaps ${owner[at]}`)
            owner[at] = block
          }
          inUse.set(block, bytes)
          bytesInUse += bytes
        } else if (inUse.size > 0) {
          const block = [...inUse.keys()][random(inUse.size)]!
          const bytes = inUse.get(block)!
          arena.release(block)
          owner.fill(-1, block / 256, (block + bytes) / 256)
          inUse.delete(block)
          bytesInUse -= bytes
        }
        if (arena.bytesInUse !== bytesInUse) throw new Error(`counts differ at step ${step}`)
      }
      for (const block of inUse.keys()) arena.release(block)
      expect(arena.bytesInUse).toBe(0)
      expect(allocateAll(arena, 65536)).toHaveLength(pages)
    },
  )
})
