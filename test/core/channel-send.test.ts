/** The send side of a channel: all or nothing, copied, in order, one operation in flight, failed for good, FIN last (W1-W5). */
import { Channel } from '../../src/core/channel'
import { errno } from './scripted-kernel'
import { Recorder, makeChannel } from './fixtures'
import type { ChannelFixture } from './fixtures'

const ECANCELED = errno('ECANCELED')
const EPIPE = errno('EPIPE')
const ECONNRESET = errno('ECONNRESET')

/** As in send-side.ts: sends of one operation. */
const piecesMax = 64

let fixture: ChannelFixture

const send = (text: string, name = text): number =>
  fixture.channel.send(Buffer.from(text, 'latin1'), fixture.seen.sending(name))

const entry = (text: string): { chunk: Buffer; encoding: 'utf8' } => ({
  chunk: Buffer.from(text),
  encoding: 'utf8',
})

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
    channel.send(first, seen.sending('1'))
    channel.send(waiting, seen.sending('2'))
    first.fill('x')
    waiting.fill('x')
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('firstwaiting')
  })

  test('a subarray sends its own bytes and no others of its memory', () => {
    const { kernel, channel, id, seen } = fixture
    channel.send(Buffer.from('__abc__').subarray(2, 5), seen.sending('1'))
    channel.send(Buffer.from('__def__').subarray(2, 5), seen.sending('2'))
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('abcdef')
  })

  test('onSent follows the completion, once, never from inside send (W4)', () => {
    const { kernel, id, seen } = fixture
    expect(send('abc')).toBe(0)
    kernel.taken()
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.sent(id))
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent abc 0 3'])
  })

  test('what is accepted while a send is in flight goes out together in the next one, in order (W3)', () => {
    const { kernel, id, seen, channel } = fixture
    const names = Array.from({ length: 40 }, (_, i) => `<${i}>`)
    for (const name of names) send(name)
    expect(channel.waitingSends).toBe(39)
    const total = names.join('').length
    expect(channel.bytesAccepted).toBe(total)
    expect(channel.sendQueueBytes).toBe(total)
    expect(kernel.sendLengths(id)).toEqual([3])
    kernel.deliver(kernel.sent(id))
    expect(seen.drain()).toEqual(['sent <0> 0 3'])
    expect(channel.waitingSends).toBe(0)
    expect(kernel.sendLengths(id)).toEqual(names.slice(1).map((name) => name.length))
    kernel.deliver(kernel.sent(id))
    expect(seen.drain()).toEqual(names.slice(1).map((name) => `sent ${name} 0 ${name.length}`))
    expect(kernel.wire(id)).toBe(names.join(''))
    expect(channel.bytesAccepted).toBe(total)
    expect(channel.sendQueueBytes).toBe(0)
  })

  test('more than one operation takes goes out in several, one in flight at a time', () => {
    const { kernel, id, seen } = fixture
    const names = Array.from({ length: 2 + 2 * piecesMax }, (_, i) => `<${i}>`)
    for (const name of names) send(name)
    const counts: number[] = []
    while (kernel.isInFlight(id, 'send')) {
      counts.push(kernel.sendLengths(id).length)
      kernel.deliver(kernel.sent(id))
    }
    expect(counts).toEqual([1, piecesMax, piecesMax, 1])
    expect(kernel.wire(id)).toBe(names.join(''))
    expect(seen.events).toEqual(names.map((name) => `sent ${name} 0 ${name.length}`))
  })

  test('an operation whose commands do not fit into the queue at once is whole all the same', () => {
    const { kernel, channel, id, seen } = makeChannel({ commandCapacity: 4 })
    const names = Array.from({ length: 20 }, (_, i) => `<${i}>`)
    for (const name of names) channel.send(Buffer.from(name), seen.sending(name))
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe(names.join(''))
    expect(seen.events).toHaveLength(20)
    kernel.assertClean()
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

  test.each([0, 1, 2])(
    'a result of %i for 3 bytes never counts as success, and fails the stream',
    (result) => {
      const { kernel, id, seen } = fixture
      send('abc')
      send('waits')
      kernel.deliver(kernel.sent(id, result, result))
      kernel.wakeAll()
      expect(seen.events).toEqual([`sent abc ${EPIPE} ${result}`, `sent waits ${EPIPE} 0`])
      expect(send('later')).toBe(EPIPE)
      expect(kernel.taken()).toEqual([])
    },
  )

  test('a failed send tells how much was taken, and fails what waits once each (W5)', () => {
    const { kernel, channel, id, seen } = fixture
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
    expect(channel.sendQueueBytes).toBe(0)
  })

  test('of several in one operation that fails each tells how much of it was taken', () => {
    const { kernel, id, seen } = fixture
    send('first')
    for (const text of ['aaa', 'bbb', 'ccc']) send(text)
    kernel.deliver(kernel.sent(id))
    expect(seen.drain()).toEqual(['sent first 0 5'])
    kernel.deliver(kernel.sent(id, ECONNRESET, 4))
    kernel.wakeAll()
    expect(seen.events).toEqual([
      'sent aaa 0 3',
      `sent bbb ${ECONNRESET} 1`,
      `sent ccc ${ECONNRESET} 0`,
    ])
    expect(kernel.wire(id)).toBe('firstaaab')
    expect(send('x')).toBe(ECONNRESET)
  })

  test('after a failure every kind of send is refused with the same errno, and nothing follows', () => {
    const { kernel, channel, driver, id, seen } = fixture
    send('abc')
    kernel.deliver(kernel.sent(id, ECONNRESET, 0))
    seen.drain()
    const accepted = channel.bytesAccepted
    expect(send('x')).toBe(ECONNRESET)
    expect(send('')).toBe(ECONNRESET)
    expect(channel.sendEntries([entry('x')], seen.sending(''))).toBe(ECONNRESET)
    const block = driver.blocks.create(8)
    expect(channel.sendBlock(block, 1, seen.sending(''))).toBe(ECONNRESET)
    // A FIN would say that nothing is missing.
    expect(channel.shutdown(seen.shuttingDown())).toBe(errno('ENOTCONN'))
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    expect(kernel.taken()).toEqual([])
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
    expect(seen.events).toEqual([`sent abc ${EPIPE} 0`, 'bytes last words'])
  })

  test('two channels on one driver do not touch each other’s memory', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const other = kernel.endpoint()
    const second = new Channel(driver, other, seen)
    for (let i = 0; i < 20; i++) {
      channel.send(Buffer.alloc(300, 'a'), seen.sending('a'))
      second.send(Buffer.alloc(300, 'b'), seen.sending('b'))
      if (i % 2 === 0) kernel.deliver(kernel.sent(other), kernel.sent(id))
    }
    while (kernel.isInFlight(id, 'send')) kernel.deliver(kernel.sent(id))
    while (kernel.isInFlight(other, 'send')) kernel.deliver(kernel.sent(other))
    expect(kernel.wire(id)).toBe('a'.repeat(6000))
    expect(kernel.wire(other)).toBe('b'.repeat(6000))
  })

  test.each([100, 5000, 200_000])(
    'the memory of a send of %i bytes is used again after its completion, and not before',
    (length) => {
      const { kernel, id } = fixture
      send('x'.repeat(length))
      send('y'.repeat(length))
      expect(kernel.registeredCount).toBe(2)
      for (let i = 0; i < 20; i++) {
        kernel.deliver(kernel.sent(id))
        send('z'.repeat(length))
      }
      expect(kernel.registeredCount).toBe(2)
    },
  )

  test('bytes of any number go out in one operation', () => {
    const { kernel, channel, id, seen } = fixture
    const bytes = Buffer.alloc(300_000, 'L')
    channel.send(bytes, seen.sending('large'))
    bytes.fill('x')
    expect(channel.sendQueueBytes).toBe(300_000)
    expect(kernel.sendLengths(id)).toEqual([300_000])
    expect(channel.sendQueueBytes).toBe(300_000)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('L'.repeat(300_000))
    expect(seen.events).toEqual(['sent large 0 300000'])
  })
})

describe('zero bytes', () => {
  test('nothing is submitted for nothing; the callback still comes later, in order', () => {
    const { kernel, id, seen } = fixture
    expect(send('', 'empty')).toBe(0)
    expect(kernel.taken()).toEqual([])
    expect(send('abc')).toBe(0)
    expect(seen.events).toEqual([])
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

  test('an empty send between others is told between them', () => {
    const { kernel, id, seen } = fixture
    send('first')
    send('a')
    send('', 'empty')
    send('b')
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id))
    expect(seen.events).toEqual(['sent first 0 5', 'sent a 0 1', 'sent empty 0 0', 'sent b 0 1'])
    expect(kernel.wire(id)).toBe('firstab')
  })

  test('an empty send behind one that failed fails with it, in one operation or not (W5)', () => {
    const { kernel, id, seen } = fixture
    send('first')
    send('abc')
    send('', 'empty')
    kernel.deliver(kernel.sent(id))
    seen.drain()
    kernel.deliver(kernel.sent(id, ECONNRESET, 1))
    kernel.wakeAll()
    expect(seen.events).toEqual([`sent abc ${ECONNRESET} 1`, `sent empty ${ECONNRESET} 0`])
  })

  test('no entries, and entries without bytes, are an empty send', () => {
    const { channel, seen, kernel } = fixture
    expect(channel.sendEntries([], seen.sending('none'))).toBe(0)
    expect(channel.sendEntries([entry(''), entry('')], seen.sending('empty'))).toBe(0)
    expect(kernel.taken()).toEqual([])
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent none 0 0', 'sent empty 0 0'])
  })

  test('an empty lent block goes the same way', () => {
    const { channel, seen, driver, kernel } = fixture
    expect(channel.sendBlock(driver.blocks.create(10), 0, seen.sending('lent'))).toBe(0)
    kernel.wakeAll()
    expect(seen.events).toEqual(['sent lent 0 0'])
    expect(kernel.taken()).toEqual([])
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
    '漢'.repeat(30_000),
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

  test.each(encodings)('%s sends what Buffer.from makes of it, alone and together', (encoding) => {
    const { kernel, channel, id, seen } = fixture
    for (const chunk of texts) channel.sendEntries([{ chunk, encoding }], seen.sending('first'))
    while (kernel.isInFlight(id, 'send')) kernel.deliver(kernel.sent(id))
    const entries = texts.map((chunk) => ({ chunk, encoding }))
    channel.sendEntries(entries, seen.sending('again'))
    kernel.deliver(kernel.sent(id))
    const once = Buffer.concat(texts.map((text) => Buffer.from(text, encoding)))
    expect(kernel.wireBytes(id).equals(Buffer.concat([once, once]))).toBe(true)
    expect(channel.bytesAccepted).toBe(2 * once.length)
  })

  test.each(['hex', 'base64', 'base64url'] as const)('%s is decoded', (encoding) => {
    const { kernel, channel, id, seen } = fixture
    const bytes = Buffer.from('some bytes \xff\0', 'latin1')
    channel.sendEntries([{ chunk: bytes.toString(encoding), encoding }], seen.sending(''))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wireBytes(id).equals(bytes)).toBe(true)
    expect(seen.events).toEqual([`sent  0 ${bytes.length}`])
  })

  test.each([
    ['hex', 'abc'],
    ['hex', 'abzz12'],
    ['base64', 'YW\nJj ZA'],
    ['base64', 'YWJjZA==trailing'],
  ] as const)('%s of %j sends what Buffer.from makes of it', (encoding, chunk) => {
    const { kernel, channel, id, seen } = fixture
    channel.sendEntries([{ chunk, encoding }, entry('|end')], seen.sending(''))
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe(`${Buffer.from(chunk, encoding).toString('latin1')}|end`)
  })
})

describe('several chunks', () => {
  test('leave as one send, in order, as they were (W2)', () => {
    const { kernel, channel, id, seen } = fixture
    const entries = ['one', '', 'two', 'three'].map(entry)
    expect(channel.sendEntries(entries, seen.sending('all'))).toBe(0)
    entries.forEach(({ chunk }) => chunk.fill('x'))
    expect(kernel.sendLengths(id)).toEqual([11])
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('onetwothree')
    expect(seen.events).toEqual(['sent all 0 11'])
  })

  test('behind another send wait as one', () => {
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
})

describe('sendLast', () => {
  test('accepts every chunk for which nobody waits, and stops at one that is refused', () => {
    const { kernel, channel, id, seen } = fixture
    send('a')
    channel.sendLast([entry('b'), { chunk: 'c', encoding: 'utf8' }])
    kernel.deliver(kernel.sent(id))
    kernel.deliver(kernel.sent(id, ECONNRESET))
    channel.sendLast([entry('d')])
    kernel.wakeAll()
    expect(kernel.wire(id)).toBe('a')
    expect(seen.events).toEqual(['sent a 0 1'])
    expect(kernel.taken()).toEqual([])
  })
})

describe('lent blocks', () => {
  test('a lent block is sent in place, between others', () => {
    const { kernel, channel, id, seen, driver } = fixture
    const block = driver.blocks.create(100)
    block.bytes.write('lent')
    channel.sendBlock(block, 4, seen.sending('lent'))
    send('copied')
    kernel.deliver(kernel.sent(id))
    channel.sendBlock(block, 2, seen.sending('again'))
    for (let i = 0; i < 2; i++) kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('lentcopiedle')
  })

  test.each([
    ['when its send ends', undefined],
    ['when its send fails', ECONNRESET],
  ])('a lent block is never taken for the channel’s own %s', (_when, result) => {
    const { kernel, channel, id, seen, driver } = fixture
    const block = driver.blocks.acquire(100)
    channel.sendBlock(block, 4, seen.sending('lent'))
    kernel.deliver(kernel.sent(id, result))
    expect(driver.blocks.acquire(100)).not.toBe(block)
  })
})

describe('cancelSend', () => {
  test('a waiting send is taken out: none of it is sent, the others go on', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('b')
    send('a')
    channel.send(Buffer.from('bb'), request)
    send('c')
    channel.cancelSend(request)
    expect(seen.events).toEqual([])
    kernel.wakeAll()
    expect(seen.drain()).toEqual([`sent b ${ECANCELED} 0`])
    expect(kernel.taken()).toEqual(['send'])
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
    channel.send(Buffer.from('aaa'), request)
    channel.cancelSend(request)
    channel.cancelSend(request)
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    expect(kernel.taken()).toEqual(['send', 'cancel send'])
    kernel.deliver(kernel.sent(id, ECANCELED))
    expect(seen.events).toEqual([`sent a ${ECANCELED} 0`])
  })

  test('a send that was cancelled untouched does not fail the stream: it has no gap', () => {
    const { kernel, channel, id } = fixture
    const request = fixture.seen.sending('a')
    channel.send(Buffer.from('aaa'), request)
    send('b')
    channel.cancelSend(request)
    kernel.deliver(kernel.sent(id, ECANCELED))
    kernel.deliver(kernel.sent(id))
    expect(send('c')).toBe(0)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('bc')
  })

  test('a send that was cut short fails the stream: what follows would land in the gap', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('aaa'), request)
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
    channel.send(Buffer.from('aaa'), request)
    channel.cancelSend(request)
    kernel.deliver(kernel.sent(id))
    expect(seen.events).toEqual(['sent a 0 3'])
    expect(send('b')).toBe(0)
    kernel.deliver(kernel.sent(id))
    expect(kernel.wire(id)).toBe('aaab')
  })

  test('cancelling what has ended, or never was, does nothing', () => {
    const { kernel, channel, id, seen } = fixture
    const request = seen.sending('a')
    channel.send(Buffer.from('a'), request)
    kernel.deliver(kernel.sent(id))
    channel.cancelSend(request)
    channel.cancelSend(seen.sending('never'))
    kernel.wakeAll()
    expect(kernel.taken()).toEqual([])
    expect(seen.events).toEqual(['sent a 0 1'])
  })

  describe('of one of several in one operation', () => {
    /** 'first' has been sent; the sends of these names are in flight together. */
    function inFlight(...names: string[]): Map<string, ReturnType<Recorder['sending']>> {
      const { kernel, channel, id, seen } = fixture
      send('first')
      const requests = new Map(names.map((name) => [name, seen.sending(name)]))
      for (const [name, request] of requests) channel.send(Buffer.from(name), request)
      kernel.deliver(kernel.sent(id))
      kernel.taken()
      seen.drain()
      return requests
    }

    test('the others go out whole and in order', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb', 'ccc')
      channel.cancelSend(requests.get('bbb')!)
      expect(kernel.taken()).toEqual(['cancel send'])
      kernel.deliver(kernel.sent(id, ECANCELED, 0))
      expect(seen.drain()).toEqual([`sent bbb ${ECANCELED} 0`])
      expect(kernel.sendLengths(id)).toEqual([3, 3])
      kernel.deliver(kernel.sent(id))
      expect(seen.events).toEqual(['sent aaa 0 3', 'sent ccc 0 3'])
      expect(kernel.wire(id)).toBe('firstaaaccc')
    })

    test('one before it that was taken in part goes on where the kernel stopped', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb', 'ccc')
      channel.cancelSend(requests.get('bbb')!)
      kernel.deliver(kernel.sent(id, ECANCELED, 2))
      expect(kernel.sendLengths(id)).toEqual([1, 3])
      expect(channel.sendQueueBytes).toBe(4)
      kernel.deliver(kernel.sent(id))
      expect(seen.events).toEqual([`sent bbb ${ECANCELED} 0`, 'sent aaa 0 3', 'sent ccc 0 3'])
      expect(kernel.wire(id)).toBe('firstaaaccc')
      expect(channel.sendQueueBytes).toBe(0)
    })

    test('one before it that was taken whole has succeeded', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb', 'ccc')
      channel.cancelSend(requests.get('bbb')!)
      kernel.deliver(kernel.sent(id, ECANCELED, 3))
      kernel.deliver(kernel.sent(id))
      expect(seen.events).toEqual(['sent aaa 0 3', `sent bbb ${ECANCELED} 0`, 'sent ccc 0 3'])
      expect(kernel.wire(id)).toBe('firstaaaccc')
    })

    test('cut short itself, it fails what follows: that would land in the gap (W5)', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb', 'ccc')
      send('ddd')
      channel.cancelSend(requests.get('bbb')!)
      kernel.deliver(kernel.sent(id, ECANCELED, 4))
      kernel.wakeAll()
      expect(seen.events).toEqual([
        'sent aaa 0 3',
        `sent bbb ${ECANCELED} 1`,
        `sent ccc ${ECANCELED} 0`,
        `sent ddd ${ECANCELED} 0`,
      ])
      expect(kernel.wire(id)).toBe('firstaaab')
      expect(send('x')).toBe(ECANCELED)
      expect(kernel.taken()).toEqual([])
    })

    test('what waits comes after the ones that go on', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb')
      send('ddd')
      channel.cancelSend(requests.get('aaa')!)
      kernel.deliver(kernel.sent(id, ECANCELED, 0))
      while (kernel.isInFlight(id, 'send')) kernel.deliver(kernel.sent(id))
      expect(kernel.wire(id)).toBe('firstbbbddd')
      expect(seen.events).toEqual([`sent aaa ${ECANCELED} 0`, 'sent bbb 0 3', 'sent ddd 0 3'])
    })

    test('all of them cancelled: the stream is whole, and FIN follows', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb')
      channel.shutdown(seen.shuttingDown())
      for (const request of requests.values()) channel.cancelSend(request)
      kernel.deliver(kernel.sent(id, ECANCELED, 0))
      kernel.deliver(kernel.shutDown(id))
      expect(kernel.wire(id)).toBe('first')
      expect(seen.events).toEqual([
        `sent aaa ${ECANCELED} 0`,
        `sent bbb ${ECANCELED} 0`,
        'shutdown 0',
      ])
    })

    test('one that is cancelled after it was taken in part and went on fails the stream', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb')
      channel.cancelSend(requests.get('bbb')!)
      kernel.deliver(kernel.sent(id, ECANCELED, 2))
      channel.cancelSend(requests.get('aaa')!)
      kernel.deliver(kernel.sent(id, ECANCELED, 0))
      expect(seen.events).toEqual([`sent bbb ${ECANCELED} 0`, `sent aaa ${ECANCELED} 2`])
      expect(kernel.wire(id)).toBe('firstaa')
      expect(send('x')).toBe(ECANCELED)
    })

    test('a callback that throws keeps no other from its own', () => {
      const { kernel, channel, id, seen } = fixture
      const requests = inFlight('aaa', 'bbb', 'ccc')
      seen.onEvent = (event) => {
        if (event === 'sent aaa 0 3') throw new Error(event)
      }
      channel.cancelSend(requests.get('bbb')!)
      kernel.deliver(kernel.sent(id, ECANCELED, 3))
      kernel.deliver(kernel.sent(id))
      kernel.wakeAll()
      expect(kernel.uncaught.splice(0)).toHaveLength(1)
      expect([...seen.events].sort()).toEqual(
        ['sent aaa 0 3', `sent bbb ${ECANCELED} 0`, 'sent ccc 0 3'].sort(),
      )
      expect(kernel.wire(id)).toBe('firstaaaccc')
    })
  })
})

describe('shutdown', () => {
  test('FIN comes after everything accepted, not while a send is in flight (W3)', () => {
    const { kernel, channel, id, seen } = fixture
    send('a')
    send('b')
    expect(channel.shutdown(seen.shuttingDown())).toBe(0)
    expect(kernel.taken()).toEqual(['send'])
    kernel.deliver(kernel.sent(id))
    expect(kernel.taken()).toEqual(['send'])
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

  test('FIN does not wait for the news of an empty send, and is told after it', () => {
    const { kernel, channel, id, seen } = fixture
    send('', 'empty')
    channel.shutdown(seen.shuttingDown())
    const news = kernel.woken()
    expect(news).toHaveLength(1)
    expect(kernel.taken()).toEqual(['shutdown'])
    expect(seen.events).toEqual([])
    kernel.deliver(news, kernel.shutDown(id))
    expect(seen.events).toEqual(['sent empty 0 0', 'shutdown 0'])
  })

  test('FIN waits for what waits behind an empty send', () => {
    const { kernel, channel, id, seen } = fixture
    send('', 'empty')
    send('abc', 'abc')
    channel.shutdown(seen.shuttingDown())
    expect(kernel.taken()).toEqual(['send'])
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
    expect(send('late')).toBe(EPIPE)
    expect(kernel.taken()).toEqual(['shutdown'])
  })

  test('a second shutdown is refused and the first one still answered: one FIN in flight', () => {
    const { kernel, channel, id, seen } = fixture
    channel.shutdown(seen.shuttingDown(' 1'))
    expect(channel.shutdown(seen.shuttingDown(' 2'))).toBe(errno('ENOTCONN'))
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
    kernel.deliver(kernel.connected(id, errno('ECONNREFUSED')))
    expect(seen.events).toEqual([`connected ${errno('ECONNREFUSED')}`])
  })

  test('a refused connect tells at once and never calls back', () => {
    const { kernel, channel, id, seen } = fixture
    kernel.refuses.connect = errno('ENETUNREACH')
    expect(channel.connect('::1', 80, () => seen.note('connected'))).toBe(errno('ENETUNREACH'))
    kernel.wakeAll()
    expect(seen.events).toEqual([])
    // Its name is free for another operation.
    channel.shutdown(seen.shuttingDown())
    kernel.deliver(kernel.shutDown(id))
    expect(seen.events).toEqual(['shutdown 0'])
  })

  test('closed while connecting: the connect ends first, then closed', () => {
    const { kernel, channel, id, seen } = fixture
    channel.connect('::1', 80, (status) => seen.note(`connected ${status}`))
    channel.close(false, seen.closed)
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual([`connected ${ECANCELED}`, 'closed'])
  })
})

describe('a completion that never comes', () => {
  test('of a send holds up its own channel only', () => {
    const { kernel, id, seen, driver } = fixture
    const other = new Recorder(driver)
    const otherId = kernel.endpoint()
    const second = new Channel(driver, otherId, other)
    send('stuck')
    send('behind')
    second.send(Buffer.from('free'), other.sending('free'))
    kernel.deliver(kernel.sent(otherId))
    kernel.wakeAll()
    expect(other.events).toEqual(['sent free 0 4'])
    expect(seen.events).toEqual([])
    expect(kernel.wire(id)).toBe('')
    expect(kernel.sendLengths(id)).toEqual([5])
  })
})
