/** A callback that throws, in every position: the rest of the batch still arrives, and the channel is whole (E2). */
import { Channel } from '../../src/core/channel'
import { errno } from './scripted-kernel'
import { Recorder, makeChannel } from './fixtures'
import type { ChannelFixture } from './fixtures'

let fixture: ChannelFixture
/** A bystander on the same driver, whose completion ends every batch. */
let other: Recorder
let second: Channel

/** Lets the callback that notes `event` throw. */
function throwAt(event: string): void {
  fixture.seen.onEvent = (noted) => {
    if (noted === event) throw new Error(event)
  }
}

function expectBystanderServed(): void {
  expect(other.drain()).toEqual(['bytes by'])
}

beforeEach(() => {
  fixture = makeChannel()
  other = new Recorder(fixture.driver)
  second = new Channel(fixture.driver, fixture.kernel.endpoint(), other)
  second.readStart()
})

afterEach(() => {
  const thrown = fixture.kernel.uncaught
  // Reported once each: neither swallowed nor repeated.
  expect(thrown).toHaveLength(1)
  fixture.kernel.assertClean()
})

describe('a callback throws', () => {
  test('onBlock: the same channel’s later data and the others’ arrive', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('bytes 2')
    channel.readStart()
    kernel.deliver(
      ['1', '2', '3'].map((text) => kernel.received(id, text)),
      kernel.received(second.id, 'by'),
    )
    expect(seen.events).toEqual(['bytes 1', 'bytes 2', 'bytes 3'])
    expectBystanderServed()
  })

  test('onBlock of data that ended the receive: it is armed again all the same', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('bytes 1')
    channel.readStart()
    kernel.deliver(kernel.received(id, '1', false), kernel.received(second.id, 'by'))
    expect(kernel.taken()).toEqual(['receive'])
    kernel.deliver(kernel.received(id, '2'))
    expect(seen.events).toEqual(['bytes 1', 'bytes 2'])
    expectBystanderServed()
  })

  test('onBlock of kept data: the rest of it is still delivered', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('bytes 1')
    channel.readStart()
    channel.readStop()
    kernel.deliver(kernel.received(id, '1'), kernel.received(id, '2'), kernel.receiveEnded(id, 0))
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual(['bytes 1', 'bytes 2', 'end'])
  })

  test('onBlock of the last kept data: receiving goes on', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('bytes 1')
    channel.readStart()
    channel.readStop()
    kernel.deliver(kernel.received(id, '1', false))
    channel.readStart()
    kernel.wakeAll()
    kernel.deliver(kernel.received(id, '2'))
    expect(seen.events).toEqual(['bytes 1', 'bytes 2'])
  })

  test.each([
    [0, 'end'],
    [errno('ECONNRESET'), `receive error ${errno('ECONNRESET')}`],
  ])('at the end of the stream (%i): it is told once', (result, event) => {
    const { kernel, channel, id, seen } = fixture
    throwAt(event)
    channel.readStart()
    kernel.deliver(kernel.receiveEnded(id, result), kernel.received(second.id, 'by'))
    channel.readStop()
    channel.readStart()
    kernel.wakeAll()
    expect(seen.events).toEqual([event])
    expectBystanderServed()
  })

  test('onSent: what waits is sent, and the shutdown after it', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('sent a 0 1')
    channel.send(Buffer.from('a'), seen.sending('a'))
    channel.send(Buffer.from('b'), seen.sending('b'))
    channel.shutdown(seen.shuttingDown())
    kernel.deliver(kernel.sent(id), kernel.received(second.id, 'by'))
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.shutDown(id))
    expect(seen.events).toEqual(['sent a 0 1', 'sent b 0 1', 'shutdown 0'])
    expectBystanderServed()
  })

  test('onSent of one of several in one operation: the others are still told, once', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('sent b 0 1')
    for (const name of ['a', 'b', 'c', 'd']) channel.send(Buffer.from(name), seen.sending(name))
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id), kernel.received(second.id, 'by'))
    kernel.wakeAll()
    expect(seen.events).toEqual(['a', 'b', 'c', 'd'].map((name) => `sent ${name} 0 1`))
    expect(kernel.isInFlight(id, 'send')).toBe(false)
    expectBystanderServed()
  })

  test('onSent of a failed send: every waiting callback is still told, once', () => {
    const { kernel, channel, id, seen } = fixture
    const EPIPE = errno('EPIPE')
    throwAt(`sent a ${EPIPE} 0`)
    for (const name of ['a', 'b', 'c']) channel.send(Buffer.from(name), seen.sending(name))
    channel.shutdown(seen.shuttingDown())
    kernel.deliver(kernel.sent(id, EPIPE), kernel.received(second.id, 'by'))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      ...['a', 'b', 'c'].map((name) => `sent ${name} ${EPIPE} 0`),
      `shutdown ${EPIPE}`,
    ])
    expectBystanderServed()
  })

  test('onSent of a waiting send that failed: the ones behind it are still told', () => {
    const { kernel, channel, id, seen } = fixture
    const EPIPE = errno('EPIPE')
    throwAt(`sent b ${EPIPE} 0`)
    for (const name of ['a', 'b', 'c']) channel.send(Buffer.from(name), seen.sending(name))
    kernel.deliver(kernel.sent(id, EPIPE))
    kernel.wakeAll()
    expect(seen.events).toEqual(['a', 'b', 'c'].map((name) => `sent ${name} ${EPIPE} 0`))
  })

  test('onSent of a cancelled waiting send: the others go on', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('b')
    throwAt(`sent b ${errno('ECANCELED')} 0`)
    channel.send(Buffer.from('a'), seen.sending('a'))
    channel.send(Buffer.from('b'), request)
    channel.send(Buffer.from('c'), seen.sending('c'))
    channel.cancelSend(request)
    kernel.wakeAll()
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('ac')
  })

  test('onSent of an empty send: the next one goes out', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('sent empty 0 0')
    channel.send(Buffer.alloc(0), seen.sending('empty'))
    channel.send(Buffer.from('a'), seen.sending('a'))
    channel.send(Buffer.alloc(0), seen.sending('empty again'))
    kernel.wakeAll()
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent empty 0 0', 'sent a 0 1', 'sent empty again 0 0'])
  })

  test('onShutdown: receiving goes on', () => {
    const { kernel, channel, id, seen } = fixture
    throwAt('shutdown 0')
    channel.readStart()
    channel.shutdown(seen.shuttingDown())
    kernel.deliver(kernel.shutDown(id), kernel.received(id, 'on'), kernel.received(second.id, 'by'))
    expect(seen.events).toEqual(['shutdown 0', 'bytes on'])
    expectBystanderServed()
  })

  test('onConnected: it is told once, and the channel can be read', () => {
    const { kernel, channel, id, seen } = fixture
    channel.connect('::1', 1, () => {
      seen.note('connected')
      throw new Error('connected')
    })
    channel.readStart()
    kernel.deliver(
      kernel.connected(id),
      kernel.received(id, 'on'),
      kernel.received(second.id, 'by'),
    )
    expect(seen.events).toEqual(['connected', 'bytes on'])
    expectBystanderServed()
  })

  test('onClosed: the endpoint is gone all the same', () => {
    const { kernel, channel, id, seen, driver } = fixture
    throwAt('closed')
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id), kernel.received(second.id, 'by'))
    expect(seen.events).toEqual(['closed'])
    expectBystanderServed()
    const next = new Recorder(driver)
    new Channel(driver, kernel.endpoint(), next).readStart()
    second.readStop()
    expect(kernel.isRef).toBe(true)
  })

  test('a waiting callback at close: the ones behind it and onClosed still come', () => {
    const { kernel, channel, id, seen } = fixture
    const ECANCELED = errno('ECANCELED')
    throwAt(`sent b ${ECANCELED} 0`)
    for (const name of ['a', 'b', 'c']) channel.send(Buffer.from(name), seen.sending(name))
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      ...['a', 'b', 'c'].map((name) => `sent ${name} ${ECANCELED} 0`),
      'closed',
    ])
  })
})
