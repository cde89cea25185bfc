/** The accept operation: pause, resume, termination, close. */
import { Acceptor } from '../../src/core/acceptor'
import type { Driver } from '../../src/core/driver'
import { errno } from './scripted-binding'
import type { ScriptedKernel } from './scripted-binding'
import { Recorder, makeDriver } from './fixtures'

const ECANCELED = errno('ECANCELED')

let kernel: ScriptedKernel
let driver: Driver
let id: number
let acceptor: Acceptor
let seen: Recorder

beforeEach(() => {
  ;({ kernel, driver } = makeDriver())
  id = kernel.endpoint()
  seen = new Recorder()
  acceptor = new Acceptor(driver, id, {
    onAccept: () => seen.note('accepted'),
    onAcceptError: (status) => seen.note(`error ${status}`),
  })
})

afterEach(() => {
  kernel.assertClean()
  expect(kernel.uncaught).toEqual([])
})

describe('acceptor', () => {
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

  test('an error is told and accepting goes on', () => {
    acceptor.listen(5)
    kernel.deliver(kernel.acceptEnded(id, errno('ECONNABORTED')))
    expect(seen.events).toEqual([`error ${errno('ECONNABORTED')}`])
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

  test('close submits at once, so that a connect in this tick is refused; closed comes last', () => {
    acceptor.listen(5)
    kernel.taken()
    acceptor.close(seen.closed)
    expect(kernel.log.at(-1)).toMatchObject({ op: 'close', id })
    expect(seen.events).toEqual([])
    kernel.deliver(kernel.closed(id))
    expect(seen.events).toEqual(['closed'])
    expect(() => acceptor.close(seen.closed)).toThrow(/closed once/)
  })

  test('pause and resume after close send no command', () => {
    acceptor.listen(5)
    acceptor.close(seen.closed)
    acceptor.pause()
    acceptor.resume()
    expect(kernel.taken()).toEqual([])
    kernel.deliver(kernel.closed(id))
    acceptor.pause()
    acceptor.resume()
    expect(kernel.taken()).toEqual([])
  })

  test('duplicated and foreign completions are dropped and counted', () => {
    acceptor.listen(5)
    kernel.deliver({ opcode: 1, id, result: 5 })
    acceptor.pause()
    const end = kernel.acceptEnded(id, ECANCELED)
    kernel.deliver(end, end)
    acceptor.close(seen.closed)
    const closed = kernel.closed(id)
    kernel.deliver(closed, closed)
    expect(seen.events).toEqual(['closed'])
    expect(driver.stats().strays).toBe(3)
  })

  test('a connection that arrives without an accept in flight is not leaked', () => {
    const stray = kernel.endpoint()
    kernel.deliver({ opcode: 4, id, result: stray })
    expect(seen.events).toEqual([])
    expect(kernel.isClosing(stray)).toBe(true)
  })
})
