'use strict'

/*
 * What a mode puts into a row's hands: the `net` under test, how its clients and servers are made for http, https, http2
 * and tls, and what a program of its own requires. `plain` is the oracle; what makes the mode `register` is a flag of the
 * process. Knows nothing of rows.
 */
const { join } = require('node:path')
const { faults } = require('./faults')

const library = join(__dirname, '..', '..', 'dist', 'src', 'index.js')

/** What `require` is given to get the `net` of the mode. */
function moduleOf(mode) {
  return mode === 'library' ? library : 'node:net'
}

function netOf(mode) {
  const fault = /^fault:(.*)$/.exec(mode)?.[1]
  const net = require(moduleOf(mode))
  return fault === undefined ? net : faults[fault](net)
}

/** `mode` is plain, library, register, or fault:<name>, which is node:net with one thing wrong. */
function createWorld(mode) {
  const net = netOf(mode)
  const http = require('node:http')
  const https = require('node:https')
  const http2 = require('node:http2')
  const tls = require('node:tls')
  const isLibrary = mode === 'library'

  function connectTls(options) {
    if (!isLibrary) return tls.connect(options)
    const { host, port, path, lookup } = options
    return tls.connect({ ...options, socket: net.connect({ host, port, path, lookup }) })
  }

  function agentOf(Agent, options, createConnection) {
    const agent = new Agent(options)
    if (isLibrary) agent.createConnection = createConnection
    return agent
  }

  return {
    mode,
    net,
    nodeNet: require('node:net'),
    http,
    https,
    http2,
    tls,
    module: moduleOf(mode),
    library,
    attach: isLibrary ? net.attach : (server) => server,
    connectTls,
    httpAgent: (options) => agentOf(http.Agent, options, (given) => net.connect(given)),
    httpsAgent: (options) => agentOf(https.Agent, options, (given) => connectTls(given)),
    connectHttp2(url, options = {}) {
      const { hostname: host, port, protocol } = new URL(url)
      if (!isLibrary) return http2.connect(url, options)
      const createConnection = () =>
        protocol === 'http:'
          ? net.connect({ host, port })
          : connectTls({ ...options, host, port, ALPNProtocols: ['h2'] })
      return http2.connect(url, { ...options, createConnection })
    },
  }
}

module.exports = { createWorld }
