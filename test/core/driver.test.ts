/** The driver: the command queue, tokens, batches, and what is put off. */
import { Op } from '../../src/core/binding'
import type { DriverBinding } from '../../src/core/binding'
import { Driver } from '../../src/core/driver'
import { runTicks } from '../../src/core/ticks'
import { ScriptedKernel, errno } from './scripted-kernel'
import { makeChannel, makeDriver } from './fixtures'

jest.mock('../../src/core/ticks', () => ({ runTicks: jest.fn() }))

beforeEach(() => {
  jest.mocked(runTicks!).mockReset()
})

const ignored = { complete() {} }

describe('commands', () => {
  test('a full queue is handed over, and nothing of it is lost or reordered (C5)', () => {
    const { kernel, driver } = makeDriver({ commandCapacity: 4 })
    const ids = Array.from({ length: 11 }, () => kernel.endpoint())
    for (const id of ids) driver.start(ignored, Op.receive, id)
    kernel.taken()
    expect(kernel.log.map(({ id }) => id)).toEqual(ids)
    expect(kernel.submits).toBe(2)
    kernel.assertClean()
  })

  test('submit hands the queue over now', () => {
    const { kernel, driver } = makeDriver()
    driver.start(ignored, Op.receive, kernel.endpoint())
    driver.submit()
    expect(kernel.log).toHaveLength(1)
  })

  test('a kernel that refuses the driver is a system error', () => {
    const kernel = new ScriptedKernel()
    jest.spyOn(kernel as DriverBinding, 'createDriver').mockReturnValue(errno('EPERM'))
    expect(() => new Driver(kernel, 'uring')).toThrow(
      expect.objectContaining({ code: 'EPERM', syscall: 'io_uring_setup', errno: errno('EPERM') }),
    )
    expect(() => new Driver(kernel, 'epoll')).toThrow(
      expect.objectContaining({ code: 'EPERM', syscall: 'epoll_create1' }),
    )
  })
})

describe('tokens', () => {
  test('no two operations in flight have the same one; it is free again after the last completion', () => {
    const { kernel, driver } = makeDriver()
    const [a, b, c] = [kernel.endpoint(), kernel.endpoint(), kernel.endpoint()]
    const first = driver.start(ignored, Op.receive, a)
    const second = driver.start(ignored, Op.receive, b)
    expect(second).not.toBe(first)
    kernel.deliver(kernel.receiveEnded(a, 0))
    expect(driver.start(ignored, Op.receive, c)).toBe(first)
    kernel.assertClean()
  })

  test('a completion with MORE does not free it', () => {
    const { kernel, driver } = makeDriver()
    const [listening, other] = [kernel.endpoint(), kernel.endpoint()]
    const results: [number, boolean][] = []
    const complete = (result: number, more: boolean): void => void results.push([result, more])
    const token = driver.start({ complete }, Op.accept, listening)
    const [one, two] = [kernel.accepted(listening), kernel.accepted(listening)]
    kernel.deliver(one, two)
    expect(driver.start(ignored, Op.receive, other)).not.toBe(token)
    expect(results).toEqual([
      [one.result, true],
      [two.result, true],
    ])
    kernel.assertClean()
  })

  test('one that was refused at once is free again', () => {
    const { driver } = makeDriver()
    const token = driver.begin(ignored)
    driver.abandon(token)
    expect(driver.begin(ignored)).toBe(token)
  })

  test('thousands in flight keep apart', () => {
    const { kernel, driver } = makeDriver()
    const told: number[] = []
    const ids = Array.from({ length: 2000 }, () => kernel.endpoint())
    ids.forEach((id) => driver.start({ complete: (result) => told.push(result) }, Op.receive, id))
    const ends = ids.map((id, i) => kernel.receiveEnded(id, -1 - i)).reverse()
    kernel.deliver(ends)
    expect(told).toEqual(ends.map(({ result }) => result))
    kernel.assertClean()
  })
})

describe('completions', () => {
  test('many batches arrive in order, and ticks run after each callback (E2)', () => {
    const { kernel, channel, id, seen } = makeChannel({ batchSize: 4 })
    channel.readStart()
    const texts = Array.from({ length: 10 }, (_, i) => `${i}`)
    kernel.deliver(texts.map((text) => kernel.received(id, text)))
    expect(seen.events).toEqual(texts.map((text) => `bytes ${text}`))
    expect(runTicks).toHaveBeenCalledTimes(10)
    expect(kernel.dispatches).toBe(3)
  })

  test('the cursor stands on the next completion while a callback runs', () => {
    const { kernel, channel, id, seen } = makeChannel()
    const cursors: number[] = []
    seen.onEvent = () => cursors.push(kernel.cursor)
    channel.readStart()
    kernel.deliver(kernel.received(id, 'a'), kernel.received(id, 'b'))
    expect(cursors).toEqual([1, 2])
  })

  test('after a callback that threw, its ticks run before the next completion (E2)', () => {
    const { kernel, channel, id, seen } = makeChannel()
    const order: string[] = []
    jest.mocked(runTicks!).mockImplementation(() => void order.push('ticks'))
    seen.onEvent = (event) => {
      order.push(event)
      if (event === 'bytes 1') throw new Error('thrown')
    }
    channel.readStart()
    kernel.deliver(kernel.received(id, '1'), kernel.received(id, '2'))
    expect(order).toEqual(['bytes 1', 'ticks', 'bytes 2', 'ticks'])
    expect(kernel.uncaught).toHaveLength(1)
  })

  test('negative results and large extras come through whole', () => {
    const { kernel, driver } = makeDriver()
    const calls: [number, boolean, number][] = []
    const token = driver.begin({ complete: (...words) => void calls.push(words) })
    kernel.deliver({ token, result: -2147483648, more: true, extra: 2147483647 })
    expect(calls).toEqual([[-2147483648, true, 2147483647]])
  })

  test.each([
    ['that was never given', () => 77],
    ['0', () => 0],
    [
      'that has ended',
      ({ driver }: ReturnType<typeof makeChannel>) => {
        const token = driver.begin(ignored)
        driver.abandon(token)
        return token
      },
    ],
  ])(
    'one of token %s is a defect, told by an exception; the rest of the batch follows',
    (_, make) => {
      const fixture = makeChannel()
      const { kernel, channel, id, seen } = fixture
      channel.readStart()
      kernel.taken()
      const token = make(fixture)
      kernel.deliver({ token, result: 5 }, kernel.received(id, 'goes on'))
      expect(seen.events).toEqual(['bytes goes on'])
      expect(kernel.uncaught.map(String)).toEqual([expect.stringMatching(/broken invariant/)])
    },
  )
})

describe('deferred', () => {
  test('callbacks come in order, a completion and its ticks each, never from inside the call', () => {
    const { kernel, driver } = makeDriver()
    const order: string[] = []
    jest.mocked(runTicks!).mockImplementation(() => void order.push('ticks'))
    for (const name of ['1', '2', '3']) driver.defer(() => order.push(name))
    expect(order).toEqual([])
    kernel.wakeAll()
    expect(order).toEqual(['1', 'ticks', '2', 'ticks', '3', 'ticks'])
    kernel.assertClean()
  })

  test('keep the event loop alive until the last one is called', () => {
    const { kernel, driver } = makeDriver()
    const alive: boolean[] = []
    expect(kernel.isRef).toBe(false)
    for (let i = 0; i < 2; i++) driver.defer(() => alive.push(kernel.isRef))
    expect(kernel.isRef).toBe(true)
    kernel.wake()
    // Called, the last one keeps nothing: it may be what ends the process.
    expect(alive).toEqual([true, false])
    expect(kernel.isRef).toBe(false)
  })

  test('from inside a deferred callback comes in a later turn', () => {
    const { kernel, driver } = makeDriver()
    const order: string[] = []
    driver.defer(() => {
      order.push('1')
      driver.defer(() => order.push('3'))
    })
    driver.defer(() => order.push('2'))
    kernel.wake()
    expect(order).toEqual(['1', '2'])
    expect(kernel.isRef).toBe(true)
    kernel.wake()
    expect(order).toEqual(['1', '2', '3'])
    expect(kernel.isRef).toBe(false)
  })

  test('one that throws is reported, and neither lost nor called again nor the next one lost', () => {
    const { kernel, driver } = makeDriver()
    const order: string[] = []
    driver.defer(() => order.push('1'))
    driver.defer(() => {
      order.push('2')
      throw new Error('thrown')
    })
    driver.defer(() => order.push('3'))
    kernel.wakeAll()
    expect(order).toEqual(['1', '2', '3'])
    expect(kernel.uncaught).toHaveLength(1)
    expect(kernel.isRef).toBe(false)
    kernel.assertClean()
  })

  test('more than the command queue holds all come', () => {
    const { kernel, driver } = makeDriver({ commandCapacity: 4 })
    const order: number[] = []
    for (let i = 0; i < 11; i++) driver.defer(() => order.push(i))
    kernel.wakeAll()
    expect(order).toEqual(Array.from({ length: 11 }, (_, i) => i))
    expect(kernel.isRef).toBe(false)
  })
})

describe('discard', () => {
  test('closes an endpoint that nobody wants, once', () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    driver.discard(id)
    expect(kernel.isClosing(id)).toBe(true)
    kernel.deliver(kernel.closed(id))
    expect(kernel.endpointCount).toBe(0)
    kernel.assertClean()
  })
})
