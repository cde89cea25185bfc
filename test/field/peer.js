'use strict'

/*
 * The other end, on plain node:net in a process of its own: runs the function that it is given, with `tell` and `hear` to
 * talk to the program. Ends with it. Judges nothing.
 */
const [source, args] = process.argv.slice(2)

process.on('disconnect', () => process.exit())

const tell = (value) => process.send(value)
const hear = (listener) => process.on('message', listener)

new Function('require', 'tell', 'hear', `return (${source})(...${args})`)(require, tell, hear)
