/**
 * What keeps the event loop alive: channels that read, operations with an end, acceptors that are ref'd. Each test would
 * catch a process that hangs, or one that leaves before its work is done.
 */
import { Acceptor } from '../../src/core/acceptor'
import type { Block } from '../../src/core/block'
import { Channel } from '../../src/core/channel'
import { errno } from './scripted-kernel'
import { Recorder, makeChannel, makeDriver } from './fixtures'
import type { ChannelFixture } from './fixtures'

describe('a channel', () => {
  let fixture: ChannelFixture

  beforeEach(() => {
    fixture = makeChannel()
  })

  afterEach(() => {
    const { kernel, channel, id, seen } = fixture
    if (!channel.isClosing) channel.close(false, seen.closed)
    if (kernel.isOpen(id)) kernel.deliver(kernel.closed(id))
    kernel.wakeAll()
    // Balanced to the end: one retain too many keeps every process up that used a socket.
    expect(kernel.isRef).toBe(false)
    kernel.assertClean()
  })

  test('one that does nothing does not', () => {
    expect(fixture.kernel.isRef).toBe(false)
  })

  test('one that reads does, from readStart to readStop', () => {
    const { kernel, channel } = fixture
    channel.readStart()
    channel.readStart()
    expect(kernel.isRef).toBe(true)
    channel.readStop()
    expect(kernel.isRef).toBe(false)
    channel.readStart()
    expect(kernel.isRef).toBe(true)
  })

  test.each([0, errno('ECONNRESET')])('one that has read to its end (%i) does not', (result) => {
    const { kernel, channel, id } = fixture
    channel.readStart()
    kernel.deliver(kernel.receiveEnded(id, result))
    expect(kernel.isRef).toBe(false)
    channel.readStart()
    expect(kernel.isRef).toBe(false)
  })

  test('a re-armed receive still does', () => {
    const { kernel, channel, id } = fixture
    channel.readStart()
    kernel.deliver(kernel.receiveEnded(id, errno('ENOBUFS')))
    expect(kernel.isRef).toBe(true)
  })

  test('a send does until its completion', () => {
    const { kernel, channel, id, seen } = fixture
    channel.send(Buffer.from('a'), seen.sending('a'))
    channel.send(Buffer.from('b'), seen.sending('b'))
    expect(kernel.isRef).toBe(true)
    kernel.deliver(kernel.sent(id))
    expect(kernel.isRef).toBe(true)
    kernel.deliver(kernel.sent(id))
    expect(kernel.isRef).toBe(false)
  })

  test('a failed send leaves nothing behind, with sends and a shutdown waiting', () => {
    const { kernel, channel, id, seen } = fixture
    channel.send(Buffer.from('a'), seen.sending('a'))
    channel.send(Buffer.from('b'), seen.sending('b'))
    channel.shutdown(seen.shuttingDown())
    kernel.deliver(kernel.sent(id, errno('EPIPE')))
    kernel.wakeAll()
    expect(kernel.isRef).toBe(false)
  })

  test('an empty send does until it is told', () => {
    const { kernel, channel, seen } = fixture
    channel.send(Buffer.alloc(0), seen.sending('it'))
    expect(kernel.isRef).toBe(true)
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent it 0 0'])
    expect(kernel.isRef).toBe(false)
  })

  test('a cancelled send that waited leaves nothing behind', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('b')
    channel.send(Buffer.from('a'), seen.sending('a'))
    channel.send(Buffer.from('b'), request)
    channel.cancelSend(request)
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(kernel.isRef).toBe(false)
  })

  test('a refused send leaves nothing behind', () => {
    const { kernel, channel, id, seen } = fixture
    channel.send(Buffer.from('a'), seen.sending('a'))
    kernel.deliver(kernel.sent(id, errno('EPIPE')))
    expect(channel.send(Buffer.from('b'), seen.sending('b'))).toBeLessThan(0)
    expect(kernel.isRef).toBe(false)
  })

  test('a receive that waits for a buffer does', () => {
    const { kernel, channel, id, driver, seen } = fixture
    const held: Block[] = []
    jest.spyOn(seen, 'onBlock').mockImplementation((block) => void held.push(block))
    channel.readStart()
    while (kernel.providedCount > 0) kernel.deliver(kernel.received(id, 'x'))
    kernel.deliver(kernel.receiveEnded(id, errno('ENOBUFS')))
    expect(kernel.isInFlight(id, 'receive')).toBe(false)
    expect(kernel.isRef).toBe(true)
    for (const block of held) driver.blocks.releaseReceived(block)
    expect(kernel.isRef).toBe(true)
    channel.readStop()
    expect(kernel.isRef).toBe(false)
  })

  test('a shutdown does until it is out', () => {
    const { kernel, channel, id, seen } = fixture
    channel.shutdown(seen.shuttingDown())
    expect(kernel.isRef).toBe(true)
    kernel.deliver(kernel.shutDown(id))
    expect(kernel.isRef).toBe(false)
  })

  test('a connect does until it is answered; a refused one does not', () => {
    const { kernel, channel, id } = fixture
    kernel.refuses.connect = errno('EACCES')
    channel.connect('::1', 1, () => {})
    expect(kernel.isRef).toBe(false)
    delete kernel.refuses.connect
    channel.connect('::1', 1, () => {})
    expect(kernel.isRef).toBe(true)
    kernel.deliver(kernel.connected(id))
    expect(kernel.isRef).toBe(false)
  })

  test('a close does until it is done: else its callback might never come', () => {
    const { kernel, channel, id, seen } = fixture
    channel.close(false, seen.closed)
    expect(kernel.isRef).toBe(true)
    kernel.deliver(kernel.closed(id))
    expect(kernel.isRef).toBe(false)
    channel.readStart()
    expect(kernel.isRef).toBe(false)
  })

  test.each(['bytes', 'end', 'sent', 'shutdown'])(
    'is counted right when the %s callback throws',
    (at) => {
      const { kernel, channel, id, seen } = fixture
      seen.onEvent = (event) => {
        if (event.startsWith(at)) throw new Error(at)
      }
      channel.readStart()
      channel.send(Buffer.from('a'), seen.sending('a'))
      kernel.deliver(kernel.sent(id), kernel.received(id, 'x'))
      expect(kernel.isRef).toBe(true)
      kernel.deliver(kernel.receiveEnded(id, 0))
      expect(kernel.isRef).toBe(false)
      channel.shutdown(seen.shuttingDown())
      kernel.deliver(kernel.shutDown(id))
      expect(kernel.isRef).toBe(false)
      expect(kernel.uncaught).toHaveLength(1)
    },
  )

  test('two channels: the loop is kept until the last one is done', () => {
    const { kernel, driver, channel } = fixture
    const second = new Channel(driver, kernel.endpoint(), new Recorder(driver))
    channel.readStart()
    second.readStart()
    channel.readStop()
    expect(kernel.isRef).toBe(true)
    second.readStop()
    expect(kernel.isRef).toBe(false)
  })
})

describe('an acceptor', () => {
  function makeAcceptor() {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    const acceptor = new Acceptor(driver, id, { onAccept() {}, onAcceptError() {} })
    return { kernel, id, acceptor }
  }

  test('keeps the loop alive while it listens ref’d', () => {
    const { kernel, acceptor } = makeAcceptor()
    expect(kernel.isRef).toBe(false)
    acceptor.listen(1)
    expect(kernel.isRef).toBe(true)
    acceptor.setRef(false)
    expect(kernel.isRef).toBe(false)
    acceptor.setRef(true)
    expect(kernel.isRef).toBe(true)
  })

  test('unref’d before listen it never does, and a pause does not change what counts', () => {
    const { kernel, id, acceptor } = makeAcceptor()
    acceptor.setRef(false)
    acceptor.listen(1)
    expect(kernel.isRef).toBe(false)
    acceptor.pause()
    kernel.deliver(kernel.acceptEnded(id, errno('ECANCELED')))
    acceptor.setRef(true)
    acceptor.resume()
    kernel.taken()
    expect(kernel.isRef).toBe(true)
  })

  test('closing keeps the loop alive until closed, unref’d or not', () => {
    const { kernel, id, acceptor } = makeAcceptor()
    acceptor.listen(1)
    acceptor.setRef(false)
    acceptor.close(() => {})
    expect(kernel.isRef).toBe(true)
    kernel.deliver(kernel.closed(id))
    expect(kernel.isRef).toBe(false)
  })
})
