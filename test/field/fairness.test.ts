/**
 * 64 connections that send as fast as they can share what a server reads, and a quiet one between them is heard: counted in
 * turns of the event loop and in bytes, not in time.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'
import type { Scene, Way } from './play'

afterAll(removeApps)

/** Fill their connections, and more; the last one only asks. */
const senders = String.raw`(target, count, size) => {
  const chunk = Buffer.alloc(size)
  let up = 0
  for (let i = 0; i <= count; i++) {
    const isQuiet = i === count
    const socket = require('net').connect(target)
    const fill = () => { while (socket.writable && socket.write(chunk)); }
    socket.on('error', () => {}).on('drain', fill)
    socket.on('connect', () => {
      if (isQuiet) socket.write('quiet')
      else fill()
      // What fits the kernel is there a moment later.
      if (++up > count) setTimeout(() => tell('filled'), 100)
    })
  }
}`

const count = 64
const enough = 2 << 20
const flood = (place: string, size: number, ways: Way[]): Scene => ({
  ways,
  source: `
const main = async () => {
  const bytes = new Map()
  const server = net.createServer({ pauseOnConnect: true }, (socket) => bytes.set(socket.on('error', () => {}), 0))
  const other = peer(${senders}, await listen(server, '${place}'), ${count}, ${size})
  await other.next()
  while (bytes.size <= ${count}) await turn()
  const answers = { turns: 0 }
  for (const socket of bytes.keys()) socket.on('data', (data) => bytes.set(socket, bytes.get(socket) + data.length)).resume()
  while ([...bytes.values()].includes(0)) {
    await turn()
    answers.turns++
  }
  // All but the quiet one.
  const slowest = () => Math.min(...[...bytes.values()].filter((length) => length > 100))
  while (slowest() < ${enough}) await turn()
  let total = 0
  for (const length of bytes.values()) total += length
  other.end()
  done({ ...answers, overshoot: total / ${count * enough} })
}
main()`,
  isNotCarried: true,
  holds(ours, plain) {
    const [mine, theirs] = [ours.result, plain.result] as { turns: number; overshoot: number }[]
    // A pool that runs dry, and whose connections libuv receives for then, costs some.
    expect(mine!.turns).toBeLessThanOrEqual(theirs!.turns + 4)
    // Plain Node has 2.5: what the slowest had is less than half of the average.
    expect(mine!.overshoot).toBeLessThanOrEqual(2)
  },
})

scenes({
  'large pieces': flood('TCP', 65536, ['register', 'library']),
  'small pieces': flood('TCP', 1000, ['register']),
  'large pieces over Unix sockets': flood('Unix', 65536, ['register']),
})
