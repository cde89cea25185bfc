/** The dashboard: its page, its numbers, and what it passes on. A server in a process of its own on each driver. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { programDeadlineMs } from '../deadlines'
import type { DashboardStats } from '../../src/dashboard/index'
import { drivers } from './subjects'

const source = join(__dirname, '../../dist/src')

const program = `
  const net = require('${source}/index.js')
  const http = require('node:http')
  const { dashboard } = require('${source}/dashboard/index.js')
  const handler = dashboard()
  const echo = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
    const client = net.connect(echo.address().port, '127.0.0.1', () => client.write('there and back'))
    client.once('data', () => {
      const server = net.attach(http.createServer((request, response) => {
        const next = () => { response.statusCode = 404; response.end('passed on') }
        request.url.startsWith('/alone') ? handler(request, response) : handler(request, response, next)
      }))
      server.listen(0, '127.0.0.1', () => console.log(server.address().port))
    })
  })`

describe.each([...drivers, 'node'])('on %s', (driver) => {
  let child: ChildProcess
  let base: string

  beforeAll(async () => {
    child = spawn(process.execPath, ['-e', program], {
      env: { ...process.env, URING_NET_DRIVER: driver },
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: programDeadlineMs,
    })
    const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
    base = `http://127.0.0.1:${line}`
  })

  afterAll(async () => {
    const exited = once(child, 'exit')
    child.kill()
    await exited
  })

  test('answers with the page, with and without a slash, and not with more', async () => {
    for (const path of ['/', '/uring', '/uring/', '/?x=1']) {
      const response = await fetch(base + path)
      const text = await response.text()
      expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
      expect(response.headers.get('cache-control')).toBe('no-store')
      expect(text).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/)
      expect(text).not.toMatch(/https?:|src=|@import|url\(/)
    }
    const head = await fetch(base, { method: 'HEAD' })
    expect(Number(head.headers.get('content-length'))).toBeGreaterThan(1000)
    expect(await head.text()).toBe('')
  })

  test('answers with the numbers of the driver that carries the server', async () => {
    const response = await fetch(`${base}/uring/stats.json?now`)
    expect(response.headers.get('content-type')).toBe('application/json')
    const stats = (await response.json()) as DashboardStats
    expect(stats.driver.name).toBe(driver)
    expect(stats.driver.options.batchSize).toBe(256)
    expect(stats.process).toMatchObject({ pid: child.pid, threadId: 0, version: process.version })
    expect(Math.abs(Date.now() - stats.time)).toBeLessThan(60_000)
    if (driver === 'node') return expect(stats.stats).toEqual({})
    expect(stats.stats.endpoints).toBeGreaterThanOrEqual(2)
    expect(stats.stats.bytesSent).toBeGreaterThanOrEqual(28)
  })

  test('passes other methods on, or refuses them', async () => {
    const passed = await fetch(base, { method: 'POST', body: 'x' })
    expect([passed.status, await passed.text()]).toEqual([404, 'passed on'])
    const refused = await fetch(`${base}/alone`, { method: 'DELETE' })
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  })
})
