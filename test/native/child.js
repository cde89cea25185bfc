'use strict'

/*
 * Programs that tests of the native drivers run in a process or worker of their own, because they end it, limit it or
 * break it: `node child.js <program> <driver kind>`, or the same two names as workerData. Plain JavaScript, so that a
 * worker can load it; knows nothing of Jest.
 */
const { closeSync, fstatSync, openSync, readFileSync, readdirSync } = require('node:fs')
const net = require('node:net')
const { performance } = require('node:perf_hooks')
const { isMainThread, parentPort, workerData } = require('node:worker_threads')

const addon = require(process.env.URING_NET_ADDON_UNDER_TEST)
const [program, kind, argument] = isMainThread ? process.argv.slice(2) : workerData
const [
  RECEIVE,
  RECEIVE_INTO,
  PIECE,
  SEND,
  ACCEPT,
  CONNECT,
  SHUTDOWN,
  CANCEL,
  CLOSE,
  PROVIDE,
  WAKE,
] = Array.from({ length: 11 }, (_, i) => i + 1)
const mebibyte = 1 << 20

const options = {
  poolBytes: mebibyte,
  submissionEntries: 64,
  completionEntries: 1024,
  commandCapacity: 512,
  batchSize: 64,
  endpointsMax: 4096,
  receiveBuffers: 64,
  gatherUs: 100,
  disable: 0,
}

function say(message) {
  if (isMainThread) process.stdout.write(`${JSON.stringify(message)}\n`)
  else parentPort.postMessage(message)
}

/** Memory by index, so that it stays while the kernel has it. */
const memories = []

function register(driver, index, bytes) {
  memories[index] = Buffer.from(new ArrayBuffer(bytes))
  const status = driver.register(index, memories[index].buffer)
  if (status !== 0) throw new Error(`register returned ${status}`)
}

function makeDriver(onCompletion, changed = {}) {
  const dispatch = () => {
    const completions = new Int32Array(driver.completions)
    // After a callback that threw: its ticks, before the next completion.
    if (completions[1] > 0) process._tickCallback()
    for (let index = completions[1]; index < completions[0]; index++) {
      completions[1] = index + 1
      const [token, result, flags, extra] = completions.subarray(4 + index * 4, 8 + index * 4)
      const { op, id } = started.get(token)
      if ((flags & 1) === 0) started.delete(token)
      onCompletion(op, id, result, extra, token, (flags & 1) !== 0)
    }
    return 0
  }
  const driver = addon.createDriver(kind, { ...options, ...changed }, dispatch)
  if (typeof driver === 'number') throw new Error(`createDriver returned ${driver}`)
  driver.setRef(1)
  return driver
}

/** What each token in flight is for. They are not used again. */
const started = new Map()
let nextToken = 1

function begin(op, id) {
  started.set(nextToken, { op, id })
  return nextToken++
}

function command(driver, ...words) {
  const commands = new Int32Array(driver.commands)
  while (words.length < 8) words.push(0)
  commands.set(words, 4 + commands[0] * 8)
  commands[0]++
}

function start(driver, op, id, ...words) {
  const token = begin(op, id)
  command(driver, op, token, id, ...words)
  return token
}

function connect(driver, id, port) {
  const status = driver.connect(begin(CONNECT, id), id, '127.0.0.1', port)
  if (status !== 0) throw new Error(`connect returned ${status}`)
}

function provide(driver, index) {
  register(driver, index, 4096)
  command(driver, PROVIDE, 0, 0, index)
}

function listen(driver, backlog = 100) {
  const id = driver.open(4)
  driver.bind(id, '127.0.0.1', 0, 0)
  driver.listen(id, backlog)
  const name = {}
  driver.name(id, 0, name)
  return { id, port: name.port }
}

/** A driver with each kind of operation in flight: accept, both receives, a blocked gathered send, unanswered connects. */
function withEverythingInFlight(then) {
  let accepts = 0
  const driver = makeDriver((op, _, result) => {
    if (op !== ACCEPT || result < 0) return
    start(driver, ...(accepts++ === 0 ? [RECEIVE, result] : [RECEIVE_INTO, result, 2, 0, 100, 100]))
    const token = begin(SEND, result)
    command(driver, PIECE, token, 0, 1, 0, 10)
    command(driver, SEND, token, result, 1, 10, 16 * mebibyte - 10)
    driver.submit()
    if (accepts === 2) setImmediate(() => then(driver, peers))
  })
  provide(driver, 0)
  register(driver, 1, 16 * mebibyte)
  register(driver, 2, 100)
  const { id, port } = listen(driver)
  start(driver, ACCEPT, id)
  const silent = listen(driver, 0)
  for (let i = 0; i < 8; i++) connect(driver, driver.open(4), silent.port)
  const peers = [net.connect(port, '127.0.0.1'), net.connect(port, '127.0.0.1')]
  for (const peer of peers) peer.on('error', () => {}).pause()
}

function isOpen(fd) {
  try {
    fstatSync(fd)
    return true
  } catch {
    return false
  }
}

/** Turns that the event loop makes with nothing to do but to wait for a timer. */
function turnsOfTheLoop(then) {
  const count = () => performance.nodeTiming.uvMetricsInfo.loopCount
  setImmediate(() => {
    const before = count()
    setTimeout(() => then(count() - before), 100)
  })
}

const programs = {
  /** Says `ready` with everything in flight and leaves the rest to whoever terminates it. */
  busy: () => withEverythingInFlight(() => say('ready')),

  exit: () =>
    withEverythingInFlight(() => {
      say('ready')
      process.exit(7)
    }),

  /** Ends by having nothing left to do. */
  idle: () =>
    withEverythingInFlight((driver, peers) => {
      say('ready')
      driver.setRef(0)
      for (const peer of peers) peer.unref()
    }),

  /** Is kept alive by nothing but the driver's reference, and gives it up when the peer has written. */
  held: () => {
    const driver = makeDriver((op, id, result) => {
      if (op === CONNECT) {
        start(driver, RECEIVE, id)
        say('held')
      }
      if (op === RECEIVE && result > 0) driver.setRef(0)
    })
    provide(driver, 0)
    connect(driver, driver.open(4), Number(argument))
  },

  /** Terminated while its dispatch is running. */
  spin: () =>
    withEverythingInFlight(() => {
      say('ready')
      for (;;);
    }),

  /** W6: what was queued leaves, although nothing runs after process.exit(). */
  'write-exit': () => {
    const driver = makeDriver((op, id) => {
      const token = begin(SEND, id)
      command(driver, PIECE, token, 0, 0, 0, 5)
      command(driver, SEND, token, id, 1, 0, 5)
      process.exit(0)
    })
    register(driver, 0, 5)
    register(driver, 1, 5)
    memories[0].write('last ')
    memories[1].write('words')
    connect(driver, driver.open(4), Number(argument))
  },

  /** W6: so does what was offered, behind a send that was queued. */
  'offer-exit': () => {
    const driver = makeDriver((op, id) => {
      start(driver, SEND, id, 0, 0, 5)
      say(driver.offer(id, Buffer.from('words')))
      process.exit(0)
    })
    register(driver, 0, 5)
    memories[0].write('last ')
    connect(driver, driver.open(4), Number(argument))
  },

  /** A dispatch that throws at every completion, some before they moved the cursor. */
  throw: () => {
    const thrown = []
    const order = []
    process.on('uncaughtException', (error) => {
      thrown.push(error.message)
      if (thrown.length < 2 * tokens.length) return
      say({ tokens, thrown, order })
      driver.close()
    })
    const dispatch = () => {
      const completions = new Int32Array(driver.completions)
      const index = completions[1]
      if (index === completions[0]) return 0
      const token = completions[4 + index * 4]
      // Throws too, the second time, before the cursor moves: nothing may be lost by that.
      if (index > 0) process._tickCallback()
      completions[1] = index + 1
      order.push(token)
      process.nextTick(() => {
        order.push(`tick of ${token}`)
        throw new Error(`tick of ${token}`)
      })
      throw new Error(`at ${token}`)
    }
    const driver = addon.createDriver(kind, options, dispatch)
    driver.setRef(1)
    const tokens = [1, 2, 3, 4, 5, 6]
    for (const token of tokens) command(driver, WAKE, token)
  },

  'throw-unhandled': () => {
    const dispatch = () => {
      throw new Error('from dispatch')
    }
    const driver = addon.createDriver(kind, options, dispatch)
    driver.setRef(1)
    command(driver, WAKE, 1)
    setTimeout(() => process.exit(0), 45000)
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
    start(driver, WAKE, 0)
  },

  /** Run with few descriptors: connections that find none are refused, and accepting goes on. */
  descriptors: () => {
    const taken = []
    const errors = []
    const socketsWanted = 20
    let accepts = 0
    let closed = 0
    let onChange = () => {}
    const driver = makeDriver((op, id, result) => {
      if (op !== ACCEPT) return
      if (result < 0) errors.push(result)
      else accepts++
      onChange()
    })
    const { id, port } = listen(driver)
    start(driver, ACCEPT, id)
    driver.submit()
    // The peers' descriptors are made first, then all but a few are used up.
    for (let i = 0; i < socketsWanted; i++) {
      const peer = net.connect(port, '127.0.0.1')
      peer.on('error', () => {})
      peer.on('close', () => {
        closed++
        onChange()
      })
      peer.resume()
    }
    try {
      for (;;) taken.push(openSync('/dev/null'))
    } catch {
      for (let i = 0; i < 3; i++) closeSync(taken.pop())
    }
    const batchesBefore = driver.stats().batches
    onChange = () => {
      if (accepts + closed < socketsWanted) return
      onChange = () => {}
      turnsOfTheLoop((turns) => {
        const batches = driver.stats().batches - batchesBefore
        const found = { accepts, closed, errors, batches, turns }
        for (const fd of taken) closeSync(fd)
        onChange = () => {
          say({ ...found, more: accepts - found.accepts })
          process.exit(0)
        }
        net.connect(port, '127.0.0.1').on('error', () => {})
      })
    }
  },

  /** Takes over descriptor 3, which is a connected socket, and answers what it receives until the end. */
  adopt: () => {
    const flags = parseInt(/flags:\s+(\d+)/.exec(readFileSync('/proc/self/fdinfo/3', 'utf8'))[1], 8)
    const waiting = []
    let receives = 0
    let isSending = false
    const send = (id) => {
      const next = waiting.shift()
      isSending = next !== undefined
      if (isSending) start(driver, SEND, id, next.index, 0, next.length)
    }
    const driver = makeDriver((op, id, result, extra) => {
      if (op === RECEIVE && result > 0) {
        receives++
        waiting.push({ index: extra, length: result })
        if (!isSending) send(id)
      } else if (op === RECEIVE) {
        start(driver, CLOSE, id, 0, receives)
      } else if (op === SEND) {
        send(id)
      } else if (op === CLOSE) {
        say({ isOpen: isOpen(3), result })
        driver.setRef(0)
      }
    })
    for (let index = 0; index < 64; index++) provide(driver, index)
    const id = driver.adopt(3)
    say({ wasNonblocking: (flags & 0o4000) !== 0, id, fd: driver.fd(id) })
    if (id > 0) start(driver, RECEIVE, id)
  },

  /** Hands over numbers that would let the kernel write where it must not. */
  abort: () => {
    const driver = makeDriver(() => {})
    register(driver, 0, 100)
    register(driver, 2, 100)
    register(driver, 65536, 100)
    const id = driver.open(4)
    const wrong = {
      opcode: () => command(driver, 99, 1, id),
      connect: () => command(driver, CONNECT, 1, id),
      'token 0': () => command(driver, WAKE + 1, 0, id),
      'receive without token': () => command(driver, RECEIVE, 0, id),
      'token in flight': () => {
        const { id: listener } = listen(driver)
        command(driver, ACCEPT, 1, listener)
        command(driver, RECEIVE, 1, id)
      },
      'provided index below 0': () => command(driver, PROVIDE, 0, 0, -1),
      'provided index that was never registered': () => command(driver, PROVIDE, 0, 0, 65537),
      'provided index with no memory': () => command(driver, PROVIDE, 0, 0, 1),
      'provided index above 65535': () => command(driver, PROVIDE, 0, 0, 65536),
      'piece out of bounds': () => command(driver, PIECE, 1, 0, 0, 50, 51),
      'piece of no memory': () => command(driver, PIECE, 1, 0, 1, 0, 1),
      nothing: () => {},
    }
    wrong[argument]()
    driver.submit()
    say('went on')
    driver.close()
  },

  /** Says how large a ring this process may have, and uses it. */
  limited: () => {
    const asked = { submissionEntries: 4096, completionEntries: 8192, receiveBuffers: 64 }
    const made = addon.createDriver(kind, { ...options, ...asked }, () => 0)
    if (typeof made === 'number') return say({ error: made })
    say(made.stats())
    made.close()
  },

  /** io_uring_enter is refused from some time on; what is in flight then, what is started after it, and what ends. */
  refused: async () => {
    const { driver, completed, until, inKernel, later, all } = await beforeRefusal()
    require(argument)
    const second = listen(driver)
    const connecting = driver.open(4)
    const refused = {
      receive: start(driver, RECEIVE, later[0]),
      receiveInto: start(driver, RECEIVE_INTO, later[1], 5, 0, 5, 5),
      send: start(driver, SEND, later[2], 5, 0, 5),
      gathered: begin(SEND, later[3]),
      accept: start(driver, ACCEPT, second.id),
      connect: nextToken,
    }
    command(driver, PIECE, refused.gathered, 0, 5, 0, 5)
    command(driver, SEND, refused.gathered, later[3], 5, 0, 5)
    connect(driver, connecting, second.port)
    await until(() => Object.values(refused).every((token) => completed.has(token)))
    const wake = start(driver, WAKE, 0)
    await until(() => completed.has(wake))
    const before = Object.values(inKernel).filter((token) => completed.has(token)).length
    command(driver, CANCEL, inKernel.receive)
    await until(() => completed.has(inKernel.receive))
    const ids = [...all, second.id, connecting]
    const closes = ids.map((id) => start(driver, CLOSE, id))
    await until(() => closes.every((token) => completed.has(token)))
    const of = (tokens) =>
      Object.fromEntries(
        Object.entries(tokens).map(([name, token]) => [name, completed.get(token)]),
      )
    turnsOfTheLoop((turns) => {
      const { endpoints, inFlight, unexpectedCompletions } = driver.stats()
      const closed = closes.map((token) => completed.get(token))
      const left = driver.close()
      const unfinished = started.size
      const answer = { before, refused: of(refused), inKernel: of(inKernel), closed, turns }
      say({ ...answer, endpoints, inFlight, unexpectedCompletions, unfinished, left })
    })
  },

  /** The same, with the driver's end at once. */
  'refused-end': async () => {
    const { driver, later } = await beforeRefusal()
    require(argument)
    const before = readdirSync('/proc/self/fd').length
    start(driver, RECEIVE, later[0])
    const { endpoints } = driver.stats()
    const left = driver.close()
    // Those of the endpoints, of the ring and of the descriptor kept back for accept.
    say({ left, freed: before - readdirSync('/proc/self/fd').length - endpoints })
  },

  /** The same with nothing to do: a driver that waits goes on waiting, and what arrives arrives. */
  'refused-idle': async () => {
    const { driver, completed, inKernel, later } = await beforeRefusal()
    require(argument)
    start(driver, RECEIVE, later[0])
    turnsOfTheLoop((turns) => {
      const { inFlight } = driver.stats()
      say({ turns, inFlight, received: completed.has(inKernel.receive), left: driver.close() })
    })
  },
}

/** Connections of a driver to itself, and operations that the kernel has taken. */
async function beforeRefusal() {
  const completed = new Map()
  let onCompletion = () => {}
  const ids = { [ACCEPT]: [], [CONNECT]: [] }
  const driver = makeDriver((op, id, result, _, token, more) => {
    if (op === ACCEPT && result > 0) ids[ACCEPT].push(result)
    if (op === CONNECT && result === 0) ids[CONNECT].push(id)
    if (!more) completed.set(token, result)
    onCompletion()
  })
  const until = (condition) =>
    new Promise((resolve) => {
      onCompletion = () => condition() && resolve()
      onCompletion()
    })
  for (let index = 0; index < 4; index++) provide(driver, index)
  register(driver, 4, 16 * mebibyte)
  register(driver, 5, 5)
  const { id: listener, port } = listen(driver)
  const accept = start(driver, ACCEPT, listener)
  const own = Array.from({ length: 4 }, () => driver.open(4))
  for (const id of own) connect(driver, id, port)
  await until(() => ids[ACCEPT].length === 4 && ids[CONNECT].length === 4)
  const [receiving, sending, ...rest] = ids[ACCEPT]
  const inKernel = {
    receive: start(driver, RECEIVE, receiving),
    send: start(driver, SEND, sending, 4, 0, 16 * mebibyte),
    accept,
  }
  // Until the send has come to a halt.
  let sent
  do {
    sent = driver.stats().bytesSent
    for (let turns = 0; turns < 3; turns++) {
      const wake = start(driver, WAKE, 0)
      await until(() => completed.has(wake))
    }
  } while (driver.stats().bytesSent > sent)
  // The other ends of those with something in flight stay as they are.
  const busy = [receiving, sending].map((id) => portOf(driver, id, 1))
  const free = own.filter((id) => !busy.includes(portOf(driver, id, 0)))
  const all = [listener, ...ids[ACCEPT], ...own]
  return { driver, completed, until, inKernel, later: [...rest, ...free], all }
}

function portOf(driver, id, peer) {
  const name = {}
  driver.name(id, peer, name)
  return name.port
}

programs[program]()
