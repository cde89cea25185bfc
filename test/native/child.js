'use strict'

/*
 * Programs that tests of the native drivers run in a process or worker of their own, because they end it, limit it or
 * break it: `node child.js <program> <driver kind>`, or the same two names as workerData. Plain JavaScript, so that a
 * worker can load it; knows nothing of Jest.
 */
const net = require('node:net')
const { readdirSync } = require('node:fs')
const { isMainThread, parentPort, workerData } = require('node:worker_threads')

const addon = require(process.env.URING_NET_ADDON_UNDER_TEST)
const [program, kind] = isMainThread ? process.argv.slice(2) : workerData
const [RECEIVE, SEND, ACCEPT, CLOSE] = [1, 2, 4, 7]
const mebibyte = 1 << 20

const options = {
  arenaBytes: 16 * mebibyte,
  poolBytes: mebibyte,
  submissionEntries: 64,
  completionEntries: 1024,
  commandCapacity: 512,
  batchSize: 64,
  endpointsMax: 4096,
  gatherUs: 100,
  heapBytesMax: 64 * mebibyte,
  disable: 0,
}

function say(message) {
  if (isMainThread) process.stdout.write(`${JSON.stringify(message)}\n`)
  else parentPort.postMessage(message)
}

function makeDriver(onCompletion, changed = {}) {
  const dispatch = () => {
    const { completions } = driver
    // After a callback that threw: its ticks, before the next completion.
    if (completions[1] > 0) process._tickCallback()
    for (let index = completions[1]; index < completions[0]; index++) {
      completions[1] = index + 1
      const [head, id, result] = completions.subarray(4 + index * 4, 8 + index * 4)
      onCompletion(head & 0xff, id, result)
    }
    return 0
  }
  const driver = addon.createDriver(kind, { ...options, ...changed }, dispatch)
  if (typeof driver === 'number') throw new Error(`createDriver returned ${driver}`)
  driver.setRef(true)
  return driver
}

function command(driver, ...words) {
  const { commands } = driver
  while (words.length < 4) words.push(0)
  commands.set(words, 4 + commands[0] * 4)
  commands[0]++
}

function listen(driver) {
  const id = driver.open(4)
  driver.bind(id, '127.0.0.1', 0, 0)
  driver.listen(id, 100)
  command(driver, ACCEPT, id)
  const name = {}
  driver.name(id, false, name)
  return { id, port: name.port }
}

/** A driver with an accept, a receive, a blocked send and an unanswered connect in flight. */
function withEverythingInFlight(then) {
  const driver = makeDriver((op, id, result) => {
    if (op !== ACCEPT || result < 0) return
    command(driver, RECEIVE, result)
    command(driver, SEND, result, 0, options.arenaBytes)
    driver.submit()
    setImmediate(() => then(driver, peer))
  })
  const { port } = listen(driver)
  const silent = driver.open(4)
  driver.bind(silent, '127.0.0.1', 0, 0)
  driver.listen(silent, 0)
  const name = {}
  driver.name(silent, false, name)
  for (let i = 0; i < 8; i++) driver.connect(driver.open(4), '127.0.0.1', name.port)
  const peer = net.connect(port, '127.0.0.1')
  peer.on('error', () => {})
  peer.pause()
}

const programs = {
  /** Says `ready` with everything in flight and leaves the rest to whoever terminates it. */
  busy: () => withEverythingInFlight(() => say('ready')),

  exit: () => withEverythingInFlight(() => process.exit(7)),

  /** Ends by having nothing left to do. */
  idle: () =>
    withEverythingInFlight((driver, peer) => {
      driver.setRef(false)
      peer.unref()
    }),

  /** Terminated while its dispatch is running. */
  spin: () =>
    withEverythingInFlight(() => {
      say('ready')
      for (;;);
    }),

  /** W6: what was queued leaves, although nothing runs after process.exit(). */
  'write-exit': () => {
    const port = Number(process.argv[4])
    const driver = makeDriver((op, id) => {
      driver.arena.set(Buffer.from('last words'))
      command(driver, SEND, id, 0, 10)
      process.exit(0)
    })
    driver.connect(driver.open(4), '127.0.0.1', port)
  },

  /** A dispatch that throws at every completion, some before they moved the cursor. */
  throw: () => {
    const thrown = []
    const order = []
    process.on('uncaughtException', (error) => thrown.push(error.message))
    const dispatch = () => {
      const { completions } = driver
      const index = completions[1]
      if (index === completions[0]) return 0
      const id = completions[4 + index * 4 + 1]
      // Throws too, the second time, before the cursor moves: nothing may be lost by that.
      if (index > 0) process._tickCallback()
      completions[1] = index + 1
      order.push(id)
      process.nextTick(() => {
        order.push(`tick of ${id}`)
        throw new Error(`tick of ${id}`)
      })
      throw new Error(`at ${id}`)
    }
    const driver = addon.createDriver(kind, options, dispatch)
    driver.setRef(true)
    const ids = Array.from({ length: 6 }, () => driver.open(4))
    for (const id of ids) command(driver, CLOSE, id)
    setTimeout(() => {
      say({ ids, thrown, order })
      driver.close()
    }, 50)
  },

  'throw-unhandled': () => {
    const dispatch = () => {
      throw new Error('from dispatch')
    }
    const driver = addon.createDriver(kind, options, dispatch)
    driver.setRef(true)
    command(driver, CLOSE, driver.open(4))
    setTimeout(() => process.exit(0), 5000)
  },

  /** Ticks and microtasks run when dispatch returns, in Node's order; what a tick throws is caught outside. */
  ticks: () => {
    const order = []
    process.on('uncaughtException', (error) => order.push(error.message))
    const driver = makeDriver(() => {
      process.nextTick(() => {
        order.push('tick 1')
        Promise.resolve().then(() => order.push('microtask'))
      })
      process.nextTick(() => {
        throw new Error('thrown')
      })
      process.nextTick(() => order.push('tick 2'))
      order.push('dispatch')
      setImmediate(() => {
        say(order)
        driver.close()
      })
    })
    command(driver, CLOSE, driver.open(4))
  },

  /** Run with few descriptors: connections that find none are refused, and accepting goes on. */
  descriptors: () => {
    const taken = []
    let accepts = 0
    const errors = []
    const driver = makeDriver((op, id, result) => {
      if (op !== ACCEPT) return
      if (result < 0) errors.push(result)
      else accepts++
    })
    const { port } = listen(driver)
    driver.submit()
    const peers = []
    // The peers' descriptors are made first, then all but a few are used up.
    const socketsWanted = 20
    for (let i = 0; i < socketsWanted; i++) {
      const peer = net.connect(port, '127.0.0.1')
      peer.on('error', () => {}).on('close', () => closed++)
      peer.resume()
      peers.push(peer)
    }
    let closed = 0
    const fill = () => {
      try {
        for (;;) taken.push(require('node:fs').openSync('/dev/null'))
      } catch {
        for (let i = 0; i < 3; i++) require('node:fs').closeSync(taken.pop())
      }
    }
    fill()
    const batchesBefore = driver.stats().batches
    const cpuBefore = process.cpuUsage()
    setTimeout(() => {
      const { user, system } = process.cpuUsage(cpuBefore)
      const batches = driver.stats().batches - batchesBefore
      const firstAccepts = accepts
      for (const fd of taken) require('node:fs').closeSync(fd)
      const late = net.connect(port, '127.0.0.1', () => {
        setTimeout(() => {
          const more = accepts - firstAccepts
          say({
            accepts: firstAccepts,
            closed,
            errors,
            batches,
            more,
            busyMs: (user + system) / 1000,
          })
          process.exit(0)
        }, 100)
      })
      late.on('error', () => {})
    }, 500)
  },
}

programs[program]()
if (program === 'busy' && isMainThread)
  setInterval(() => say(readdirSync('/proc/self/fd').length), 1e3)
