'use strict'

/*
 * What one row works with: sockets and servers that are gone when the row is over, logs of events, waiting without
 * sleeping, a peer in a process of its own, programs of its own, and results that say the same on every run: ports,
 * paths and descriptors are replaced by their role. Judges nothing.
 */
const { spawn, fork } = require('node:child_process')
const { once } = require('node:events')
const { mkdtempSync, rmSync } = require('node:fs')
const { constants, tmpdir } = require('node:os')
const { join } = require('node:path')

const loopback = '127.0.0.1'
const turnsToSettle = 8

class Row {
  constructor(world, deadlineMs) {
    Object.assign(this, world)
    this.deadlineMs = deadlineMs
    this.isOver = false
    /** What was noted before a deadline passed. */
    this.logs = []
    this.uncaught = []
    this.warnings = []
    this.tracked = new Set()
    /** Those of the tracked that have emitted 'close'. */
    this.gone = new WeakSet()
    this.lastly = []
    this.ports = new Map()
    this.directory = undefined
  }

  // --- making things --------------------------------------------------------------------------------------------

  /** Destroyed or closed when the row is over. */
  track(thing) {
    if (this.tracked.has(thing)) return thing
    this.tracked.add(thing)
    thing.once('close', () => this.gone.add(thing))
    return thing
  }

  /** Runs when the row is over, however it ends. */
  onOver(action) {
    this.lastly.push(action)
  }

  server(options, listener) {
    const server = this.track(this.net.createServer(options, listener))
    server.on('connection', (socket) => this.track(socket))
    return server
  }

  connect(...args) {
    return this.track(this.net.connect(...args))
  }

  /** Listens on loopback (or as told) and gives the port a name for the results. */
  async listen(server, options = {}) {
    server.listen({ port: 0, host: loopback, ...options })
    await this.once(server, 'listening')
    return this.name(server)
  }

  name(server, role = 'server') {
    const { port } = server.address()
    this.ports.set(port, `<${role} port>`)
    return port
  }

  /** A server, a client and the accepted socket, connected. */
  async pair({ server: serverOptions, client: clientOptions, path } = {}) {
    const server = this.server(serverOptions)
    const accepting = this.once(server, 'connection')
    if (path === undefined) await this.listen(server)
    else {
      server.listen(path)
      await this.once(server, 'listening')
    }
    const target = path === undefined ? { port: server.address().port, host: loopback } : { path }
    const client = this.connect({ ...target, ...clientOptions })
    const [[accepted]] = await Promise.all([accepting, this.once(client, 'connect')])
    if (path === undefined) this.ports.set(client.localPort, '<client port>')
    return { server, client, accepted }
  }

  /** A path for a Unix socket. */
  path(name = 'socket') {
    this.directory ??= mkdtempSync(join(tmpdir(), 'surface-'))
    return join(this.directory, name)
  }

  /** A port of loopback that is free at this moment, to be bound. */
  async freePort() {
    const server = this.track(this.nodeNet.createServer())
    const port = await this.listen(server)
    server.close()
    await this.once(server, 'close')
    this.ports.set(port, '<free port>')
    return port
  }

  /**
   * A port that refuses on these addresses until the row is over: bound there, so that no other process gets it, and not
   * listened on.
   */
  refusedPort(addresses = [loopback]) {
    for (;;) {
      const name = {}
      const first = this.#bind(addresses[0], 0)
      first.getsockname(name)
      const { port } = name
      if (this.#refuse(port, addresses.slice(1))) {
        this.ports.set(port, '<free port>')
        return port
      }
    }
  }

  /** Listens as the options say, with a port that refuses on the other addresses: no other process listens there. */
  async listenAlone(server, options, refusing) {
    for (;;) {
      const port = await this.listen(server, options)
      if (this.#refuse(port, refusing)) return port
      server.close()
      await this.once(server, 'close')
    }
  }

  #refuse(port, addresses) {
    // An address that this machine does not have refuses by itself.
    return addresses.every((address) => this.#bind(address, port) !== -constants.errno.EADDRINUSE)
  }

  /** A handle of Node's, or -errno. */
  #bind(address, port) {
    const family = this.nodeNet.isIPv6(address) ? 6 : 4
    const handle = this.nodeNet._createServerHandle(address, port, family)
    if (typeof handle !== 'object') return handle
    this.onOver(() => handle.close())
    // libuv keeps EADDRINUSE back until the handle is used.
    const error = handle.getsockname({})
    return error === 0 ? handle : error
  }

  // --- watching and waiting -------------------------------------------------------------------------------------

  /** The events of one emitter, in order. Between emitters there is no order to rely on. */
  events(emitter, names, log = this.log()) {
    for (const name of names) {
      emitter.on(name, (...args) => log.push(args.length === 0 ? name : [name, ...args.map(told)]))
    }
    return log
  }

  log() {
    const log = []
    this.logs.push(log)
    return log
  }

  /** Resolves to the arguments of the next such event; an 'error' does not reject it. */
  once(emitter, name) {
    return new Promise((resolve) => emitter.once(name, (...args) => resolve(args)))
  }

  closed(emitter) {
    return this.once(emitter, 'close')
  }

  /** Resolves when the condition holds, looked at once a turn. */
  async until(condition) {
    while (!condition() && !this.isOver) await this.turns(1)
  }

  /** Resolves when all of them, which are tracked, have emitted 'close'; also if they had before. */
  async allClosed(...tracked) {
    await this.until(() => tracked.every((thing) => this.gone.has(thing)))
  }

  /** Lets the loop turn: what is due by itself has happened then. */
  async turns(count = turnsToSettle) {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  /**
   * What the action comes to. It is done again where this process stood still for `ms` meanwhile: then it tells nothing of
   * timers.
   */
  async undisturbed(ms, action) {
    for (;;) {
      let last = performance.now()
      let longest = 0
      const beat = () => {
        const now = performance.now()
        longest = Math.max(longest, now - last)
        last = now
      }
      const timer = setInterval(beat, 5)
      const result = await action()
      clearInterval(timer)
      beat()
      if (longest < ms) return result
    }
  }

  delay(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds))
  }

  /** All that a socket receives until it ends or closes, as text. */
  async received(socket) {
    let text = ''
    socket.on('data', (data) => (text += data))
    await Promise.race([this.once(socket, 'end'), this.once(socket, 'close')])
    return text
  }

  /** What it throws, as a result. */
  thrown(action) {
    try {
      const value = action()
      return { value: typeof value }
    } catch (error) {
      return shape(error)
    }
  }

  // --- other processes ------------------------------------------------------------------------------------------

  /**
   * A server on plain node:net in another process. `listener(socket, report)` runs there, so it sees nothing of here.
   * Resolves to its port; `next()` resolves to what is reported next.
   */
  async peerServer(listener, options) {
    const { started, next } = this.#askPeer({ source: String(listener), options })
    const port = await started
    this.ports.set(port, '<peer port>')
    return { port, next }
  }

  /** A client on plain node:net in another process. */
  peerClient(port, listener, options) {
    return this.#askPeer({ source: String(listener), port, options })
  }

  #askPeer(request) {
    const { peer } = Row
    const reports = []
    const waiting = []
    const id = ++Row.requests
    let onPort
    const started = new Promise((resolve) => (onPort = resolve))
    Row.reports.set(id, (message) => {
      if (message.port !== undefined) onPort(message.port)
      else if (waiting.length > 0) waiting.shift()(message.value)
      else reports.push(message.value)
    })
    peer.send({ id, ...request })
    const next = () =>
      reports.length > 0
        ? Promise.resolve(reports.shift())
        : new Promise((resolve) => waiting.push(resolve))
    return { started, next }
  }

  /** Started by the runner, once for all rows. */
  static startPeer() {
    const env = { ...process.env, NODE_OPTIONS: '' }
    Row.peer = fork(join(__dirname, 'peer.js'), { execArgv: [], env })
    Row.peer.on('message', (message) => Row.reports.get(message.id)?.(message))
    Row.peer.unref()
    Row.peer.channel.unref()
  }

  static {
    Row.peer = undefined
    Row.requests = 0
    Row.reports = new Map()
  }

  /** A program in this mode, which its flags are part of: `net` is the module under test. Resolves to what it printed and how it ended. */
  async program(source, { stdio = [], onChild, args = [] } = {}) {
    const prelude = `const net = require(${JSON.stringify(this.module)});`
    const child = spawn(process.execPath, [...process.execArgv, '-e', prelude + source, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', ...stdio],
      timeout: this.deadlineMs,
      killSignal: 'SIGKILL',
    })
    let stdout = ''
    child.stdout.on('data', (data) => (stdout += data))
    child.stderr.resume()
    onChild?.(child)
    const [code, signal] = await once(child, 'close')
    return { stdout, code, signal }
  }

  // --- the end --------------------------------------------------------------------------------------------------

  /** Nothing of the row may reach the next one. */
  async cleanUp() {
    this.isOver = true
    for (const action of this.lastly) action()
    for (const thing of this.tracked) {
      thing.on?.('error', () => {})
      if (thing.destroy) thing.destroy()
      else if (thing.close) thing.close()
      thing.closeAllConnections?.()
    }
    await this.turns(4)
    if (this.directory) rmSync(this.directory, { recursive: true, force: true })
  }

  /** The result without what differs from run to run. */
  normalise(value, key = '') {
    if (typeof value === 'number') {
      const isPort = /port$/i.test(key) && value > 1023
      return this.ports.get(value) ?? (isPort ? '<some port>' : value)
    }
    if (typeof value === 'string') return this.#normaliseText(value)
    if (Array.isArray(value)) return value.map((item) => this.normalise(item))
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value)
    return Object.fromEntries(entries.map(([name, item]) => [name, this.normalise(item, name)]))
  }

  #normaliseText(text) {
    const withoutPath = this.directory ? text.replaceAll(this.directory, '<directory>') : text
    const portOf = (port) => this.ports.get(Number(port)) ?? '<some port>'
    // Abstract paths begin with NUL, which no report should contain.
    const readable = withoutPath.replaceAll('\0', '@')
    return readable.replace(/:(\d{4,5})\b/g, (_, port) => `:${portOf(port)}`)
  }
}

/** What of an error a program can see. */
function shape(error) {
  if (!(error instanceof Error)) return { notAnError: String(error) }
  const own = { name: error.name, message: error.message }
  for (const name of Object.keys(error)) {
    if (['stack', 'cause', 'errors'].includes(name)) continue
    if (['string', 'number', 'boolean', 'undefined'].includes(typeof error[name])) {
      own[name] = error[name]
    }
  }
  if (error.code !== undefined) own.code = error.code
  if (error.errors) own.errors = error.errors.map(shape)
  if (error.cause !== undefined) own.cause = shape(error.cause)
  return own
}

/** An event's argument, as a result. */
function told(value) {
  if (value instanceof Error) return shape(value)
  if (Buffer.isBuffer(value)) return value.length <= 64 ? value.toString() : value.length
  if (typeof value === 'object' && value !== null) {
    return Object.getPrototypeOf(value) === Object.prototype
      ? value
      : `[${value.constructor?.name}]`
  }
  return typeof value === 'function' ? '[function]' : value
}

module.exports = { Row, loopback, shape, told }
