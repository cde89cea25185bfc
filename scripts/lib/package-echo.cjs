/*
 * `node package-echo.cjs SERVER PORT`: starts a program that echoes on that port, sends it bytes, and
 * fails unless they come back.
 */
'use strict'

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const net = require('node:net')

const [, , server, port] = process.argv
const bytes = Buffer.alloc(1 << 20, 'uring-net ')

async function main() {
  const child = spawn(process.execPath, [server], { stdio: ['ignore', 'inherit', 'inherit'] })
  const deadline = setTimeout(() => fail(new Error('it took more than 20 seconds')), 20_000)
  child.on('exit', (code) => fail(new Error(`the server ended with ${code}`)))
  function fail(error) {
    console.error(error)
    child.kill('SIGKILL')
    process.exit(1)
  }
  const socket = await connected()
  socket.end(bytes)
  const chunks = []
  for await (const chunk of socket) chunks.push(chunk)
  if (!Buffer.concat(chunks).equals(bytes)) fail(new Error('other bytes came back'))
  console.log(`${server}: 1 MiB came back from port ${port}`)
  clearTimeout(deadline)
  child.removeAllListeners('exit').kill()
}

/** Tries until the server listens; the deadline ends it. */
async function connected() {
  for (;;) {
    const socket = net.connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return socket
    } catch {
      socket.destroy()
    }
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
