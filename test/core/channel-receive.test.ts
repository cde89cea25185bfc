/** The receive side of a channel: order, pauses, termination, buffers, and whose memory is whose (R1, R2). */
import { Op } from '../../src/core/binding'
import type { Block } from '../../src/core/block'
import { Channel } from '../../src/core/channel'
import { errno } from './scripted-kernel'
import { Recorder, makeChannel } from './fixtures'
import type { ChannelFixture } from './fixtures'

const ECANCELED = errno('ECANCELED')
const ECONNRESET = errno('ECONNRESET')
const ENOBUFS = errno('ENOBUFS')

let fixture: ChannelFixture

/** Paused, with 'one' kept and the cancel asked for. */
function pausedWithData(): ChannelFixture {
  const { kernel, channel, id, seen } = fixture
  channel.readStart()
  channel.readStop()
  kernel.deliver(kernel.received(id, 'one'))
  expect(seen.drain()).toEqual([])
  expect(kernel.isCancelRequested(id, 'receive')).toBe(true)
  return fixture
}

beforeEach(() => {
  fixture = makeChannel()
})

afterEach(() => {
  fixture.kernel.assertClean()
  expect(fixture.kernel.uncaught).toEqual([])
})

describe('reading', () => {
  test('nothing is received before readStart', () => {
    const { kernel } = fixture
    expect(kernel.taken()).toEqual([])
    expect(kernel.providedCount).toBe(0)
  })

  test('readStart arms one receive, however often it is called', () => {
    const { kernel, channel } = fixture
    channel.readStart()
    channel.readStart()
    expect(kernel.taken()).toEqual(['receive'])
    channel.readStart()
    expect(kernel.taken()).toEqual([])
  })

  test('data is delivered in order, in the call that carried it', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'), kernel.received(id, 'two'))
    kernel.deliver(kernel.received(id, 'three'))
    expect(seen.events).toEqual(['bytes one', 'bytes two', 'bytes three'])
    expect(kernel.taken()).toEqual([])
  })

  test.each([
    ['the end', 0, 'end'],
    ['an error', ECONNRESET, `receive error ${ECONNRESET}`],
  ])(
    '%s is told once, in the batch that brought it, and nothing is armed after it',
    (_w, result, told) => {
      const { kernel, channel, id, seen } = fixture
      channel.readStart()
      kernel.deliver(kernel.received(id, 'last'), kernel.receiveEnded(id, result))
      expect(seen.events).toEqual(['bytes last', told])
      channel.readStop()
      channel.readStart()
      kernel.wakeAll()
      expect(seen.events).toEqual(['bytes last', told])
      expect(kernel.count(id, 'receive')).toBe(1)
    },
  )

  test('data without MORE re-arms once, before the handler runs', () => {
    const { kernel, channel, id, seen } = fixture
    let isArmedAtCallback = false
    seen.onEvent = () => (isArmedAtCallback = kernel.taken().includes('receive'))
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one', false))
    expect(isArmedAtCallback).toBe(true)
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.received(id, 'two'))
    expect(seen.events).toEqual(['bytes one', 'bytes two'])
  })

  test('a handler that stops reading in the middle of a batch gets no more of it', () => {
    const { kernel, channel, id, seen } = fixture
    seen.onEvent = () => channel.readStop()
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'), kernel.received(id, 'two'))
    expect(seen.events).toEqual(['bytes one'])
  })

  test('an end behind bytes that led to readStop waits for readStart', () => {
    const { kernel, channel, id, seen } = fixture
    seen.onEvent = () => channel.readStop()
    channel.readStart()
    kernel.deliver(kernel.received(id, 'last'), kernel.receiveEnded(id, 0))
    kernel.wakeAll()
    expect(seen.drain()).toEqual(['bytes last'])
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['end'])
  })

  test('a replaced handler gets everything from then on, the first one nothing', () => {
    const { kernel, channel, driver, id, seen } = fixture
    const second = new Recorder(driver)
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'))
    channel.handler = second
    kernel.deliver(kernel.received(id, 'two'))
    kernel.deliver(kernel.receiveEnded(id, 0))
    expect(seen.events).toEqual(['bytes one'])
    expect(second.events).toEqual(['bytes two', 'end'])
  })
})

describe('paused', () => {
  test('readStop alone costs no command: the first arrival asks for the cancel', () => {
    const { kernel, channel, id } = fixture
    channel.readStart()
    kernel.taken()
    channel.readStop()
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.received(id, 'one'))
    expect(kernel.taken()).toEqual(['cancel receive'])
  })

  test('cancel is asked for once, whatever still arrives, and all of it is kept', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    kernel.deliver(kernel.received(id, 'two'), kernel.received(id, 'three'))
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.received(id, 'four'), kernel.receiveEnded(id, ECANCELED))
    expect(kernel.taken()).toEqual([])
    expect(seen.events).toEqual([])
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one', 'bytes two', 'bytes three', 'bytes four'])
    expect(kernel.taken()).toEqual(['receive'])
  })

  test('nothing is delivered from inside readStart', () => {
    const { channel, seen } = pausedWithData()
    channel.readStart()
    expect(seen.events).toEqual([])
    fixture.kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one'])
  })

  test('one kept item in each wake, so that ticks run between them (E2)', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    kernel.deliver(kernel.received(id, 'two'))
    channel.readStart()
    kernel.wake()
    expect(seen.drain()).toEqual(['bytes one'])
    kernel.wake()
    expect(seen.drain()).toEqual(['bytes two'])
  })

  test.each([
    ['the end', 0, 'end'],
    ['an error', ECONNRESET, `receive error ${ECONNRESET}`],
  ])('%s is kept behind the data it follows', (_what, result, event) => {
    const { kernel, channel, id, seen } = pausedWithData()
    kernel.deliver(kernel.received(id, 'two'), kernel.receiveEnded(id, result))
    expect(seen.events).toEqual([])
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one', 'bytes two', event])
    expect(kernel.count(id, 'receive')).toBe(1)
  })

  test('an end without data while paused (EOF) is kept, too', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    channel.readStop()
    kernel.deliver(kernel.receiveEnded(id, 0))
    expect(seen.events).toEqual([])
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['end'])
  })

  test('what arrives while kept data is being delivered comes after it', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    kernel.deliver(kernel.received(id, 'two'))
    channel.readStart()
    kernel.wake()
    kernel.deliver(kernel.received(id, 'three'), kernel.receiveEnded(id, 0))
    expect(seen.events).toEqual(['bytes one'])
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one', 'bytes two', 'bytes three', 'end'])
  })

  test('a pause during the delivery of kept data keeps the rest for the next readStart', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    kernel.deliver(kernel.received(id, 'two'), kernel.received(id, 'three'))
    seen.onEvent = () => channel.readStop()
    channel.readStart()
    kernel.wakeAll()
    expect(seen.drain()).toEqual(['bytes one'])
    channel.readStart()
    channel.readStop()
    kernel.wakeAll()
    expect(seen.drain()).toEqual([])
    channel.readStart()
    kernel.wakeAll()
    expect(seen.drain()).toEqual(['bytes two'])
  })

  test('readStart, readStop and readStart in one tick deliver kept data once', () => {
    const { channel, seen } = pausedWithData()
    channel.readStart()
    channel.readStop()
    channel.readStart()
    fixture.kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one'])
  })

  test('resumed before the cancelled receive has ended: re-armed exactly once, after its end', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    channel.readStart()
    kernel.wakeAll()
    expect(kernel.taken()).toEqual([])
    // Data first, then the answer to the cancel: a cancel that threw data away would lose 'two'.
    kernel.deliver(kernel.received(id, 'two'), kernel.receiveEnded(id, ECANCELED))
    expect(kernel.taken()).toEqual(['receive'])
    kernel.deliver(kernel.received(id, 'three'))
    expect(kernel.taken()).toEqual([])
    expect(seen.events).toEqual(['bytes one', 'bytes two', 'bytes three'])
  })

  test('the cancelled receive ends between readStart and the delivery: re-armed exactly once', () => {
    const { kernel, channel, id } = pausedWithData()
    channel.readStart()
    kernel.deliver(kernel.receiveEnded(id, ECANCELED))
    kernel.wakeAll()
    expect(kernel.taken()).toEqual(['receive'])
  })

  test('a cancel that came too late: the receive ended by itself with data, nothing is lost', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    kernel.deliver(kernel.received(id, 'two', false))
    expect(kernel.taken()).toEqual([])
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one', 'bytes two'])
    expect(kernel.taken()).toEqual(['receive'])
  })

  test('data without MORE while paused needs no cancel, and arms nothing (R2)', () => {
    const { kernel, channel, id } = fixture
    channel.readStart()
    channel.readStop()
    kernel.deliver(kernel.received(id, 'one', false))
    expect(kernel.taken()).toEqual([])
  })
})

describe('buffers', () => {
  test('those that come back are provided again: many receives need no more memory', () => {
    const { kernel, channel, id } = fixture
    channel.readStart()
    const provided = kernel.providedCount
    expect(provided).toBeGreaterThan(0)
    for (let i = 0; i < 200; i++) kernel.deliver(kernel.received(id, 'x'))
    expect(kernel.providedCount).toBe(provided)
    expect(kernel.registeredCount).toBe(provided)
  })

  test('those that are held are not waited for: others take their place', () => {
    const { kernel, channel, id, seen } = fixture
    const held: Block[] = []
    jest.spyOn(seen, 'onBlock').mockImplementation((block) => void held.push(block))
    channel.readStart()
    for (let i = 0; i < 500; i++) kernel.deliver(kernel.received(id, `${i}`))
    expect(held).toHaveLength(500)
    held.forEach((block, i) => {
      expect(block.bytes.toString('latin1', 0, `${i}`.length)).toBe(`${i}`)
    })
    expect(new Set(held).size).toBe(500)
    expect(kernel.providedCount).toBeGreaterThan(0)
    for (const block of held) fixture.driver.blocks.releaseReceived(block)
    expect(kernel.providedCount).toBeLessThanOrEqual(64)
  })

  test('-ENOBUFS is no error: more are provided, and the receive is armed again, once', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    const before = kernel.providedCount
    kernel.deliver(kernel.received(id, 'one'), kernel.receiveEnded(id, ENOBUFS))
    expect(kernel.taken()).toEqual(['receive'])
    expect(kernel.providedCount).toBeGreaterThan(before)
    kernel.deliver(kernel.received(id, 'two'))
    expect(seen.events).toEqual(['bytes one', 'bytes two'])
  })

  test('-ENOBUFS again and again never provides more than the driver may', () => {
    const { kernel, channel, id } = makeChannel({ receiveBuffers: 20 })
    channel.readStart()
    expect(kernel.providedCount).toBe(16)
    for (let i = 0; i < 10; i++) {
      kernel.deliver(kernel.receiveEnded(id, ENOBUFS))
      expect(kernel.isInFlight(id, 'receive')).toBe(true)
    }
    expect(kernel.providedCount).toBe(20)
    kernel.assertClean()
  })

  test('-ENOBUFS while paused arms nothing until readStart', () => {
    const { kernel, channel, id } = fixture
    channel.readStart()
    channel.readStop()
    kernel.deliver(kernel.receiveEnded(id, ENOBUFS))
    expect(kernel.taken()).toEqual([])
    channel.readStart()
    expect(kernel.taken()).toEqual(['receive'])
  })

  test('where memory has run out a receive into memory of the caller waits for a block no longer than others', () => {
    const { kernel, channel, id, driver } = fixture
    let provided = (): void => {}
    jest.spyOn(driver.blocks, 'whenProvided').mockImplementation((callback) => {
      provided = callback
    })
    channel.readStart()
    kernel.deliver(kernel.receiveEnded(id, ENOBUFS))
    channel.readStop()
    let advance = (): void => {}
    jest.spyOn(driver, 'defer').mockImplementation((callback) => {
      advance = callback
    })
    channel.receiveInto(driver.blocks.acquire(4096), 4096, 1, () => {})
    advance()
    // The scripted kernel has no receive into memory: what it would be told is enough.
    const commands = jest.spyOn(driver, 'queue').mockImplementation(() => {})
    provided()
    expect(commands.mock.calls.map(([opcode]) => opcode)).toEqual([Op.receiveInto])
    jest.restoreAllMocks()
  })

  test('where memory has run out a receive waits until a block comes back, and so do all others', () => {
    const { kernel, channel, id, seen, driver } = fixture
    // Every block there may be, in the hands of one reader.
    const held: Block[] = []
    jest.spyOn(seen, 'onBlock').mockImplementation((block) => void held.push(block))
    channel.readStart()
    while (kernel.providedCount > 0) kernel.deliver(kernel.received(id, 'x'))
    kernel.deliver(kernel.receiveEnded(id, ENOBUFS))
    const otherId = kernel.endpoint()
    const other = new Recorder(driver)
    new Channel(driver, otherId, other).readStart()
    kernel.deliver(kernel.receiveEnded(otherId, ENOBUFS))
    expect(kernel.isInFlight(id, 'receive')).toBe(false)
    expect(kernel.isInFlight(otherId, 'receive')).toBe(false)
    for (const block of held.splice(0, 2)) driver.blocks.releaseReceived(block)
    expect(kernel.isInFlight(id, 'receive')).toBe(true)
    kernel.deliver(kernel.received(otherId, 'served'))
    expect(other.events).toEqual(['bytes served'])
  })

  test('closed while it waits for a buffer, it arms nothing when one comes', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const held: Block[] = []
    jest.spyOn(seen, 'onBlock').mockImplementation((block) => void held.push(block))
    channel.readStart()
    while (kernel.providedCount > 0) kernel.deliver(kernel.received(id, 'x'))
    kernel.deliver(kernel.receiveEnded(id, ENOBUFS))
    channel.close(false, seen.closed)
    kernel.taken()
    for (const block of held) driver.blocks.releaseReceived(block)
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual(['closed'])
  })
})

describe('takeBytes', () => {
  /** What takeBytes makes of blocks that brought these bytes. */
  function take(...texts: string[]): Buffer[] {
    const { kernel, channel, id, seen } = fixture
    const taken: Buffer[] = []
    jest
      .spyOn(seen, 'onBlock')
      .mockImplementation((block, length) => void taken.push(channel.takeBytes(block, length)))
    channel.readStart()
    for (const text of texts) kernel.deliver(kernel.received(id, text))
    return taken
  }

  test.each([
    ['few', 10],
    ['half a block', 32768],
    ['a whole block', 65536],
  ])('of %s bytes is the caller’s: what arrives later does not change it', (_what, length) => {
    const texts = Array.from({ length: 40 }, (_, i) => String.fromCharCode(48 + i).repeat(length))
    const taken = take(...texts)
    expect(taken.map((bytes) => bytes.toString('latin1') === texts.shift())).toEqual(
      Array(40).fill(true),
    )
  })

  test('of few bytes does not keep a whole block', () => {
    const [bytes] = take('few')
    expect(bytes!.buffer.byteLength).toBe(3)
  })

  test('of many bytes may be transferred, and the next ones come into other memory', () => {
    const [first] = take('a'.repeat(40_000))
    const theirs = structuredClone(first!.buffer, { transfer: [first!.buffer as ArrayBuffer] })
    const { kernel, id } = fixture
    for (let i = 0; i < 40; i++) kernel.deliver(kernel.received(id, 'b'.repeat(50_000)))
    expect(Buffer.from(theirs as ArrayBuffer, 0, 40_000).toString()).toBe('a'.repeat(40_000))
  })
})

describe('keep', () => {
  test('a block given back comes first, before what arrived later', () => {
    const { kernel, channel, id, seen } = fixture
    const kept = jest.spyOn(seen, 'onBlock').mockImplementationOnce((block, length) => {
      channel.readStop()
      channel.keep(block, length)
    })
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'), kernel.received(id, 'two'))
    expect(kernel.taken()).toEqual(['cancel receive'])
    kept.mockRestore()
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one', 'bytes two'])
  })

  test.each([
    [0, 'end'],
    [errno('ETIMEDOUT'), `receive error ${errno('ETIMEDOUT')}`],
  ])('an end given back with status %i is told again after a kept block', (status, event) => {
    const { kernel, channel, id, seen } = fixture
    jest.spyOn(seen, 'onBlock').mockImplementationOnce((block, length) => {
      channel.readStop()
      channel.keep(block, length)
    })
    channel.readStart()
    kernel.deliver(kernel.received(id, 'tail'))
    channel.unshiftEnd(status)
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes tail', event])
  })
})

describe('closed under a receive', () => {
  test('late completions are dropped: nothing is delivered after close(), and no buffer is lost', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    const provided = kernel.providedCount
    channel.close(false, seen.closed)
    kernel.deliver(kernel.received(id, 'late'))
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.received(id, 'later'), kernel.receiveEnded(id, 0), kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['closed'])
    expect(kernel.providedCount).toBe(provided)
  })

  test('kept data is not delivered after close(), not even by a wake that was due; its buffers come back', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    const provided = kernel.providedCount
    channel.readStart()
    channel.close(false, seen.closed)
    kernel.wakeAll()
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['closed'])
    expect(kernel.providedCount).toBe(provided + 1)
  })

  test.each([
    ['kept for nobody', true, true],
    ['all delivered', false, false],
  ])('with bytes %s, the peer sees a reset: %s', (_what, isPaused, isReset) => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    if (isPaused) channel.readStop()
    kernel.deliver(kernel.received(id, 'bytes'))
    channel.close(false, seen.closed)
    expect(kernel.isReset(id)).toBe(isReset)
    kernel.deliver(kernel.closed(id))
  })

  test('with bytes on their way to it that nobody has heard of, the peer sees a reset', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.deliver(kernel.received(id, 'seen'))
    const unheard = kernel.received(id, 'unheard of')
    channel.close(false, seen.closed)
    expect(kernel.isReset(id)).toBe(true)
    kernel.deliver(unheard, kernel.closed(id))
    expect(seen.events).toEqual(['bytes seen', 'closed'])
  })

  test('close() in the handler arms nothing more, though the receive has ended', () => {
    const { kernel, channel, id, seen } = fixture
    seen.onEvent = (event) => {
      if (event !== 'closed') channel.close(false, seen.closed)
    }
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'), kernel.receiveEnded(id, ENOBUFS))
    expect(kernel.count(id, 'receive')).toBe(1)
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual(['bytes one', 'closed'])
  })

  test('readStart and readStop after close() do nothing', () => {
    const { kernel, channel, id, seen } = fixture
    channel.close(false, seen.closed)
    channel.readStart()
    channel.readStop()
    channel.readStart()
    expect(kernel.count(id, 'receive')).toBe(0)
    kernel.deliver(kernel.closed(id))
    channel.readStart()
    expect(kernel.taken()).toEqual([])
  })

  test('keep() after close() sends no command', () => {
    const { kernel, channel, id, seen } = fixture
    jest.spyOn(seen, 'onBlock').mockImplementationOnce((block, length) => {
      channel.close(false, seen.closed)
      channel.keep(block, length)
    })
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'))
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.closed(id))
  })
})
