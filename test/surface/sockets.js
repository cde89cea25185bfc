'use strict'

/* What rows tell of a socket: its state, its counters, and the calls of a callback. */
const { told } = require('./row')

const stateOf = ({ readyState, pending, connecting, destroyed, closed, readable, writable }) => ({
  readyState,
  pending,
  connecting,
  destroyed,
  closed,
  readable,
  writable,
})

const countersOf = ({ bytesRead, bytesWritten, bufferSize, writableLength }) => ({
  bytesRead,
  bytesWritten,
  bufferSize,
  writableLength,
})

/** A callback that notes its name and what it is called with. */
function noting(log, name) {
  return (...args) => log.push([name, ...args.map(told)])
}

/** The events of a connection from beginning to end, without its data. */
const life = ['connect', 'ready', 'finish', 'end', 'timeout', 'error', 'close']

module.exports = { countersOf, life, noting, stateOf }
