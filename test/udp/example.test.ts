/** The built example runs as it says, in a process of its own on each driver. Owns those processes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { programDeadlineMs, within } from '../deadlines'
import { drivers, makePeer } from './rig'

const example = join(__dirname, '../../dist/examples/udp-echo.js')

test.each(drivers)('udp-echo.js echoes on %s', async (driver) => {
  const child = spawn(process.execPath, [example, '0'], {
    env: { ...process.env, URING_NET_DRIVER: driver },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: programDeadlineMs,
  })
  try {
    const [line] = (await within('line', once(createInterface(child.stdout), 'line'))) as [string]
    const [, address, port, name] = /(\d+\.\d+\.\d+\.\d+):(\d+), driver (\w+)/.exec(line)!
    expect(name).toBe(driver)
    const peer = await makePeer(address!)
    for (const length of [0, 1, 1400, 65_507]) {
      await peer.send(Buffer.alloc(length, length), Number(port), address!)
      const [answer] = await peer.next()
      expect(answer!.bytes.equals(Buffer.alloc(length, length))).toBe(true)
    }
  } finally {
    const exited = once(child, 'exit')
    child.kill()
    await exited
  }
})
