'use strict'

/*
 * The other end, on plain node:net in a process of its own: connects clients, asks with all of them when it is told to,
 * and reports what each got and how it ended, by the clock that all processes share. It notes each answer in a file, for
 * programs that look while they block. It serves one play after the other, whose number each message has. Judges nothing.
 */
const { createHash } = require('node:crypto')
const { appendFileSync } = require('node:fs')
const { protocols } = require('./clients')

process.on('disconnect', () => process.exit())

const now = () => Number(process.hrtime.bigint() / 1000n)

function shortened(bytes) {
  if (bytes.length <= 400) return bytes.toString('latin1')
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  return `${bytes.length} bytes ${digest}`
}

process.on('message', ({ open, command }) => {
  if (open !== undefined) start(open)
  else commands[command]?.()
})

const commands = {}

function start({ number, clients: count, protocol, seen, actions = [], paused = 0, ...options }) {
  const clients = []
  const tell = (message) => process.send({ number, ...message })
  let waiting = count
  let left = count
  for (let n = 0; n < count; n++) {
    const client = { bytes: [], end: 'open', at: 0 }
    const events = {
      up: () => --waiting === 0 && tell({ up: true }),
      got(bytes) {
        if (client.bytes.length === 0) {
          client.at = now()
          appendFileSync(seen, '.')
        }
        client.bytes.push(Buffer.from(bytes))
      },
      over(how) {
        client.end = how
        if (--left === 0) report()
      },
    }
    const isPaused = n < paused
    const its = { ...options, isPaused, actions: actions[n % actions.length] }
    clients.push({ client, ...protocols[protocol](its, events) })
  }
  const report = () => {
    const told = clients.map(({ client: { bytes, end, at } }) => ({
      bytes: shortened(Buffer.concat(bytes)),
      end,
      at,
    }))
    tell({ report: told })
  }
  commands.ask = () => {
    for (const { ask } of clients) ask()
    // What loopback carries is in the receive queues of the server when the kernel took it, which is by the next turn.
    setImmediate(() => setImmediate(() => tell({ asked: true })))
  }
  commands.read = () => clients.slice(0, paused).forEach(({ read }) => read())
  commands.close = () => clients.forEach(({ close }) => close())
}
