'use strict'

/*
 * What the programs here have in scope: the `net` under test, places to listen at, a peer on plain Node in a process of its
 * own, and a way to say what came of it. Judges nothing.
 */
const { fork } = require('node:child_process')
const { once } = require('node:events')
const { readFileSync, writeSync } = require('node:fs')
const { join } = require('node:path')

const { TEST_MODE, TEST_WAY, TEST_LIBRARY, TEST_DIRECTORY, TEST_PAIR } = process.env
const isPlain = TEST_MODE === 'plain'
const isLibrary = !isPlain && TEST_WAY === 'library'
const net = require(isLibrary ? TEST_LIBRARY : 'node:net')

/** In library mode: puts a server of http, https or tls on the driver. */
const attach = isLibrary ? net.attach : (server) => server

/** Key and certificate of localhost. */
const pair = JSON.parse(TEST_PAIR)

const say = (value) => writeSync(1, `${JSON.stringify(value)}\n`)

let paths = 0
/** Where servers listen. */
const places = {
  TCP: () => ({ port: 0, host: '127.0.0.1', backlog: 4096 }),
  Unix: () => ({ path: join(TEST_DIRECTORY, String(paths++)), backlog: 4096 }),
}

/** Listens, and resolves to where clients connect. */
async function listen(server, place) {
  server.listen(places[place]())
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' }
}

/** `play(...args)` in a process of its own on plain Node, with `tell(value)` and `hear(listener)`; see peer.js. */
function peer(play, ...args) {
  const { URING_NET_DRIVER: _driver, NODE_OPTIONS: _options, ...env } = process.env
  const child = fork(join(__dirname, 'peer.js'), [String(play), JSON.stringify(args)], {
    execArgv: [],
    env,
  })
  const heard = []
  const waiting = []
  child.on('message', (value) => (waiting.length > 0 ? waiting.shift()(value) : heard.push(value)))
  return {
    pid: child.pid,
    tell: (value) => child.send(value),
    /** Resolves to what it tells next. */
    next: () =>
      heard.length > 0
        ? Promise.resolve(heard.shift())
        : new Promise((resolve) => waiting.push(resolve)),
    /** It does not keep the program running any more. */
    unref: () => (child.unref(), child.channel.unref()),
    end: () => child.kill('SIGKILL'),
  }
}

/** An 'error' before it is no failure of the wait. */
const closed = (emitter) => new Promise((resolve) => emitter.once('close', resolve))

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** What an event was told, in a word. */
const told = (value) =>
  value instanceof Error
    ? [value.code, value.syscall].filter(Boolean).join(' ')
    : Buffer.isBuffer(value)
      ? String(value)
      : value

/** The events of a socket, in order. */
function events(socket, names = ['data', 'end', 'finish', 'error', 'close'], log = []) {
  for (const name of names) {
    socket.on(name, (...values) => log.push([name, ...values.map(told)].join(' ')))
  }
  return log
}

/** The most memory that was resident, in KiB. Not ru_maxrss: that counts the process which this one was started from, too. */
const peakKb = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])

/** Says the result, the driver and whether it has received for sockets, and whether something strayed; and ends. */
function done(result) {
  const driver = isPlain ? undefined : require(TEST_LIBRARY).driver
  const { opened = 0, unexpectedCompletions = 0 } = driver?.stats() ?? {}
  say({
    result,
    driver: driver?.name ?? 'plain',
    isCarried: opened > 0,
    unexpectedCompletions,
    peakKb: peakKb(),
  })
  process.exit()
}

module.exports = {
  net,
  attach,
  pair,
  say,
  places,
  listen,
  peer,
  closed,
  turn,
  told,
  events,
  done,
  once,
}
