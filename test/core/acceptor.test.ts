/** The accept operation: pause, resume, failures and how they are tried again, close. */
import type * as acceptors from '../../src/core/acceptor'
import type { Driver } from '../../src/core/driver'
import { errno } from './scripted-kernel'
import type { ScriptedKernel } from './scripted-kernel'
import { Recorder, makeDriver } from './fixtures'

const ECANCELED = errno('ECANCELED')
const EMFILE = errno('EMFILE')

// An acceptor's clock is that of when it was loaded: here one that the test sets.
jest.useFakeTimers()
const { Acceptor } = jest.requireActual<typeof acceptors>('../../src/core/acceptor')

let kernel: ScriptedKernel
let driver: Driver
let id: number
let acceptor: acceptors.Acceptor
let seen: Recorder

beforeEach(() => {
  ;({ kernel, driver } = makeDriver())
  id = kernel.endpoint()
  seen = new Recorder(driver)
  acceptor = new Acceptor(driver, id, {
    onAccept: () => seen.note('accepted'),
    onAcceptError: (status) => seen.note(`error ${status}`),
  })
})

afterEach(() => {
  jest.clearAllTimers()
  kernel.assertClean()
  expect(kernel.uncaught).toEqual([])
})

describe('accepting', () => {
  test('listen arms one accept; a refused listen arms none', () => {
    kernel.refuses.listen = errno('EADDRINUSE')
    expect(acceptor.listen(5)).toBe(errno('EADDRINUSE'))
    expect(kernel.taken()).toEqual([])
    expect(kernel.isRef).toBe(false)
    delete kernel.refuses.listen
    expect(acceptor.listen(5)).toBe(0)
    expect(kernel.taken()).toEqual(['accept'])
  })

  test('connections are handed over; one without MORE re-arms once', () => {
    acceptor.listen(5)
    kernel.deliver(kernel.accepted(id), kernel.accepted(id, false))
    expect(seen.events).toEqual(['accepted', 'accepted'])
    expect(kernel.taken()).toEqual(['accept'])
  })

  test('a handler that throws does not stop accepting', () => {
    seen.onEvent = () => {
      throw new Error('listener')
    }
    acceptor.listen(5)
    kernel.deliver(kernel.accepted(id), kernel.accepted(id, false))
    expect(kernel.uncaught.splice(0)).toHaveLength(2)
    expect(seen.events).toEqual(['accepted', 'accepted'])
    expect(kernel.taken()).toEqual(['accept'])
  })

  test('pause cancels once, hands over what still comes, and does not re-arm', () => {
    acceptor.listen(5)
    kernel.taken()
    acceptor.pause()
    acceptor.pause()
    expect(kernel.taken()).toEqual(['cancel accept'])
    kernel.deliver(kernel.accepted(id), kernel.acceptEnded(id, ECANCELED))
    expect(seen.events).toEqual(['accepted'])
    expect(kernel.taken()).toEqual([])
    acceptor.resume()
    acceptor.resume()
    expect(kernel.taken()).toEqual(['accept'])
  })

  test('resumed before the cancelled accept has ended: re-armed exactly once, after its end', () => {
    acceptor.listen(5)
    acceptor.pause()
    acceptor.resume()
    expect(kernel.taken()).toEqual(['accept', 'cancel accept'])
    kernel.deliver(kernel.acceptEnded(id, ECANCELED))
    expect(kernel.taken()).toEqual(['accept'])
    expect(seen.events).toEqual([])
  })
})

describe('a failed accept', () => {
  /** Accepting fails, once for each of the waits, which are the milliseconds until it is tried again. */
  function failWith(status: number, waits: number[]): void {
    for (const ms of waits) {
      kernel.deliver(kernel.acceptEnded(id, status))
      jest.advanceTimersByTime(ms - 1)
      expect(kernel.isInFlight(id, 'accept')).toBe(false)
      jest.advanceTimersByTime(1)
      expect(kernel.isInFlight(id, 'accept')).toBe(true)
    }
  }

  test('is tried again ever more seldom, and told once as long as it lasts', () => {
    acceptor.listen(5)
    failWith(EMFILE, [10, 20, 40, 80, 160, 320, 640, 1000, 1000])
    expect(seen.events).toEqual([`error ${EMFILE}`])
  })

  test('is told again, and tried again soon, once a connection came between', () => {
    acceptor.listen(5)
    failWith(EMFILE, [10, 20, 40])
    kernel.deliver(kernel.accepted(id))
    failWith(errno('ENOBUFS'), [10, 20])
    expect(seen.events).toEqual([`error ${EMFILE}`, 'accepted', `error ${errno('ENOBUFS')}`])
  })

  test('keeps the event loop alive only through the listener itself', () => {
    acceptor.listen(5)
    kernel.deliver(kernel.acceptEnded(id, EMFILE))
    expect(kernel.isRef).toBe(true)
    acceptor.setRef(false)
    expect(kernel.isRef).toBe(false)
  })

  test('paused meanwhile, it is not tried again until resume', () => {
    acceptor.listen(5)
    kernel.deliver(kernel.acceptEnded(id, EMFILE))
    acceptor.pause()
    jest.advanceTimersByTime(5000)
    expect(kernel.isInFlight(id, 'accept')).toBe(false)
    acceptor.resume()
    expect(kernel.isInFlight(id, 'accept')).toBe(true)
    expect(seen.events).toEqual([`error ${EMFILE}`])
  })

  test('closed meanwhile, it is not tried again', () => {
    acceptor.listen(5)
    kernel.deliver(kernel.acceptEnded(id, EMFILE))
    acceptor.close(seen.closed)
    expect(jest.getTimerCount()).toBe(0)
    jest.advanceTimersByTime(5000)
    kernel.deliver(kernel.closed(id))
    jest.advanceTimersByTime(5000)
    expect(seen.events).toEqual([`error ${EMFILE}`, 'closed'])
    expect(kernel.count(id, 'accept')).toBe(1)
  })

  test('after close is told to nobody', () => {
    acceptor.listen(5)
    acceptor.close(seen.closed)
    kernel.deliver(kernel.acceptEnded(id, EMFILE), kernel.closed(id))
    expect(seen.events).toEqual(['closed'])
    expect(jest.getTimerCount()).toBe(0)
  })

  test('a handler that throws does not stop the retries', () => {
    seen.onEvent = () => {
      throw new Error('listener')
    }
    acceptor.listen(5)
    failWith(EMFILE, [10, 20])
    expect(kernel.uncaught.splice(0)).toHaveLength(1)
  })
})

describe('close', () => {
  test('submits at once, so that a connect in this tick is refused; closed comes last', () => {
    acceptor.listen(5)
    kernel.taken()
    acceptor.close(seen.closed)
    expect(kernel.log.at(-1)).toMatchObject({ op: 'close', id })
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual(['closed'])
    expect(() => acceptor.close(seen.closed)).toThrow(/closed once/)
  })

  test('a connection that comes while it closes is closed, not leaked', () => {
    acceptor.listen(5)
    acceptor.close(seen.closed)
    const late = kernel.accepted(id)
    kernel.deliver(late)
    expect(kernel.isClosing(late.result)).toBe(true)
    kernel.deliver(kernel.closed(late.result), kernel.closed(id))
    expect(seen.events).toEqual(['closed'])
    expect(kernel.endpointCount).toBe(0)
  })

  test('pause and resume after close send no command', () => {
    acceptor.listen(5)
    acceptor.close(seen.closed)
    acceptor.pause()
    acceptor.resume()
    expect(kernel.log.map(({ op }) => op)).toEqual(['accept', 'close'])
    kernel.deliver(kernel.closed(id))
    acceptor.pause()
    acceptor.resume()
    expect(kernel.taken()).toEqual([])
  })
})
