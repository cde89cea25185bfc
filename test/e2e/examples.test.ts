/**
 * Every built example runs as the README tells, in a process of its own on each driver, with node:net as client. Owns
 * those processes; none outlives its test.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { drivers } from './subjects'
import { digest, pattern, readAll } from './wire'

const examples = join(__dirname, '../../dist/examples')
const children: ChildProcess[] = []

function start(file: string, driver: string, ...args: string[]): ChildProcess {
  const env = { ...process.env, URING_NET_DRIVER: driver }
  const child = spawn(process.execPath, [join(examples, file), ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 15_000,
  })
  children.push(child)
  return child
}

/** The address that an example prints when it listens. */
async function addressOf(
  child: ChildProcess,
): Promise<{ host: string; port: number; line: string }> {
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
  const [, host, port] = /(\d+\.\d+\.\d+\.\d+):(\d+)/.exec(line)!
  return { host: host!, port: Number(port), line }
}

async function echoed(target: { host: string; port: number }, bytes: Buffer): Promise<Buffer> {
  const socket = net.connect({ ...target, allowHalfOpen: true })
  socket.end(bytes)
  return readAll(socket)
}

afterEach(async () => {
  const exits = children.splice(0).map(async (child) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill()
    await exited
  })
  await Promise.all(exits)
})

describe.each(drivers)('examples on %s', (driver) => {
  it.each(['echo-lease.js', 'echo-net.js'])('%s echoes', async (file) => {
    const { host, port, line } = await addressOf(start(file, driver, '0'))
    expect(line).toContain(`driver ${driver}`)
    const lengths = [0, 1, 16385, 3 << 20]
    const all = await Promise.all(lengths.map((n) => echoed({ host, port }, pattern(n, n))))
    expect(all.map(digest)).toEqual(lengths.map((n) => digest(pattern(n, n))))
  })

  it.each(['echo-lease.js', 'echo-net.js'])('%s survives a reset', async (file) => {
    const { host, port } = await addressOf(start(file, driver, '0'))
    const rude = net.connect({ host, port })
    rude.on('error', () => {})
    await once(rude, 'connect')
    rude.write(pattern(1 << 20))
    await once(rude, 'data')
    rude.resetAndDestroy()
    const bytes = pattern(100_000)
    expect(digest(await echoed({ host, port }, bytes))).toBe(digest(bytes))
  })

  it('serve.js answers on every thread, restarts at SIGHUP and ends at SIGTERM', async () => {
    const child = start('serve.js', driver, '0', '2')
    const lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
    const { value: line } = (await lines.next()) as { value: string }
    const [, host, port] = /(\d+\.\d+\.\d+\.\d+):(\d+), 2 threads$/.exec(line)!
    const ask = async (): Promise<string> => {
      const socket = net.connect({ host: host!, port: Number(port) })
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
      const answer = (await readAll(socket)).toString()
      return /thread \d, driver \w+/.exec(answer)![0]
    }
    const met = new Set<string>()
    while (met.size < 2) met.add(await ask())
    expect([...met].sort()).toEqual([`thread 0, driver ${driver}`, `thread 1, driver ${driver}`])
    child.kill('SIGHUP')
    expect((await lines.next()).value).toBe('restarted')
    await ask()
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    expect((await lines.next()).value).toMatch(/^stopped after \d+ connections$/)
    expect((await exited)[0]).toBe(0)
  })

  it('priority-writer.js shows urgent frames early and no corruption', async () => {
    const child = start('priority-writer.js', driver)
    const exited = once(child, 'exit')
    const output = (await readAll(child.stdout!)).toString()
    expect((await exited)[0]).toBe(0)
    expect(output).toMatch(/frames received: 203; urgent ones came as number \d+, \d+, \d+/)
    expect(output).toContain('corruption: none')
  })
})
