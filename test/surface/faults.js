'use strict'

/*
 * node:net with one thing wrong, to show that the rows notice. Each fault takes the module and gives a faulty one back;
 * it may break what it likes, since it runs in a process of its own.
 */
function wrapWrite(net, wrap) {
  const { _writeGeneric: genuine } = net.Socket.prototype
  net.Socket.prototype._writeGeneric = function (isWritev, data, encoding, callback) {
    return wrap.call(this, genuine, isWritev, data, encoding, callback)
  }
  return net
}

const faults = {
  /** The write callback comes before the kernel has the bytes. */
  'early callback': (net) => {
    const { write } = net.Socket.prototype
    net.Socket.prototype.write = function (chunk, encoding, callback) {
      const call = typeof encoding === 'function' ? encoding : callback
      if (typeof call === 'function') call()
      return write.call(this, chunk, typeof encoding === 'string' ? encoding : undefined)
    }
    return net
  },

  /** The last byte of what is written is lost. */
  'lost bytes': (net) =>
    wrapWrite(net, function (genuine, isWritev, data, encoding, callback) {
      const cut = isWritev || data.length < 2 ? data : data.slice(0, -1)
      return genuine.call(this, isWritev, cut, encoding, callback)
    }),

  /** What was written together leaves in the wrong order. */
  'wrong order': (net) =>
    wrapWrite(net, function (genuine, isWritev, data, encoding, callback) {
      if (isWritev) data.reverse()
      return genuine.call(this, isWritev, data, encoding, callback)
    }),

  /** 'close' comes before 'end'. */
  'early close': (net) => {
    const { emit } = net.Socket.prototype
    net.Socket.prototype.emit = function (name, ...args) {
      if (name === 'end') emit.call(this, 'close', false)
      return emit.call(this, name, ...args)
    }
    return net
  },

  /** 'close' does not say that there was an error. */
  'close without hadError': (net) => {
    const { emit } = net.Socket.prototype
    net.Socket.prototype.emit = function (name, ...args) {
      return name === 'close' ? emit.call(this, 'close', false) : emit.call(this, name, ...args)
    }
    return net
  },

  /** Errors lose what they are about. */
  'bare errors': (net) => {
    const { destroy } = net.Socket.prototype
    net.Socket.prototype.destroy = function (error, callback) {
      return destroy.call(this, error ? new Error(error.code) : error, callback)
    }
    return net
  },
}

module.exports = { faults }
