/**
 * Sockets and servers posted to a worker thread: where Node moves them (24.21 and later) the worker has them whole and this
 * thread none of them, otherwise Node's own error tells, and this thread keeps them.
 */
import { drivers } from '../e2e/subjects'
import { nodes, program, removeApps, run } from './program'

afterAll(removeApps)

const transfer = `
  const { Worker, isMainThread, parentPort } = require('worker_threads')
  const net = require('net')
  const tell = (what, act) => { try { act(); say(what, 'done') } catch (error) { say(what, error.code, error.message.split('\\n')[0]) } }
  if (isMainThread) {
    const worker = new Worker(__filename)
    worker.on('messageerror', (error) => say('messageerror', error.code))
    const server = net.createServer({ pauseOnConnect: true }, (socket) => {
      tell('cloned', () => worker.postMessage(socket))
      tell('transferred', () => worker.postMessage(socket, [socket]))
      tell('again', () => worker.postMessage(socket, [socket]))
      if (!socket.destroyed) socket.resume().end('main thread')
    })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      talk(port, () => {
        tell('cloned', () => worker.postMessage(server))
        tell('transferred', () => worker.postMessage(server, [server]))
        if (server.listening) { talk(port, () => { server.close(); worker.postMessage('close') }); return }
        worker.once('message', () => talk(port, () => worker.postMessage('close')))
      })
    })
    const talk = (port, then) => {
      const socket = net.connect(port, '127.0.0.1', () => socket.end(Buffer.alloc(300000)))
      let text = ''
      socket.on('data', (data) => (text += data))
      socket.on('error', (error) => say(error.code))
      socket.on('close', () => { say(text); then() })
    }
  } else {
    const answer = (socket) => {
      let length = 0
      socket.on('data', (data) => (length += data.length))
      socket.on('end', () => socket.end('worker thread ' + length))
      // A server that accepts paused does so in the worker, too.
      socket.resume()
    }
    parentPort.on('message', (message) => {
      if (message === 'close') process.exit()
      if (!(message instanceof net.Server)) return answer(message)
      message.on('connection', answer)
      parentPort.postMessage('ready')
    })
  }`

describe.each(nodes)('%s', (node) => {
  /** In Node 24 and later sockets and servers can be; before, and in other states, Node's own errors tell. */
  test.each(drivers)(
    '%s: what is posted to a worker thread is taken as Node takes it',
    async (driver) => {
      const oracle = await run('plain', program(transfer), { node })
      expect({ ...oracle, stdout: '' }).toEqual({ stdout: '', stderr: '', code: 0, signal: null })
      expect(await run(driver, program(transfer), { node })).toEqual(oracle)
    },
  )
})

test('known bad: a thread that posts nothing is noticed', async () => {
  const broken = transfer.replace(
    "tell('transferred', () => worker.postMessage(socket, [socket]))",
    'worker.postMessage(0)',
  )
  expect(await run('plain', program(broken))).not.toEqual(await run('plain', program(transfer)))
})
