/** What the rows stand on: ports that refuse. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, ListenOptions, Server } from 'node:net'
/* eslint-disable @typescript-eslint/no-require-imports -- plain scripts, that child.js loads too */
const { Row } = require('./row') as { Row: new (world: unknown, deadlineMs: number) => TestRow }
const { createWorld } = require('./worlds') as { createWorld: (mode: string) => unknown }
/* eslint-enable @typescript-eslint/no-require-imports */

interface TestRow {
  server(): Server
  listen(server: Server, options: ListenOptions): Promise<number>
  listenAlone(server: Server, options: ListenOptions, refusing: string[]): Promise<number>
  cleanUp(): Promise<void>
}

test('a port that somebody listens on at another address is not taken for one that refuses there', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port: taken } = other.address() as AddressInfo
  const row = new Row(createWorld('plain'), 10_000)
  const listen = row.listen.bind(row)
  const ports = [taken, 0]
  row.listen = (server) => listen(server, { host: '127.0.0.2', port: ports.shift()! })
  expect(await row.listenAlone(row.server(), {}, ['127.0.0.1'])).not.toBe(taken)
  expect(ports).toEqual([])
  await row.cleanUp()
  other.close()
})
