/** The end of a channel: what was accepted is answered once, closed comes last, the block stays the kernel's till then. */
import { Op } from '../../src/core/binding'
import { Channel } from '../../src/core/channel'
import { errno } from './scripted-binding'
import { Recorder, makeChannel } from './fixtures'
import type { ChannelFixture } from './fixtures'

const ECANCELED = errno('ECANCELED')

let fixture: ChannelFixture

const send = (text: string): number =>
  fixture.channel.send(Buffer.from(text), fixture.seen.sending(text), false)

beforeEach(() => {
  fixture = makeChannel()
})

afterEach(() => {
  fixture.kernel.assertClean()
  expect(fixture.kernel.uncaught).toEqual([])
  expect(fixture.driver.stats().strays).toBe(0)
})

describe('close', () => {
  test.each([
    [false, 0],
    [true, 1],
  ])('close(%s) is one command and one callback, after the closed completion', (reset, a) => {
    const { kernel, channel, id, seen } = fixture
    channel.close(reset, seen.closed)
    expect(channel.isClosing).toBe(true)
    kernel.taken()
    expect(kernel.log).toEqual([{ op: 'close', id, a, b: 0 }])
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
    expect(kernel.taken()).toEqual([])
  })

  test('the send in flight and every waiting one are answered once, before closed', () => {
    const { kernel, channel, id, seen, driver } = fixture
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
    expect(driver.arena.bytesInUse).toBe(0)
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

  test('the send in flight is cut short by the close: the waiting ones are still told before closed', () => {
    const { kernel, channel, id, seen } = fixture
    send('aaa')
    send('b')
    channel.shutdown(seen.shuttingDown())
    channel.close(false, seen.closed)
    kernel.deliver(kernel.sent(id, ECANCELED, 2), kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      `sent aaa ${ECANCELED} 2`,
      `sent b ${ECANCELED} 0`,
      `shutdown ${ECANCELED}`,
      'closed',
    ])
  })

  test('the send in flight fails in the batch that closes: the waiting ones are told before closed', () => {
    const { kernel, channel, id, seen } = fixture
    send('a')
    send('b')
    channel.close(false, seen.closed)
    kernel.deliver(kernel.sent(id, errno('EPIPE')), kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      `sent a ${errno('EPIPE')} 0`,
      `sent b ${errno('EPIPE')} 0`,
      'closed',
    ])
  })

  test('a send cancelled while waiting is told before closed', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('b')
    send('a')
    channel.send(Buffer.from('b'), request, false)
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
    expect(seen.events).toHaveLength(2)
    expect(seen.events[1]).toBe('closed')
  })

  test('a large send the kernel took at once is told before closed', () => {
    const { kernel, channel, id, seen } = fixture
    channel.send(Buffer.alloc(70_000), seen.sending('large'), false)
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toHaveLength(2)
    expect(seen.events[1]).toBe('closed')
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
    kernel.offerTakes = () => 3
    for (const text of ['a', 'bb', 'ccc', 'd']) send(text)
    channel.close(false, seen.closed)
    expect(kernel.wire(id)).toBe('abbc')
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events.at(-1)).toBe('closed')
    expect([...seen.events].sort()).toEqual(
      [
        'closed',
        'sent a 0 1',
        'sent bb 0 2',
        `sent ccc ${ECANCELED} 1`,
        `sent d ${ECANCELED} 0`,
      ].sort(),
    )
  })

  test('an arena block stays the kernel’s until the send’s own completion, close or not (C2)', () => {
    const { kernel, channel, id, seen, driver } = fixture
    channel.sendString('a', 'latin1', fixture.seen.sending('a'))
    channel.close(false, seen.closed)
    kernel.taken()
    kernel.wakeAll()
    expect(driver.arena.bytesInUse).toBe(256)
    kernel.deliver(kernel.sent(id, ECANCELED))
    expect(driver.arena.bytesInUse).toBe(0)
    kernel.deliver(kernel.closed(id))
  })

  test('after close() every send and shutdown is refused, and nothing is queued', () => {
    const { kernel, channel, id, seen } = fixture
    channel.close(false, seen.closed)
    kernel.taken()
    for (const refuse of [
      () => send('x'),
      () => channel.send(Buffer.alloc(70_000), seen.sending('x'), true),
      () => channel.sendString('x', 'utf8', seen.sending('x')),
      () => channel.sendEntries([{ chunk: Buffer.from('x'), encoding: 'utf8' }], seen.sending('x')),
      () => channel.sendOwned(0, 1, seen.sending('x')),
    ]) {
      expect(refuse()).toBe(errno('EBADF'))
    }
    expect(channel.shutdown(seen.shuttingDown())).toBe(errno('ENOTCONN'))
    kernel.deliver(kernel.closed(id))
    expect(send('x')).toBe(errno('EBADF'))
    kernel.wakeAll()
    expect(kernel.taken()).toEqual([])
    expect(kernel.sendNowCalls).toBe(0)
    expect(seen.events).toEqual(['closed'])
  })

  test('cancelSend after close() sends no command: the close cancels already', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('a'), request, false)
    channel.close(false, seen.closed)
    channel.cancelSend(request)
    expect(kernel.taken()).toEqual(['close'])
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual([`sent a ${ECANCELED} 0`, 'closed'])
  })

  test('a send in flight that never ends does not stop its channel from closing', () => {
    const { kernel, channel, id, seen } = fixture
    send('a')
    send('b')
    channel.close(false, seen.closed)
    kernel.taken()
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.onlyClosed(id))
    kernel.wakeAll()
    expect(seen.events.at(-1)).toBe('closed')
    expect(seen.events).toContain(`sent b ${ECANCELED} 0`)
  })

  test('the callback of closed may make a new channel on the same slot', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const next = new Recorder()
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

describe('the id of a channel', () => {
  test('fd and name ask for the endpoint; fd is -EBADF when it is gone', () => {
    const { kernel, channel, id, seen } = fixture
    const name = { address: '127.0.0.1', port: 80, family: 'IPv4' as const }
    kernel.setName(id, name)
    const out = {}
    expect(channel.name(true, out)).toBe(0)
    expect(out).toEqual(name)
    expect(channel.fd).toBe(100)
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    expect(channel.fd).toBe(errno('EBADF'))
  })
})

describe('strays', () => {
  afterEach(() => {
    // Counted, and told the outer check: these tests make them.
    const { driver } = fixture
    const made = driver.stats().strays
    expect(made).toBeGreaterThan(0)
    jest.spyOn(driver, 'stats').mockReturnValue({ ...driver.stats(), strays: 0 })
  })

  test('a closed completion without close() is dropped: the channel lives on', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.deliver({ opcode: Op.close, id, result: 0 })
    channel.readStart()
    kernel.deliver(kernel.received(id, 'alive'))
    expect(seen.events).toEqual(['bytes alive'])
  })

  test('a second closed completion calls nobody', () => {
    const { kernel, channel, id, seen } = fixture
    channel.close(false, seen.closed)
    const closed = kernel.closed(id)
    kernel.deliver(closed, closed)
    kernel.wakeAll()
    expect(seen.events).toEqual(['closed'])
  })

  test('completions after closed reach nobody', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    send('a')
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    seen.drain()
    kernel.deliverAsIs([
      { opcode: Op.receive, id, result: 3, more: true },
      { opcode: Op.receive, id, result: 0 },
      { opcode: Op.send, id, result: 1 },
      { opcode: Op.shutdown, id, result: 0 },
      { opcode: Op.connect, id, result: 0 },
    ])
    expect(seen.events).toEqual([])
    expect(fixture.driver.stats().strays).toBe(5)
    expect(kernel.taken()).toEqual([])
  })

  test('a completion for the endpoint’s earlier generation does not reach the new one', () => {
    const { kernel, channel, id, driver } = fixture
    channel.close(false, () => {})
    kernel.deliver(kernel.closed(id))
    const next = new Recorder()
    const second = new Channel(driver, kernel.endpoint(), next)
    second.readStart()
    second.send(Buffer.from('abc'), next.sending('abc'), false)
    kernel.taken()
    kernel.deliverAsIs([
      { opcode: Op.receive, id, result: 3, more: true },
      { opcode: Op.send, id, result: 3 },
      { opcode: Op.close, id, result: 0 },
    ])
    expect(next.events).toEqual([])
    expect(driver.stats().strays).toBe(3)
    kernel.deliver(kernel.sent(second.id))
    expect(next.events).toEqual(['sent abc 0 3'])
  })
})
