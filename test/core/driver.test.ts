/** The driver: the command queue, batches, and completions for nobody. */
import { Acceptor } from '../../src/core/acceptor'
import { Op } from '../../src/core/binding'
import type { DriverBinding } from '../../src/core/binding'
import { Channel } from '../../src/core/channel'
import { Driver } from '../../src/core/driver'
import type { Endpoint } from '../../src/core/driver'
import { runTicks } from '../../src/core/ticks'
import { ScriptedKernel, errno } from './scripted-binding'
import { Recorder, makeChannel, makeDriver } from './fixtures'

jest.mock('../../src/core/ticks', () => ({ runTicks: jest.fn() }))

beforeEach(() => {
  jest.mocked(runTicks!).mockClear()
})

describe('commands', () => {
  test('a full queue is handed over, and nothing of it is lost or reordered (C5)', () => {
    const { kernel, driver } = makeDriver({ commandCapacity: 4 })
    const ids = Array.from({ length: 11 }, () => kernel.endpoint())
    for (const id of ids) driver.queue(Op.receive, id, 0, 0)
    kernel.taken()
    expect(kernel.log.map(({ id }) => id)).toEqual(ids)
    expect(kernel.submits).toBe(2)
    kernel.assertClean()
  })

  test('submit hands the queue over now', () => {
    const { kernel, driver } = makeDriver()
    driver.queue(Op.receive, kernel.endpoint(), 0, 0)
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

  test('ticks are not run where nobody was called', () => {
    const { kernel, channel, id } = makeChannel()
    channel.readStart()
    channel.readStop()
    kernel.deliver(kernel.received(id, 'kept'), kernel.receiveEnded(id, errno('ECANCELED')))
    expect(runTicks).toHaveBeenCalledTimes(0)
  })

  test('the cursor stands on the next completion while a callback runs', () => {
    const { kernel, channel, id, seen } = makeChannel()
    const cursors: number[] = []
    seen.onEvent = () => cursors.push(kernel.completions[1]!)
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
    jest.mocked(runTicks!).mockReset()
    expect(order).toEqual(['bytes 1', 'ticks', 'bytes 2', 'ticks'])
    expect(kernel.uncaught).toHaveLength(1)
  })

  test('negative results and large offsets come through whole', () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    const calls: number[][] = []
    const endpoint: Endpoint = {
      id,
      complete: (...words) => {
        calls.push(words)
        return false
      },
    }
    driver.register(endpoint)
    kernel.deliver({ opcode: 7, id, result: -2147483648, more: true, extra: 2147483647 })
    expect(calls).toEqual([[7, -2147483648, 1, 2147483647]])
  })

  test('ids nobody has are dropped and counted, whatever they are', () => {
    const { kernel, driver } = makeDriver()
    for (const id of [0, -1, 1, (1 << 20) | 5, 0x7fffffff]) {
      kernel.deliver({ opcode: Op.receive, id, result: 5, more: true })
    }
    expect(driver.stats().strays).toBe(5)
    expect(kernel.uncaught).toEqual([])
    expect(kernel.taken()).toEqual([])
  })

  test('a connection accepted for a listener that is gone is closed, not leaked', () => {
    const { kernel, driver } = makeDriver()
    const accepted = kernel.endpoint()
    kernel.deliver({ opcode: Op.accept, id: (9 << 20) | 9, result: accepted })
    expect(kernel.taken()).toEqual(['close'])
    expect(kernel.log[0]).toMatchObject({ op: 'close', id: accepted })
    kernel.deliver(kernel.closed(accepted))
    kernel.assertClean()
    expect(driver.stats().strays).toBe(1)
  })

  test('a failed accept for a listener that is gone closes nothing', () => {
    const { kernel } = makeDriver()
    kernel.deliver({ opcode: Op.accept, id: (9 << 20) | 9, result: errno('ECANCELED') })
    expect(kernel.taken()).toEqual([])
  })
})

describe('submitting in the middle of a batch', () => {
  test('a send that waited leaves, and is told, before the bytes of the same batch', () => {
    const { kernel, channel, id, seen } = makeChannel()
    kernel.completesBetween = () => (kernel.isInFlight(id, 'send') ? [kernel.sent(id)] : [])
    channel.readStart()
    for (const text of ['a', 'b', 'c']) channel.sendOwned(0, 1, seen.sending(text))
    kernel.deliver(kernel.received(id, 'x'), kernel.sent(id))
    expect(seen.events).toEqual(['sent a 0 1', 'sent b 0 1', 'sent c 0 1', 'bytes x'])
    kernel.assertClean()
  })

  test('a send’s callback that throws does not keep the waiting one from going first', () => {
    const { kernel, channel, id, seen } = makeChannel()
    kernel.completesBetween = () => (kernel.isInFlight(id, 'send') ? [kernel.sent(id)] : [])
    seen.onEvent = (event) => {
      if (event === 'sent a 0 1') throw new Error(event)
    }
    channel.readStart()
    for (const text of ['a', 'b']) channel.sendOwned(0, 1, seen.sending(text))
    kernel.deliver(kernel.received(id, 'x'), kernel.sent(id))
    expect(seen.events).toEqual(['sent a 0 1', 'sent b 0 1', 'bytes x'])
    expect(kernel.uncaught).toHaveLength(1)
    kernel.assertClean()
  })

  test('is asked for only behind what comes first, and only with commands queued', () => {
    const { kernel, driver, channel, id, seen } = makeChannel()
    const between = jest.fn(() => [])
    kernel.completesBetween = between
    channel.readStart()
    channel.sendOwned(0, 1, seen.sending('a'))
    kernel.deliver(kernel.received(id, 'x'), kernel.sent(id))
    seen.onEvent = () => driver.defer(() => {})
    kernel.deliver(kernel.received(id, 'y'), kernel.received(id, 'z'))
    expect(seen.events).toEqual(['sent a 0 1', 'bytes x', 'bytes y', 'bytes z'])
    expect(between).not.toHaveBeenCalled()
    expect(kernel.dispatches).toBe(2)
    kernel.assertClean()
  })
})

describe('deferred', () => {
  test('callbacks come in order, a completion and its ticks each, never from inside the call', () => {
    const { kernel, driver } = makeDriver()
    const order: string[] = []
    jest.mocked(runTicks!).mockImplementation(() => void order.push('ticks'))
    for (const name of ['1', '2', '3']) driver.defer(() => order.push(name))
    expect(order).toEqual([])
    expect(kernel.woken()).toHaveLength(3)
    kernel.deliver(Array(2).fill({ opcode: Op.wake, id: 0, result: 0 }))
    expect(order).toEqual(['1', 'ticks', '2', 'ticks'])
    kernel.deliver({ opcode: Op.wake, id: 0, result: 0 })
    jest.mocked(runTicks!).mockReset()
    expect(order.slice(4)).toEqual(['3', 'ticks'])
    expect(driver.stats().strays).toBe(0)
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

describe('endpoints', () => {
  test('a new generation on a slot is not unregistered by the old one', () => {
    const { kernel, driver } = makeDriver()
    const seen = new Recorder()
    const old = new Channel(driver, kernel.endpoint(), new Recorder())
    old.close(false, () => {})
    kernel.taken()
    const closed = kernel.onlyClosed(old.id)
    const next = new Channel(driver, kernel.endpoint(), seen)
    expect(next.id & 0xfffff).toBe(old.id & 0xfffff)
    driver.unregister(old)
    next.readStart()
    kernel.deliver(closed, kernel.received(next.id, 'alive'))
    expect(seen.events).toEqual(['bytes alive'])
  })

  test('a connection discarded by a closing acceptor is closed, and its end is no stray', () => {
    const { kernel, driver } = makeDriver()
    const id = kernel.endpoint()
    const accepted: number[] = []
    const acceptor = new Acceptor(driver, id, {
      onAccept: (one) => void accepted.push(one),
      onAcceptError: () => {},
    })
    acceptor.listen(1)
    kernel.taken()
    acceptor.close(() => {})
    const late = kernel.accepted(id)
    kernel.deliver(late)
    expect(kernel.isClosing(late.result)).toBe(true)
    kernel.deliver(kernel.closed(late.result), kernel.closed(id))
    expect(accepted).toEqual([])
    expect(kernel.endpointCount).toBe(0)
    kernel.assertClean()
    expect(driver.stats().strays).toBe(0)
  })
})
