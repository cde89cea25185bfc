/** What serve() stands on: one bound socket with a descriptor in several drivers. Closing one leaves the others all there is. */
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import net from 'node:net'
import { constants } from 'node:os'
import { Acceptor } from '../../src/core/acceptor'
import { loadBinding } from '../../src/core/binding'
import type { SocketName } from '../../src/core/binding'
import { Driver } from '../../src/core/driver'
import { drivers } from '../e2e/subjects'

const binding = loadBinding()
const opened: Driver[] = []
const garbage = [undefined, null, 'x', NaN, 1.5, 2 ** 31, {}, [], 1n]

afterEach(() => {
  for (const driver of opened.splice(0)) driver.close()
})

describe.each(drivers)('%s', (kind) => {
  function makeDriver(): Driver {
    const driver = new Driver(binding, kind)
    opened.push(driver)
    return driver
  }

  /** A driver's bound socket, and where it is. */
  function bound(): { owner: Driver; id: number; fd: number; port: number } {
    const owner = makeDriver()
    const id = owner.open('inet')
    expect(owner.native.bind(id, '127.0.0.1', 0, 2)).toBe(0)
    const name: Partial<SocketName> = {}
    owner.native.name(id, 0, name)
    return { owner, id, fd: owner.native.fd(id), port: name.port! }
  }

  /** Listens on it, and tells of what it accepts. */
  function listenOn(fd: number): { acceptor: Acceptor; accepted: () => Promise<number> } {
    const driver = makeDriver()
    const ids: number[] = []
    let tell = (): void => {}
    const onAccept = (id: number): void => {
      ids.push(id)
      tell()
    }
    const acceptor = new Acceptor(driver, driver.native.share(fd), {
      onAccept,
      onAcceptError(errno) {
        throw new Error(`accept: ${errno}`)
      },
    })
    expect(acceptor.listen(16)).toBe(0)
    const accepted = async (): Promise<number> => {
      if (ids.length === 0) await new Promise<void>((resolve) => (tell = resolve))
      return ids.shift()!
    }
    return { acceptor, accepted }
  }

  const closed = (acceptor: Acceptor): Promise<void> =>
    new Promise((resolve) => acceptor.close(resolve))

  async function connect(port: number): Promise<net.Socket> {
    const socket = net.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return socket
  }

  test('what waits when one driver closes its descriptor is accepted by the next', async () => {
    const { fd, port } = bound()
    const first = listenOn(fd)
    ;(await connect(port)).destroy()
    await first.accepted()
    await closed(first.acceptor)
    const waiting = await connect(port)
    const second = listenOn(fd)
    expect(await second.accepted()).toBeGreaterThan(0)
    waiting.destroy()
    await closed(second.acceptor)
  })

  test('one driver may close while the other accepts, and the last one ends the listener', async () => {
    const { owner, id, fd, port } = bound()
    const [first, second] = [listenOn(fd), listenOn(fd)]
    owner.discard(id)
    owner.submit()
    await closed(first.acceptor)
    for (let i = 0; i < 5; i++) {
      const socket = await connect(port)
      expect(await second.accepted()).toBeGreaterThan(0)
      socket.destroy()
    }
    await closed(second.acceptor)
    const refused = net.connect(port, '127.0.0.1')
    await expect(once(refused, 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('a driver that ends leaves the socket to the others', async () => {
    const { fd, port } = bound()
    const first = listenOn(fd)
    const second = listenOn(fd)
    first.acceptor.driver.close()
    const socket = await connect(port)
    expect(await second.accepted()).toBeGreaterThan(0)
    socket.destroy()
    await closed(second.acceptor)
  })

  test('after pause() nothing is accepted that is not told', async () => {
    const { fd, port } = bound()
    const { acceptor, accepted } = listenOn(fd)
    const sockets = await Promise.all(Array.from({ length: 5 }, () => connect(port)))
    for (const _ of sockets) await accepted()
    acceptor.pause()
    while (acceptor.isAccepting) await new Promise(setImmediate)
    const late = await connect(port)
    await closed(acceptor)
    const next = listenOn(fd)
    expect(await next.accepted()).toBeGreaterThan(0)
    for (const socket of [...sockets, late]) socket.destroy()
    await closed(next.acceptor)
  })

  test('what is no descriptor of a stream socket is refused', () => {
    const { native } = makeDriver()
    const { errno } = constants
    for (const wrong of garbage) expect(native.share(wrong as number)).toBe(-errno.EINVAL)
    expect(native.share(-1)).toBe(-errno.EBADF)
    expect(native.share(0x7fffffff)).toBe(-errno.EBADF)
    const file = openSync(__filename, 'r')
    expect(native.share(file)).toBe(-errno.ENOTSOCK)
    closeSync(file)
    expect(native.stats().endpoints).toBe(0)
  })
})

test('a duplicate is only made of stream sockets', () => {
  const { errno } = constants
  for (const wrong of garbage) expect(binding.duplicate(wrong as number)).toBe(-errno.EINVAL)
  expect(binding.duplicate(-1)).toBe(-errno.EBADF)
  const file = openSync(__filename, 'r')
  expect(binding.duplicate(file)).toBe(-errno.ENOTSOCK)
  closeSync(file)
})
