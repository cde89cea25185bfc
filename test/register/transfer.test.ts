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

/** Getters of a message run between the two steps of a transfer. What they make of a socket or server, Node refuses. */
const changed = `
  const { MessageChannel } = require('worker_threads')
  const net = require('net')
  const { port1, port2 } = new MessageChannel()
  port2.unref()
  const post = (what, moved, change) => {
    try { port1.postMessage({ get first() { change(); return 0 }, moved }, [moved]); say(what, 'done') } catch (error) { say(what, error.code) }
  }
  const changes = [
    ['encoding', (socket) => socket.setEncoding('latin1')],
    ['written', (socket) => socket.write('before ')],
    ['ended', (socket) => socket.end('the end')],
    ['destroyed', (socket) => socket.destroy()],
    ['throws', () => { throw new Error('no message') }],
  ]
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    const [what, change] = changes.shift()
    post(what, socket, () => change(socket))
    socket.on('data', (data) => socket.writable && socket.end(data)).resume()
    socket.on('close', () => ended('server', socket.bytesRead))
  })
  const talk = () => {
    let text = ''
    const socket = net.connect(server.address().port, '127.0.0.1', () => socket.write('there and back'))
    socket.on('data', (data) => (text += data)).on('end', () => socket.end()).on('error', () => {})
    socket.on('close', () => ended('client', text))
  }
  const ends = []
  const ended = (...end) => {
    if (ends.push(end.join(' ')) % 2 === 1) return
    say(ends.splice(0).sort().join(', '))
    if (changes.length > 0) return talk()
    say(carried(20))
    post('server', server, () => server.close(() => say('closed')))
    if (server.listening) server.close()
    port1.close()
  }
  server.listen(0, '127.0.0.1', talk)`

describe.each(nodes)('%s', (node) => {
  test.each(drivers)(
    '%s: what a message changes in what it moves, Node refuses',
    async (driver) => {
      const oracle = await run('plain', program(changed), { node })
      expect({ ...oracle, stdout: '' }).toEqual({ stdout: '', stderr: '', code: 0, signal: null })
      expect(await run(driver, program(changed), { node })).toEqual(oracle)
    },
  )

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
