/** The receive side of a channel: order, pauses, termination, and what a hostile kernel may say (R1, R2). */
import { Op } from '../../src/core/binding'
import { Channel } from '../../src/core/channel'
import { errno } from './scripted-binding'
import { Recorder, makeChannel, settle } from './fixtures'
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

  test('the end is told once, and nothing is armed after it', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.deliver(kernel.received(id, 'last'), kernel.receiveEnded(id, 0))
    channel.readStop()
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes last', 'end'])
    expect(kernel.count(id, 'receive')).toBe(1)
  })

  test('an error is told once, and nothing is armed after it', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.deliver(kernel.received(id, 'last'), kernel.receiveEnded(id, errno('ECONNRESET')))
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes last', `receive error ${errno('ECONNRESET')}`])
    expect(kernel.count(id, 'receive')).toBe(1)
  })

  test('data without MORE re-arms once, before the handler runs', () => {
    const { kernel, channel, id, seen } = fixture
    let queuedAtCallback = -1
    seen.onEvent = () => (queuedAtCallback = kernel.commands[0]!)
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one', false))
    expect(queuedAtCallback).toBe(1)
    expect(kernel.taken()).toEqual(['receive'])
    kernel.deliver(kernel.received(id, 'two'))
    expect(seen.events).toEqual(['bytes one', 'bytes two'])
  })

  test('-ENOBUFS is no error: the receive is armed again, once', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'), kernel.receiveEnded(id, ENOBUFS))
    expect(kernel.taken()).toEqual(['receive'])
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

  test('a replaced handler gets everything from then on, the first one nothing', () => {
    const { kernel, channel, id, seen } = fixture
    const second = new Recorder()
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'))
    channel.handler = second
    kernel.deliver(kernel.received(id, 'two'))
    kernel.deliver(kernel.receiveEnded(id, 0))
    expect(seen.events).toEqual(['bytes one'])
    expect(second.events).toEqual(['bytes two', 'end'])
  })
})

// Under libuv a turn reads once: the end is seen in the next one, after the immediates of this.
describe.each([
  ['end of stream', 0, 'end'],
  ['reset', ECONNRESET, `receive error ${ECONNRESET}`],
])('the %s in the turn that brought bytes', (_what, result, told) => {
  function deliverBoth(): ChannelFixture {
    const { kernel, channel, id } = fixture
    channel.readStart()
    kernel.deliver(kernel.received(id, 'last'), kernel.receiveEnded(id, result))
    return fixture
  }

  test('comes after the immediates of what the bytes led to, and keeps the loop alive', async () => {
    const { kernel, seen } = fixture
    seen.onEvent = (event) => {
      if (event === 'bytes last') setImmediate(() => seen.note('immediate'))
    }
    deliverBoth()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes last'])
    expect(kernel.isRef).toBe(true)
    await settle()
    expect(seen.events).toEqual(['bytes last', 'immediate'])
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes last', 'immediate', told])
    expect(kernel.isRef).toBe(false)
    expect(kernel.count(fixture.id, 'receive')).toBe(1)
  })

  test('waits for readStart when the bytes led to readStop', async () => {
    const { kernel, channel, seen } = fixture
    seen.onEvent = () => channel.readStop()
    deliverBoth()
    await settle()
    kernel.wakeAll()
    expect(seen.drain()).toEqual(['bytes last'])
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual([told])
  })

  test('is told once when reading stops and starts meanwhile', async () => {
    const { kernel, channel, seen } = deliverBoth()
    channel.readStop()
    channel.readStart()
    await settle()
    kernel.wakeAll()
    await settle()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes last', told])
  })

  test('is not told to a channel that is closed meanwhile', async () => {
    const { kernel, channel, id, seen } = deliverBoth()
    channel.close(false, seen.closed)
    await settle()
    kernel.wakeAll()
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual(['bytes last', 'closed'])
    expect(kernel.isRef).toBe(false)
  })

  test('is told at once when it is of a later turn', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.deliver(kernel.received(id, 'last'))
    kernel.deliver(kernel.receiveEnded(id, result))
    expect(seen.events).toEqual(['bytes last', told])
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
    // The pool was overwritten after each batch: bytes kept without a copy would come out as noise.
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
    ['an error', errno('ECONNRESET'), `receive error ${errno('ECONNRESET')}`],
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

  test('-ENOBUFS while paused arms nothing until readStart', () => {
    const { kernel, channel, id } = fixture
    channel.readStart()
    channel.readStop()
    kernel.deliver(kernel.receiveEnded(id, ENOBUFS))
    expect(kernel.taken()).toEqual([])
    channel.readStart()
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

describe('keep', () => {
  test('bytes given back come first, before what arrived later', () => {
    const { kernel, channel, id, seen } = fixture
    const kept = jest.spyOn(seen, 'onBytes').mockImplementationOnce((memory, offset, length) => {
      channel.readStop()
      channel.keep(memory, offset + 1, length - 1)
    })
    channel.readStart()
    kernel.deliver(kernel.received(id, 'xone'), kernel.received(id, 'two'))
    expect(kernel.taken()).toEqual(['cancel receive'])
    kept.mockRestore()
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes one', 'bytes two'])
  })

  test.each([
    [0, 'end'],
    [errno('ETIMEDOUT'), `receive error ${errno('ETIMEDOUT')}`],
  ])('an end given back with status %i is told again after kept bytes', (status, event) => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.deliver(kernel.receiveEnded(id, status))
    expect(seen.drain()).toEqual([event])
    channel.readStop()
    channel.keep(Buffer.from('tail'), 0, 4)
    channel.keepEnd(status)
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes tail', event])
  })
})

describe('closed under a receive', () => {
  test('late completions are dropped: nothing is delivered after close()', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    kernel.taken()
    channel.close(false, seen.closed)
    kernel.deliver(kernel.received(id, 'late'))
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.received(id, 'later'), kernel.receiveEnded(id, 0), kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['closed'])
    expect(fixture.driver.stats().strays).toBe(0)
  })

  test('kept data is not delivered after close(), not even by a wake that was due', () => {
    const { kernel, channel, id, seen } = pausedWithData()
    channel.readStart()
    channel.close(false, seen.closed)
    kernel.wakeAll()
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['closed'])
  })

  test('close() in the handler arms nothing more, though the receive has ended', () => {
    const { kernel, channel, id, seen } = fixture
    seen.onEvent = (event) => {
      if (event !== 'closed') channel.close(false, seen.closed)
    }
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'), kernel.receiveEnded(id, ENOBUFS))
    expect(kernel.taken()).toEqual(['close'])
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual(['bytes one', 'closed'])
  })

  test('readStart and readStop after close() do nothing', () => {
    const { kernel, channel, id, seen } = fixture
    channel.close(false, seen.closed)
    channel.readStart()
    channel.readStop()
    channel.readStart()
    expect(kernel.taken()).toEqual(['close'])
    kernel.deliver(kernel.closed(id))
    channel.readStart()
    expect(kernel.taken()).toEqual([])
  })

  test('keep() after close() sends no command', () => {
    const { kernel, channel, id, seen } = fixture
    jest.spyOn(seen, 'onBytes').mockImplementationOnce((memory, offset, length) => {
      channel.close(false, seen.closed)
      channel.keep(memory, offset, length)
    })
    channel.readStart()
    kernel.deliver(kernel.received(id, 'one'))
    expect(kernel.taken()).toEqual(['close'])
  })

  test('a kernel that never ends the receive: close waits for the closed completion alone', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const other = new Recorder()
    const otherId = kernel.endpoint()
    new Channel(driver, otherId, other).readStart()
    channel.readStart()
    kernel.taken()
    channel.close(false, seen.closed)
    kernel.taken()
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.received(otherId, 'goes on'))
    expect(other.events).toEqual(['bytes goes on'])
    kernel.deliver(kernel.onlyClosed(id))
    expect(seen.events).toEqual(['closed'])
  })
})

describe('duplicated and stray completions', () => {
  test('a second end changes nothing and is counted', () => {
    const { kernel, channel, id, seen, driver } = fixture
    channel.readStart()
    const end = kernel.receiveEnded(id, 0)
    kernel.deliver(end, end)
    expect(seen.events).toEqual(['end'])
    expect(driver.stats().strays).toBe(1)
  })

  test('a second -ECANCELED while paused changes nothing and is counted', () => {
    const { kernel, id, seen, driver } = pausedWithData()
    const end = kernel.receiveEnded(id, ECANCELED)
    kernel.deliver(end, end)
    expect(kernel.taken()).toEqual([])
    expect(seen.events).toEqual([])
    expect(driver.stats().strays).toBe(1)
  })

  test('data without a receive in flight is dropped and counted', () => {
    const { kernel, id, seen, driver } = fixture
    kernel.deliver({ opcode: Op.receive, id, result: 4, more: true })
    expect(seen.events).toEqual([])
    expect(driver.stats().strays).toBe(1)
  })

  test('an opcode that is no completion is dropped and counted', () => {
    const { kernel, id, driver } = fixture
    kernel.deliver({ opcode: Op.cancel, id, result: 0 }, { opcode: 99, id, result: 0 })
    expect(driver.stats().strays).toBe(2)
  })
})
