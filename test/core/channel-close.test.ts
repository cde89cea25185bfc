/** The end of a channel: what was accepted is answered once, closed comes last, memory stays the kernel’s till then. */
import { Channel } from '../../src/core/channel'
import { errno } from './scripted-kernel'
import { Recorder, makeChannel } from './fixtures'
import type { ChannelFixture } from './fixtures'

const ECANCELED = errno('ECANCELED')

let fixture: ChannelFixture

const send = (text: string): number =>
  fixture.channel.send(Buffer.from(text), fixture.seen.sending(text))

beforeEach(() => {
  fixture = makeChannel()
})

afterEach(() => {
  fixture.kernel.assertClean()
  expect(fixture.kernel.uncaught).toEqual([])
})

describe('close', () => {
  test.each([
    [false, 0],
    [true, 1],
  ])('close(%s) is one command at once, and one callback after its completion', (reset, a) => {
    const { kernel, channel, id, seen } = fixture
    channel.close(reset, seen.closed)
    expect(channel.isClosing).toBe(true)
    // Taken within the call: what is done later in this tick finds the descriptor closed.
    expect(kernel.log).toEqual([expect.objectContaining({ op: 'close', id, a, b: 0 })])
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['closed'])
  })

  test('a second close throws: it would name an endpoint that may be somebody else’s by then', () => {
    const { kernel, channel, id, seen } = fixture
    channel.close(false, seen.closed)
    expect(() => channel.close(true, seen.closed)).toThrow(/closed once/)
    kernel.deliver(kernel.closed(id))
    expect(() => channel.close(true, seen.closed)).toThrow(/closed once/)
    expect(kernel.count(id, 'close')).toBe(1)
  })

  test('the send in flight and every waiting one are answered once, before closed', () => {
    const { kernel, channel, id, seen } = fixture
    send('a')
    send('b')
    send('c')
    channel.shutdown(seen.shuttingDown())
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      `sent a ${ECANCELED} 0`,
      `sent b ${ECANCELED} 0`,
      `sent c ${ECANCELED} 0`,
      `shutdown ${ECANCELED}`,
      'closed',
    ])
  })

  test('several sends in flight together are answered, each by what was taken of it', () => {
    const { kernel, channel, id, seen } = fixture
    send('first')
    for (const text of ['aa', 'bb', 'cc']) send(text)
    kernel.deliver(kernel.sent(id))
    seen.drain()
    channel.close(false, seen.closed)
    kernel.deliver(kernel.sent(id, ECANCELED, 3), kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      'sent aa 0 2',
      `sent bb ${ECANCELED} 1`,
      `sent cc ${ECANCELED} 0`,
      'closed',
    ])
  })

  test('the send in flight got out before the close: it is a success, the waiting ones are not', () => {
    const { kernel, channel, id, seen } = fixture
    send('a')
    send('b')
    channel.close(false, seen.closed)
    kernel.deliver(kernel.sent(id), kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent a 0 1', `sent b ${ECANCELED} 0`, 'closed'])
  })

  test.each([
    ['is cut short by the close', ECANCELED, 2],
    ['fails in the batch that closes', errno('EPIPE'), 0],
  ])('the send in flight %s: the waiting ones are told before closed', (_what, status, taken) => {
    const { kernel, channel, id, seen } = fixture
    send('aaa')
    send('b')
    channel.shutdown(seen.shuttingDown())
    channel.close(false, seen.closed)
    kernel.deliver(kernel.sent(id, status, taken), kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      `sent aaa ${status} ${taken}`,
      `sent b ${status} 0`,
      `shutdown ${status}`,
      'closed',
    ])
  })

  test('a send cancelled while waiting is told before closed', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('b')
    send('a')
    channel.send(Buffer.from('b'), request)
    channel.cancelSend(request)
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events.at(-1)).toBe('closed')
    expect([...seen.events].sort()).toEqual(
      ['closed', `sent a ${ECANCELED} 0`, `sent b ${ECANCELED} 0`].sort(),
    )
  })

  test('an empty send is told before closed', () => {
    const { kernel, channel, id, seen } = fixture
    send('')
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent  0 0', 'closed'])
  })

  test('what waits is offered before the close, and what the kernel takes is a success (W6)', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.offerTakes = (length) => length
    for (const text of ['a', 'bb', 'ccc']) send(text)
    channel.close(false, seen.closed)
    expect(kernel.wire(id)).toBe('abbccc')
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events.at(-1)).toBe('closed')
    expect([...seen.events].sort()).toEqual(['closed', 'sent a 0 1', 'sent bb 0 2', 'sent ccc 0 3'])
  })

  test('an offer that is cut short ends that send with what was taken, and nothing follows (W5, W6)', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.offerTakes = (length) => Math.min(length, 2)
    for (const text of ['a', 'bb', 'ccc', 'd']) send(text)
    channel.close(false, seen.closed)
    expect(kernel.wire(id)).toBe('abbcc')
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events.at(-1)).toBe('closed')
    expect([...seen.events].sort()).toEqual(
      [
        'closed',
        'sent a 0 1',
        'sent bb 0 2',
        `sent ccc ${ECANCELED} 2`,
        `sent d ${ECANCELED} 0`,
      ].sort(),
    )
  })

  test('memory stays the kernel’s until the send’s own completion, close or not (C2)', () => {
    const { kernel, channel, driver, id, seen } = fixture
    send('a')
    channel.close(false, seen.closed)
    kernel.wakeAll()
    const before = kernel.registeredCount
    const other = new Channel(driver, kernel.endpoint(), seen)
    other.send(Buffer.from('other'), seen.sending('other'))
    expect(kernel.registeredCount).toBe(before + 1)
    kernel.deliver(kernel.closed(id), kernel.sent(other.id))
    other.send(Buffer.from('again'), seen.sending('again'))
    expect(kernel.registeredCount).toBe(before + 1)
    kernel.deliver(kernel.sent(other.id))
  })

  test('after close() every send and shutdown is refused, and nothing is queued', () => {
    const { kernel, channel, driver, id, seen } = fixture
    channel.close(false, seen.closed)
    for (const refuse of [
      () => send('x'),
      () => send(''),
      () => channel.send(Buffer.alloc(70_000), seen.sending('x')),
      () => channel.sendEntries([{ chunk: Buffer.from('x'), encoding: 'utf8' }], seen.sending('x')),
      () => channel.sendBlock(driver.blocks.create(8), 1, seen.sending('x')),
    ]) {
      expect(refuse()).toBe(errno('EBADF'))
    }
    expect(channel.shutdown(seen.shuttingDown())).toBe(errno('ENOTCONN'))
    kernel.deliver(kernel.closed(id))
    expect(send('x')).toBe(errno('EBADF'))
    kernel.wakeAll()
    expect(kernel.log.map(({ op }) => op)).toEqual(['close'])
    expect(seen.events).toEqual(['closed'])
  })

  test('cancelSend after close() sends no command: the close cancels already', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('a'), request)
    channel.close(false, seen.closed)
    channel.cancelSend(request)
    expect(kernel.queued).toBe(0)
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual([`sent a ${ECANCELED} 0`, 'closed'])
  })

  test('a shutdown that was started is told before closed', () => {
    const { kernel, channel, id, seen } = fixture
    channel.shutdown(seen.shuttingDown())
    channel.close(false, seen.closed)
    kernel.deliver(kernel.shutDown(id), kernel.closed(id))
    expect(seen.events).toEqual(['shutdown 0', 'closed'])
  })

  test('the callback of closed may make a new channel in the same place', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const next = new Recorder(driver)
    let second: Channel | undefined
    channel.close(false, () => {
      second = new Channel(driver, kernel.endpoint(), next)
      second.readStart()
    })
    kernel.deliver(kernel.closed(id))
    expect(second!.id).not.toBe(id)
    expect(second!.id & 0xfffff).toBe(id & 0xfffff)
    kernel.deliver(kernel.received(second!.id, 'new'))
    expect(next.events).toEqual(['bytes new'])
    expect(seen.events).toEqual([])
  })
})

describe('flush', () => {
  test('offers what waits, in order, and goes on with what the kernel did not take (W6)', () => {
    const { kernel, channel, id, seen } = fixture
    for (const text of ['a', 'bb', 'ccc']) send(text)
    kernel.taken()
    let offers = 0
    kernel.offerTakes = (length) => (++offers === 1 ? length : offers === 2 ? 1 : 0)
    channel.flush()
    expect(kernel.wire(id)).toBe('abbc')
    expect(channel.sendQueueBytes).toBe(3)
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(kernel.sendLengths(id)).toEqual([2])
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('abbccc')
    expect([...seen.events].sort()).toEqual(['sent a 0 1', 'sent bb 0 2', 'sent ccc 0 3'])
  })

  test('of a driver flushes every open channel, asks handlers for what they have, and submits', () => {
    const { kernel, driver, channel, id, seen } = fixture
    seen.onFlush = () => void channel.send(Buffer.from('from flush'), seen.sending('it'))
    driver.flush()
    expect(kernel.log.map(({ op }) => op)).toEqual(['send'])
    kernel.deliver(kernel.sent(id))
    seen.onFlush = () => seen.note('flushed')
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    const before = seen.events.length
    driver.flush()
    expect(seen.events.slice(before)).toEqual([])
  })
})

describe('the id of a channel', () => {
  test('fd, name and options ask for the endpoint; all are -EBADF when it is gone', () => {
    const { kernel, channel, id, seen } = fixture
    const name = { address: '127.0.0.1', port: 80, family: 'IPv4' as const }
    kernel.setName(id, name)
    const out = {}
    expect(channel.name(true, out)).toBe(0)
    expect(out).toEqual(name)
    expect(channel.fd).toBe(100)
    expect(channel.setOption(1, 1)).toBe(0)
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    expect(channel.fd).toBe(errno('EBADF'))
    expect(channel.name(true, {})).toBe(errno('EBADF'))
    expect(channel.setOption(1, 1)).toBe(errno('EBADF'))
  })
})
