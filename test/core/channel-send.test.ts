/** The send side of a channel: all or nothing, snapshot, order, one in flight, poison, FIN last (W1-W5). */
import { Op } from '../../src/core/binding'
import { Channel, Sent } from '../../src/core/channel'
import { errno } from './scripted-binding'
import { Recorder, makeChannel } from './fixtures'
import type { ChannelFixture } from './fixtures'

/** As in send-side.ts: above this, bytes are offered to the kernel before they are copied. */
const copyBytesMax = 16384

const ECANCELED = errno('ECANCELED')
const ENOBUFS = errno('ENOBUFS')
const EPIPE = errno('EPIPE')
const ECONNRESET = errno('ECONNRESET')

let fixture: ChannelFixture

const send = (text: string, name = text): number =>
  fixture.channel.send(Buffer.from(text, 'latin1'), fixture.seen.sending(name), false)

const entry = (text: string): { chunk: Buffer; encoding: 'utf8' } => ({
  chunk: Buffer.from(text),
  encoding: 'utf8',
})

/** Takes every block of the arena; returns what gives one back. */
function exhaustArena(): () => void {
  const { arena } = fixture.driver
  const blocks: number[] = []
  for (let block = arena.allocate(65536); block >= 0; block = arena.allocate(65536)) {
    blocks.push(block)
  }
  return () => arena.release(blocks.pop()!)
}

beforeEach(() => {
  fixture = makeChannel()
})

afterEach(() => {
  fixture.kernel.assertClean()
  expect(fixture.kernel.uncaught).toEqual([])
})

describe('send', () => {
  test('the bytes on the wire are those at the call, whatever becomes of the buffer (W2)', () => {
    const { kernel, channel, id, seen } = fixture
    const first = Buffer.from('first')
    const waiting = Buffer.from('waiting')
    channel.send(first, seen.sending('1'), false)
    channel.send(waiting, seen.sending('2'), false)
    first.fill('x')
    waiting.fill('x')
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('firstwaiting')
  })

  test('a subarray sends its own bytes and no others of its memory', () => {
    const { kernel, channel, id, seen } = fixture
    channel.send(Buffer.from('__abc__').subarray(2, 5), seen.sending('1'), false)
    channel.send(Buffer.from('__def__').subarray(2, 5), seen.sending('2'), false)
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('abcdef')
  })

  test('onSent follows the completion, once, never from inside send (W4)', () => {
    const { kernel, id, seen, driver } = fixture
    expect(send('abc')).toBe(Sent.pending)
    kernel.taken()
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent abc 0 3'])
    expect(driver.arena.bytesInUse).toBe(0)
  })

  test('many sends leave in order, one in flight at a time (W3)', () => {
    const { kernel, id, seen, channel, driver } = fixture
    const names = Array.from({ length: 50 }, (_, i) => `<${i}>`)
    for (const name of names) send(name)
    expect(channel.waitingSends).toBe(49)
    const total = names.join('').length
    expect(channel.bytesAccepted).toBe(total)
    expect(channel.sendQueueBytes).toBe(total)
    for (const name of names) {
      expect(kernel.sendLength(id)).toBe(name.length)
      kernel.deliver(kernel.sent(id))
      expect(seen.drain()).toEqual([`sent ${name} 0 ${name.length}`])
    }
    expect(kernel.wire(id)).toBe(names.join(''))
    expect(channel.bytesAccepted).toBe(total)
    expect(channel.sendQueueBytes).toBe(0)
    expect(driver.arena.bytesInUse).toBe(0)
  })

  test('the next send is queued before onSent runs: a callback that sends does not overtake', () => {
    const { kernel, id, seen } = fixture
    send('a')
    send('b')
    seen.onEvent = (event) => {
      if (event === 'sent a 0 1') send('c')
    }
    for (let i = 0; i < 3; i++) kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('abc')
  })

  test.each([1, 2, 4])(
    'a result of %i for 3 bytes never counts as success, and poisons the stream',
    (result) => {
      const { kernel, id, seen } = fixture
      send('abc')
      send('waits')
      if (result <= 3) kernel.deliver(kernel.sent(id, result))
      else kernel.deliver({ ...kernel.sent(id), result })
      kernel.wakeAll()
      expect(seen.events[0]).toBe(`sent abc ${EPIPE} ${result}`)
      expect(seen.events[1]).toBe(`sent waits ${EPIPE} 0`)
      expect(send('later')).toBe(EPIPE)
      expect(kernel.taken()).toEqual([])
    },
  )

  test('zero bytes reported for a send is no success', () => {
    const { kernel, id, seen } = fixture
    send('abc')
    kernel.deliver({ ...kernel.sent(id, -1), result: 0 })
    expect(seen.events).toEqual([`sent abc ${EPIPE} 0`])
  })

  test('a failed send tells how much was taken, and fails what waits once each (W5)', () => {
    const { kernel, channel, id, seen, driver } = fixture
    send('abcdef')
    send('two')
    send('three')
    channel.shutdown(seen.shuttingDown())
    kernel.deliver(kernel.sent(id, ECONNRESET, 2))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      `sent abcdef ${ECONNRESET} 2`,
      `sent two ${ECONNRESET} 0`,
      `sent three ${ECONNRESET} 0`,
      `shutdown ${ECONNRESET}`,
    ])
    expect(kernel.wire(id)).toBe('ab')
    expect(kernel.taken()).toEqual([])
    expect(driver.arena.bytesInUse).toBe(0)
    expect(channel.sendQueueBytes).toBe(0)
  })

  test('after a failure every kind of send is refused with the same errno, and nothing follows', () => {
    const { kernel, channel, id, seen } = fixture
    send('abc')
    kernel.deliver(kernel.sent(id, ECONNRESET, 0))
    seen.drain()
    const accepted = channel.bytesAccepted
    expect(send('x')).toBe(ECONNRESET)
    expect(send('')).toBe(ECONNRESET)
    expect(channel.sendString('x', 'utf8', seen.sending(''))).toBe(ECONNRESET)
    expect(channel.sendEntries([entry('x')], seen.sending(''))).toBe(ECONNRESET)
    expect(channel.sendOwned(0, 1, seen.sending(''))).toBe(ECONNRESET)
    expect(channel.send(Buffer.alloc(70_000), seen.sending(''), true)).toBe(ECONNRESET)
    // A FIN would say that nothing is missing.
    expect(channel.shutdown(seen.shuttingDown())).toBe(errno('ENOTCONN'))
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    expect(kernel.taken()).toEqual([])
    expect(kernel.sendNowCalls).toBe(1)
    expect(channel.bytesAccepted).toBe(accepted)
  })

  test('a send in the callback of the failed one is refused, not sent after the gap', () => {
    const { kernel, id, seen } = fixture
    const answers: number[] = []
    send('abc')
    seen.onEvent = () => answers.push(send('again'))
    kernel.deliver(kernel.sent(id, ECONNRESET, 1))
    expect(answers).toEqual([ECONNRESET])
    expect(kernel.wire(id)).toBe('a')
  })

  test('receiving goes on after a failed send', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    send('abc')
    kernel.deliver(kernel.sent(id, EPIPE), kernel.received(id, 'last words'))
    expect(seen.events).toEqual(['bytes last words', `sent abc ${EPIPE} 0`])
  })

  test('two channels share the arena without touching each other', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const other = kernel.endpoint()
    const second = new Channel(driver, other, seen)
    for (let i = 0; i < 20; i++) {
      channel.send(Buffer.alloc(300, 'a'), seen.sending('a'), false)
      second.send(Buffer.alloc(300, 'b'), seen.sending('b'), false)
      if (i % 2 === 0) kernel.deliver(kernel.sent(other), kernel.sent(id))
    }
    while (kernel.isInFlight(id, 'send')) kernel.deliver(kernel.sent(id))
    while (kernel.isInFlight(other, 'send')) kernel.deliver(kernel.sent(other))
    expect(kernel.wire(id)).toBe('a'.repeat(6000))
    expect(kernel.wire(other)).toBe('b'.repeat(6000))
    expect(driver.arena.bytesInUse).toBe(0)
  })
})

describe('zero bytes', () => {
  test('nothing is submitted for nothing; the callback still comes later, in order', () => {
    const { kernel, id, seen } = fixture
    expect(send('', 'empty')).toBe(Sent.pending)
    expect(send('abc')).toBe(Sent.pending)
    expect(seen.events).toEqual([])
    expect(kernel.taken()).toEqual([])
    kernel.wakeAll()
    expect(seen.drain()).toEqual(['sent empty 0 0'])
    kernel.deliver(kernel.sent(id))
    expect(seen.drain()).toEqual(['sent abc 0 3'])
    expect(kernel.wire(id)).toBe('abc')
  })

  test('an empty send behind another is told after it', () => {
    const { kernel, id, seen } = fixture
    send('abc')
    send('', 'empty')
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent abc 0 3', 'sent empty 0 0'])
  })

  test('where done is an answer, an empty send is done at once and its callback never comes', () => {
    const { channel, seen, kernel } = fixture
    expect(channel.send(Buffer.alloc(0), seen.sending(''), true)).toBe(Sent.done)
    expect(channel.sendString('', 'utf8', seen.sending(''))).toBe(Sent.done)
    expect(channel.sendEntries([], seen.sending(''))).toBe(Sent.done)
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    expect(kernel.taken()).toEqual([])
  })

  test('an empty lent block goes the same way', () => {
    const { channel, seen, driver } = fixture
    const block = driver.arena.allocate(10)
    expect(channel.sendOwned(block, 0, seen.sending('lent'))).toBe(Sent.pending)
    fixture.kernel.wakeAll()
    expect(seen.events).toEqual(['sent lent 0 0'])
    driver.arena.release(block)
  })
})

describe('large chunks', () => {
  const large = Buffer.alloc(200_000, 'L')

  test.each([1, copyBytesMax, copyBytesMax + 1, 200_000])(
    '%i bytes are offered to the kernel at once',
    (length) => {
      const { kernel, channel, seen } = fixture
      kernel.sendNowTakes = (all) => all
      expect(channel.send(Buffer.alloc(length), seen.sending(''), true)).toBe(Sent.done)
      expect(kernel.sendNowCalls).toBe(1)
      expect(kernel.taken()).toEqual([])
    },
  )

  test('taken at once, with done as an answer: no callback and no operation', () => {
    const { kernel, channel, id, seen } = fixture
    expect(channel.send(large, seen.sending('large'), true)).toBe(Sent.done)
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    expect(kernel.wireBytes(id).equals(large)).toBe(true)
    expect(channel.bytesAccepted).toBe(large.length)
    expect(channel.sendQueueBytes).toBe(0)
  })

  test('taken at once, without done as an answer: the callback still comes later, once', () => {
    const { kernel, channel, id, seen } = fixture
    expect(channel.send(large, seen.sending('large'), false)).toBe(Sent.pending)
    expect(send('next')).toBe(Sent.pending)
    expect(seen.events).toEqual([])
    kernel.wakeAll()
    expect(seen.drain()).toEqual(['sent large 0 200000'])
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('L'.repeat(200_000) + 'next')
  })

  test('taken in part: the rest is in flight, and taken counts both parts', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.sendNowTakes = (all) => Math.min(all, 60_000)
    const bytes = Buffer.from(large)
    expect(channel.send(bytes, seen.sending('large'), true)).toBe(Sent.pending)
    bytes.fill('x')
    expect(channel.sendQueueBytes).toBe(140_000)
    send('next')
    kernel.deliver(kernel.sent(id))
    expect(seen.drain()).toEqual(['sent large 0 200000'])
    kernel.wakeAll()
    expect(kernel.wire(id)).toBe('L'.repeat(200_000) + 'next')
  })

  test('the rest fails: taken tells all the kernel had, and the stream is poisoned', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.sendNowTakes = () => 60_000
    channel.send(large, seen.sending('large'), true)
    kernel.deliver(kernel.sent(id, ECONNRESET, 5))
    expect(seen.events).toEqual([`sent large ${ECONNRESET} 60005`])
    expect(send('x')).toBe(ECONNRESET)
  })

  test('cancelled after sendNow took some: not untouched, so nothing may follow (W5)', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.sendNowTakes = () => 60_000
    const request = seen.sending('large')
    channel.send(large, request, true)
    send('next')
    channel.cancelSend(request)
    expect(kernel.taken()).toEqual(['cancel send'])
    kernel.deliver(kernel.sent(id, ECANCELED, 0))
    kernel.wakeAll()
    expect(seen.events).toEqual([`sent large ${ECANCELED} 60000`, `sent next ${ECANCELED} 0`])
    expect(kernel.wireBytes(id)).toHaveLength(60_000)
  })

  test.each([ENOBUFS, ECONNRESET])(
    'sendNow refuses with %i: nothing is accepted, and no callback follows (W1)',
    (status) => {
      const { kernel, channel, seen } = fixture
      kernel.sendNowTakes = () => status
      expect(channel.send(large, seen.sending('large'), true)).toBe(status)
      kernel.wakeAll()
      expect(seen.events).toEqual([])
      expect(channel.bytesAccepted).toBe(0)
      expect(channel.sendQueueBytes).toBe(0)
      expect(kernel.taken()).toEqual([])
    },
  )

  test('sendNow out of memory took nothing, so the stream has no gap and goes on', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.sendNowTakes = () => ENOBUFS
    channel.send(large, seen.sending('large'), true)
    kernel.sendNowTakes = () => 0
    expect(send('later')).toBe(Sent.pending)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('later')
  })

  test('sendNow failed otherwise: part of it may be out, so nothing follows (W5)', () => {
    const { kernel, channel, seen } = fixture
    kernel.sendNowTakes = () => ECONNRESET
    channel.send(large, seen.sending('large'), true)
    expect(send('later')).toBe(ECONNRESET)
    expect(kernel.taken()).toEqual([])
  })

  test('a large chunk that waited and is then refused fails once, and so does what waits behind', () => {
    const { kernel, channel, id, seen } = fixture
    send('abc')
    channel.send(large, seen.sending('large'), true)
    send('behind')
    kernel.sendNowTakes = () => ENOBUFS
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      'sent abc 0 3',
      `sent large ${ENOBUFS} 0`,
      `sent behind ${ENOBUFS} 0`,
    ])
    expect(kernel.wire(id)).toBe('abc')
    expect(channel.sendQueueBytes).toBe(0)
    // It had been accepted: now there is a gap, and nothing may follow (W5).
    kernel.sendNowTakes = (length) => length
    expect(send('later')).toBe(ENOBUFS)
  })

  test('a large chunk that waited goes out in its turn, and its callback comes even if all is taken', () => {
    const { kernel, channel, id, seen } = fixture
    send('abc')
    channel.send(large, seen.sending('large'), true)
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent abc 0 3', 'sent large 0 200000'])
    expect(kernel.wire(id)).toBe('abc' + 'L'.repeat(200_000))
    expect(channel.bytesAccepted).toBe(200_003)
  })
})

describe('a full arena', () => {
  test.each([
    ['send', () => send('abc')],
    ['sendString', () => fixture.channel.sendString('abc', 'latin1', fixture.seen.sending('abc'))],
    [
      'sendString utf8',
      () => fixture.channel.sendString('abc', 'utf8', fixture.seen.sending('abc')),
    ],
    [
      'sendEntries',
      () => fixture.channel.sendEntries([entry('ab'), entry('c')], fixture.seen.sending('abc')),
    ],
  ])('%s falls back to sendNow, and what it leaves is sent in order', (_name, action) => {
    const { kernel, id, seen } = fixture
    exhaustArena()
    kernel.sendNowTakes = () => 1
    expect(action()).toBe(Sent.pending)
    expect(kernel.sendNowCalls).toBe(1)
    expect(kernel.sendLength(id)).toBe(2)
    kernel.deliver(kernel.sent(id))
    expect(seen.events).toEqual(['sent abc 0 3'])
    expect(kernel.wire(id)).toBe('abc')
  })

  test('chunks too large for the arena are offered to the kernel as they are, in one call', () => {
    const { kernel, id, channel, seen } = fixture
    kernel.sendNowTakes = (length) => length
    const chunks = ['a'.repeat(10_000), 'b'.repeat(10_000)]
    const entries = chunks.map(entry)
    expect(channel.sendEntries(entries, seen.sending('entries'))).toBe(Sent.done)
    expect(kernel.sendNowCalls).toBe(1)
    expect(kernel.wire(id)).toBe(chunks.join(''))
    expect(channel.bytesAccepted).toBe(20_000)
    kernel.sendNowTakes = () => 5000
    expect(channel.sendEntries(entries, seen.sending('again'))).toBe(Sent.pending)
    expect(kernel.sendLength(id)).toBe(15_000)
    kernel.deliver(kernel.sent(id))
    expect(seen.events).toEqual(['sent again 0 20000'])
    expect(kernel.wire(id)).toBe(chunks.join('') + chunks.join(''))
  })

  test('the arena is used again once it has room', () => {
    const { kernel, id } = fixture
    const release = exhaustArena()
    kernel.sendNowTakes = (length) => length
    send('abc')
    kernel.wakeAll()
    release()
    fixture.channel.sendString('def', 'latin1', fixture.seen.sending('def'))
    expect(kernel.sendNowCalls).toBe(1)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('abcdef')
  })

  test('arena full and sendNow out of memory: the send is refused, nothing of it is sent (W1)', () => {
    const { kernel, id, seen } = fixture
    exhaustArena()
    kernel.sendNowTakes = () => ENOBUFS
    expect(send('abc')).toBe(ENOBUFS)
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    expect(kernel.wire(id)).toBe('')
  })
})

describe('strings', () => {
  const texts = [
    'plain',
    'ümläut ÿ',
    'Ω≈ç√ 漢字',
    '😀😀',
    'a\0b',
    '\ud800 lone',
    'x'.repeat(9000),
    'é'.repeat(9000),
  ]
  const encodings: BufferEncoding[] = [
    'utf8',
    'utf-8',
    'latin1',
    'binary',
    'ascii',
    'ucs2',
    'utf16le',
  ]

  test.each(encodings)('%s sends what Buffer.from makes of it, alone and waiting', (encoding) => {
    const { kernel, channel, id, seen } = fixture
    for (const text of texts) channel.sendString(text, encoding, seen.sending('first'))
    while (kernel.isInFlight(id, 'send')) kernel.deliver(kernel.sent(id))
    const once = Buffer.concat(texts.map((text) => Buffer.from(text, encoding)))
    expect(kernel.wireBytes(id).equals(once)).toBe(true)
    // Now each on its own, straight into the arena.
    for (const text of texts) {
      const status = channel.sendString(text, encoding, seen.sending('again'))
      if (status === Sent.pending && kernel.isInFlight(id, 'send')) kernel.deliver(kernel.sent(id))
      kernel.wakeAll()
    }
    expect(kernel.wireBytes(id).equals(Buffer.concat([once, once]))).toBe(true)
    expect(channel.bytesAccepted).toBe(2 * once.length)
    expect(fixture.driver.arena.bytesInUse).toBe(0)
  })

  test.each(['hex', 'base64', 'base64url'] as const)('%s is decoded', (encoding) => {
    const { kernel, channel, id, seen } = fixture
    const bytes = Buffer.from('some bytes \xff\0', 'latin1')
    channel.sendString(bytes.toString(encoding), encoding, seen.sending(''))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wireBytes(id).equals(bytes)).toBe(true)
    expect(seen.events).toEqual([`sent  0 ${bytes.length}`])
  })

  test('a text that is short in characters and long in bytes is not cut at the block', () => {
    const { kernel, channel, id, seen } = fixture
    const text = '漢'.repeat(copyBytesMax)
    kernel.sendNowTakes = (length) => length
    expect(channel.sendString(text, 'utf8', seen.sending(''))).toBe(Sent.done)
    expect(kernel.wireBytes(id).equals(Buffer.from(text))).toBe(true)
  })
})

describe('several chunks', () => {
  test('several chunks leave as one send, in order, as they were (W2)', () => {
    const { kernel, channel, id, seen } = fixture
    const entries = ['one', '', 'two', 'three'].map(entry)
    expect(channel.sendEntries(entries, seen.sending('all'))).toBe(Sent.pending)
    entries.forEach(({ chunk }) => chunk.fill('x'))
    expect(kernel.sendLength(id)).toBe(11)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('onetwothree')
    expect(seen.events).toEqual(['sent all 0 11'])
  })

  test('behind another send it waits as one', () => {
    const { kernel, channel, id, seen } = fixture
    send('first')
    const entries = ['one', 'two'].map(entry)
    channel.sendEntries(entries, seen.sending('all'))
    entries.forEach(({ chunk }) => chunk.fill('x'))
    expect(channel.waitingSends).toBe(1)
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('firstonetwo')
  })

  test('more than a block is offered at once, as one', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.sendNowTakes = () => 10_000
    const entries = ['a'.repeat(9000), 'b'.repeat(9000)].map(entry)
    expect(channel.sendEntries(entries, seen.sending('all'))).toBe(Sent.pending)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('a'.repeat(9000) + 'b'.repeat(9000))
    expect(seen.events).toEqual(['sent all 0 18000'])
  })
})

describe('lent blocks', () => {
  test('a lent block is sent in place and never released by the channel', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const block = driver.arena.allocate(100)
    driver.arena.bytes.write('lent', block)
    channel.sendOwned(block, 4, seen.sending('lent'))
    send('copied')
    channel.sendOwned(block, 2, seen.sending('again'))
    for (let i = 0; i < 3; i++) kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('lentcopiedle')
    expect(driver.arena.bytesInUse).toBe(256)
    driver.arena.release(block)
  })

  test('a lent block is not released when its send fails', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const block = driver.arena.allocate(100)
    channel.sendOwned(block, 4, seen.sending('lent'))
    kernel.deliver(kernel.sent(id, ECONNRESET))
    expect(driver.arena.bytesInUse).toBe(256)
    driver.arena.release(block)
  })
})

describe('cancelSend', () => {
  test('a waiting send is taken out: none of it is sent, the others go on', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('b')
    send('a')
    channel.send(Buffer.from('bb'), request, false)
    send('c')
    channel.cancelSend(request)
    expect(seen.events).toEqual([])
    kernel.wakeAll()
    expect(seen.drain()).toEqual([`sent b ${ECANCELED} 0`])
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(seen.drain()).toEqual(['sent a 0 1', 'sent c 0 1'])
    expect(kernel.wire(id)).toBe('ac')
    expect(channel.bytesAccepted).toBe(2)
    expect(channel.sendQueueBytes).toBe(0)
  })

  test('a send in flight is asked to end, once; its completion tells how it ended (C1)', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('aaa'), request, false)
    channel.cancelSend(request)
    channel.cancelSend(request)
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    expect(kernel.taken()).toEqual(['cancel send'])
    kernel.deliver(kernel.sent(id, ECANCELED))
    expect(seen.events).toEqual([`sent a ${ECANCELED} 0`])
  })

  test('a send that was cancelled untouched does not poison: the stream has no gap', () => {
    const { kernel, channel, id } = fixture
    const request = fixture.seen.sending('a')
    channel.send(Buffer.from('aaa'), request, false)
    send('b')
    channel.cancelSend(request)
    kernel.deliver(kernel.sent(id, ECANCELED))
    kernel.deliver(kernel.sent(id))
    expect(send('c')).toBe(Sent.pending)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('bc')
  })

  test('a send that was cut short poisons: what follows would land in the gap', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('aaa'), request, false)
    send('b')
    channel.cancelSend(request)
    kernel.deliver(kernel.sent(id, ECANCELED, 2))
    kernel.wakeAll()
    expect(seen.events).toEqual([`sent a ${ECANCELED} 2`, `sent b ${ECANCELED} 0`])
    expect(send('c')).toBe(ECANCELED)
    expect(kernel.wire(id)).toBe('aa')
  })

  test('a cancel that came too late is a success', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('aaa'), request, false)
    channel.cancelSend(request)
    kernel.deliver(kernel.sent(id))
    expect(seen.events).toEqual(['sent a 0 3'])
    expect(send('b')).toBe(Sent.pending)
  })

  test('cancelling what has ended, or never was, does nothing', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('a'), request, false)
    kernel.deliver(kernel.sent(id))
    channel.cancelSend(request)
    channel.cancelSend(seen.sending('never'))
    kernel.wakeAll()
    expect(kernel.taken()).toEqual([])
    expect(seen.events).toEqual(['sent a 0 1'])
  })
})

describe('shutdown', () => {
  test('FIN comes after everything accepted, not while a send is in flight (W3)', () => {
    const { kernel, channel, id, seen } = fixture
    send('a')
    send('b')
    expect(channel.shutdown(seen.shuttingDown())).toBe(0)
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.sent(id))
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.sent(id))
    expect(kernel.taken()).toEqual(['shutdown'])
    kernel.deliver(kernel.shutDown(id))
    expect(seen.events).toEqual(['sent a 0 1', 'sent b 0 1', 'shutdown 0'])
    expect(kernel.hasFin(id)).toBe(true)
  })

  test('with nothing to wait for FIN goes at once, and its callback is never synchronous', () => {
    const { kernel, channel, id, seen } = fixture
    channel.shutdown(seen.shuttingDown())
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.shutDown(id, errno('ENOTCONN')))
    expect(seen.events).toEqual([`shutdown ${errno('ENOTCONN')}`])
  })

  test.each([
    ['an empty send', ''],
    ['a large send that was taken at once', 'x'.repeat(70_000)],
  ])('FIN does not wait for the news of %s, and is told after it', (_what, text) => {
    const { kernel, channel, id, seen } = fixture
    send(text, 'it')
    channel.shutdown(seen.shuttingDown())
    const news = kernel.woken()
    expect(news).toHaveLength(1)
    expect(kernel.taken()).toEqual(['shutdown'])
    expect(seen.events).toEqual([])
    kernel.deliver(news, kernel.shutDown(id))
    expect(seen.events).toEqual([`sent it 0 ${text.length}`, 'shutdown 0'])
  })

  test('FIN waits for what waits behind an empty send', () => {
    const { kernel, channel, id, seen } = fixture
    send('', 'empty')
    send('abc', 'abc')
    channel.shutdown(seen.shuttingDown())
    expect(kernel.taken()).toEqual([])
    kernel.wakeAll()
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('abc')
    expect(kernel.taken()).toEqual(['shutdown'])
    kernel.deliver(kernel.shutDown(id))
    expect(seen.events).toEqual(['sent empty 0 0', 'sent abc 0 3', 'shutdown 0'])
  })

  test('receiving goes on after FIN: half-close', () => {
    const { kernel, channel, id, seen } = fixture
    channel.readStart()
    channel.shutdown(seen.shuttingDown())
    kernel.deliver(kernel.shutDown(id), kernel.received(id, 'answer'))
    expect(seen.events).toEqual(['shutdown 0', 'bytes answer'])
  })

  test('a send after shutdown is refused: its bytes would follow the FIN', () => {
    const { kernel, channel, seen } = fixture
    channel.shutdown(seen.shuttingDown())
    expect(send('late')).toBeLessThan(0)
    expect(kernel.taken()).toEqual(['shutdown'])
  })

  test('a second shutdown is refused and the first one still answered: one FIN in flight', () => {
    const { kernel, channel, id, seen } = fixture
    channel.shutdown(seen.shuttingDown(' 1'))
    expect(channel.shutdown(seen.shuttingDown(' 2'))).toBeLessThan(0)
    expect(kernel.taken()).toEqual(['shutdown'])
    kernel.deliver(kernel.shutDown(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['shutdown 1 0'])
  })
})

describe('connecting', () => {
  test('the result of the connect is told once', () => {
    const { kernel, channel, id, seen } = fixture
    const onConnected = (status: number): void => seen.note(`connected ${status}`)
    expect(channel.connect('127.0.0.1', 80, onConnected)).toBe(0)
    expect(seen.events).toEqual([])
    const completion = kernel.connected(id, errno('ECONNREFUSED'))
    kernel.deliver(completion, completion)
    expect(seen.events).toEqual([`connected ${errno('ECONNREFUSED')}`])
  })

  test('a refused connect tells at once and never calls back', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.refuses.connect = errno('ENETUNREACH')
    expect(channel.connect('::1', 80, () => seen.note('connected'))).toBe(errno('ENETUNREACH'))
    kernel.deliver({ opcode: Op.connect, id, result: 0 })
    expect(seen.events).toEqual([])
  })

  test('closed while connecting: the connect ends first, then closed', () => {
    const { kernel, channel, id, seen } = fixture
    channel.connect('::1', 80, (status) => seen.note(`connected ${status}`))
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual([`connected ${ECANCELED}`, 'closed'])
  })
})

describe('duplicated and missing completions', () => {
  test('a second completion of a send changes nothing and is counted', () => {
    const { kernel, id, seen, driver } = fixture
    send('abc')
    const completion = kernel.sent(id)
    kernel.deliver(completion, completion)
    expect(seen.events).toEqual(['sent abc 0 3'])
    expect(driver.stats().strays).toBe(1)
    expect(driver.arena.bytesInUse).toBe(0)
  })

  test.each([
    ['shutdown', Op.shutdown],
    ['connect', Op.connect],
  ])('a %s completion nobody waits for changes nothing and is counted', (_name, opcode) => {
    const { kernel, id, seen, driver } = fixture
    kernel.deliver({ opcode, id, result: 0 })
    expect(seen.events).toEqual([])
    expect(driver.stats().strays).toBe(1)
  })

  test('a shutdown completion before the shutdown was submitted does not pass for the FIN', () => {
    const { kernel, channel, id, seen } = fixture
    send('abc')
    channel.shutdown(seen.shuttingDown())
    kernel.deliver({ opcode: Op.shutdown, id, result: 0 })
    expect(seen.drain()).toEqual([])
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.shutDown(id))
    expect(seen.events).toEqual(['sent abc 0 3', 'shutdown 0'])
  })

  test('a send that never completes holds up its own channel only', () => {
    const { kernel, id, seen, driver } = fixture
    const other = new Recorder()
    const otherId = kernel.endpoint()
    const second = new Channel(driver, otherId, other)
    send('stuck')
    send('behind')
    second.send(Buffer.from('free'), other.sending('free'), false)
    kernel.deliver(kernel.sent(otherId))
    kernel.wakeAll()
    expect(other.events).toEqual(['sent free 0 4'])
    expect(seen.events).toEqual([])
    expect(kernel.wire(id)).toBe('')
    expect(kernel.sendLength(id)).toBe(5)
  })
})

describe('in a batch', () => {
  const writeOnBytes = (): void => {
    const { channel, seen } = fixture
    seen.onEvent = (event) => {
      if (event.startsWith('bytes')) channel.send(Buffer.from('echo'), seen.sending('echo'), true)
    }
  }

  /** Delivers one completion for the channel and `count - 1` for others behind it; the last of them is given back. */
  const deliver = (count: number): Recorder => {
    const { kernel, channel, id, driver } = fixture
    const others = Array.from({ length: count - 1 }, () => {
      const seen = new Recorder()
      const other = new Channel(driver, kernel.endpoint(), seen)
      other.readStart()
      return { seen, other }
    })
    const last = others.at(-1)!.seen
    channel.readStart()
    kernel.taken()
    writeOnBytes()
    last.onEvent = () => last.events.push(`wire '${kernel.wire(id)}'`)
    kernel.deliver(
      kernel.received(id, 'one'),
      ...others.map(({ other }) => kernel.received(other.id, 'other')),
    )
    return last
  }

  test('of many completions, what is sent goes out with its commands, at its end', () => {
    const { kernel, id, seen, driver } = fixture
    const last = deliver(4)
    expect(last.events).toEqual(['bytes other', "wire ''"])
    expect(seen.events).toEqual(['bytes one'])
    kernel.taken()
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('echo')
    expect(seen.events).toEqual(['bytes one', 'sent echo 0 4'])
    expect(driver.stats().arenaBytes).toBe(0)
  })

  test('of few completions, what is sent is tried at once', () => {
    const { kernel, id } = fixture
    kernel.sendNowTakes = (length) => length
    expect(deliver(3).events).toEqual(['bytes other', "wire 'echo'"])
    expect(kernel.isInFlight(id, 'send')).toBe(false)
  })

  test('a send after the batch is tried at once again', () => {
    const { kernel, channel, id, seen } = fixture
    deliver(4)
    kernel.taken()
    kernel.deliver(kernel.sent(id))
    kernel.sendNowTakes = (length) => length
    expect(channel.send(Buffer.from(' later'), seen.sending('later'), true)).toBe(Sent.done)
    expect(kernel.wire(id)).toBe('echo later')
  })
})
