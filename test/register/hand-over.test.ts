/**
 * Sockets and servers that go to another process: none of their bytes is lost, none comes twice, and both processes see
 * what they see under plain Node. Each scenario is a program that forks itself; its clients hash what they got.
 */
import { nodes, program, removeApps, run, scenarios } from './program'
import type { Scenario } from './program'
import { drivers } from '../e2e/subjects'

afterAll(removeApps)

/** The program as parent and as child. `connect` gives all that a client gets, and whether it ended in order. */
function family(parent: string, child: string): string {
  return `
const net = require('net')
const { fork, spawn } = require('child_process')
const isChild = process.argv[2] === 'child'
const bytes = Buffer.alloc(1 << 20, (() => { const some = Buffer.alloc(65537); for (let i = 0; i < some.length; i++) some[i] = (i * 7) ^ (i >> 8); return some })())
const all = (socket, then) => {
  const chunks = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('end', () => then(Buffer.concat(chunks)))
}
const client = (where, sent, then) => {
  const socket = net.connect(where)
  socket.on('error', (error) => say('client', error.code))
  all(socket, then)
  if (sent !== undefined) socket.end(sent)
  return socket
}
const listen = (server, then) => server.listen(0, '127.0.0.1', () => then({ port: server.address().port, host: '127.0.0.1' }))
if (isChild) { ${child} } else { ${parent} }
`
}

const hashing = `
process.on('message', (message, socket) => {
  all(socket, (data) => socket.end('child ' + message + ' ' + hash(data)))
  socket.resume()
})
process.on('disconnect', () => {})`

const handed: Record<string, Scenario> = {}

function add(title: string, parent: string, child: string, lines: string[]): void {
  handed[title] = { source: family(parent, child), lines }
}

// --- what a client sends and gets ---------------------------------------------------------------------------------

const sameHash = `
const check = (data, prefix) => say(String(data).replace(hash(bytes), 'whole'))
`

add(
  'a socket that was accepted paused: the child reads all of it',
  `${sameHash}
  const child = fork(__filename, ['child'])
  const server = net.createServer({ pauseOnConnect: true }, (socket) => child.send('paused', socket))
  listen(server, (where) => client(where, bytes, (data) => { check(data); server.close(); child.disconnect() }))`,
  hashing,
  ['child paused whole'],
)

add(
  'a socket of which the parent has read the first line: the child reads the rest',
  `${sameHash}
  const child = fork(__filename, ['child'])
  const server = net.createServer((socket) => {
    socket.once('data', (line) => {
      socket.pause()
      say('parent read', String(line))
      child.send('rest', socket, () => say('sent'))
    })
  })
  child.on('message', () => socket.end(bytes))
  let socket
  listen(server, (where) => {
    socket = client(where, undefined, (data) => { check(data); server.close(); child.disconnect() })
    socket.write('first line')
  })`,
  `${hashing}; process.on('message', () => process.send('got'))`,
  ['parent read first line', 'sent', 'child rest whole'],
)

add(
  'a socket to which the parent wrote in the same tick: the peer gets both texts, in order',
  `
  const child = fork(__filename, ['child'])
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    socket.write('from the parent, ')
    socket.write('and again, ')
    child.send('written', socket)
  })
  listen(server, (where) => client(where, 'x', (data) => { say(data); server.close(); child.disconnect() }))`,
  `process.on('message', (message, socket) => { socket.end('from the child'); socket.resume() })`,
  ['from the parent, and again, from the child'],
)

add(
  'keepOpen: parent and child write to the same connection',
  `
  const child = fork(__filename, ['child'])
  let socket
  const server = net.createServer({ pauseOnConnect: true }, (accepted) => {
    socket = accepted
    child.send('kept', socket, { keepOpen: true })
  })
  child.on('message', () => { socket.end('parent'); socket.resume() })
  listen(server, (where) => client(where, undefined, (data) => { say(data); server.close(); child.disconnect() }).on('end', function () { this.end() }))`,
  `process.on('message', (message, socket) => socket.write('child, then ', () => { process.send('written'); socket.destroy() }))`,
  ['child, then parent'],
)

add(
  'a server: both processes accept, and the child goes on when the parent has closed',
  `
  const child = fork(__filename, ['child'])
  const server = net.createServer((socket) => socket.end('parent'))
  listen(server, (where) => child.send('server', server, () => {}) && child.once('message', () => {
    const seen = new Set()
    const isOpen = () => !seen.has('parent') || !seen.has('child')
    // Several at a time: whoever sleeps in the kernel first is woken.
    const round = () => {
      let open = 8
      for (let i = 0; i < 8; i++) client(where, '', (data) => {
        seen.add(String(data))
        if (--open === 0) isOpen() ? round() : closed()
      })
    }
    const closed = () => server.close(() => {
      say('parent has closed')
      const answers = []
      const next = () => client(where, '', (data) => {
        if (answers.push(String(data)) < 5) next()
        else { say(answers.join()); child.send('close'); child.disconnect() }
      })
      next()
    })
    round()
  }))`,
  `
  let server
  process.on('message', (message, sent) => {
    if (message === 'close') return server.close()
    server = sent
    server.on('connection', (socket) => socket.end('child'))
    process.send('ready')
  })`,
  ['parent has closed', 'child,child,child,child,child'],
)

add(
  'raw handles of a server and of a socket',
  `
  const child = fork(__filename, ['child'])
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    child.send('socket', socket._handle, () => socket.destroy())
  })
  listen(server, (where) => client(where, 'x', (data) => {
    say(data)
    child.send('server', server._handle, () => server.close())
    child.once('message', () => client(where, 'x', (data) => { say(data); child.send('close'); child.disconnect() }))
  }))`,
  `
  let server
  process.on('message', (message, handle) => {
    if (message === 'close') return server.close()
    if (message === 'socket') {
      const socket = new net.Socket({ handle, readable: true, writable: true })
      socket.resume()
      return socket.end('a socket of a handle')
    }
    server = net.createServer((socket) => socket.resume().end('a server of a handle')).listen(handle, () => process.send('listening'))
  })`,
  ['a socket of a handle', 'a server of a handle'],
)

add(
  'process.send: a child gives the parent what it accepted',
  `
  const child = fork(__filename, ['child'])
  child.on('message', (message, socket) => {
    if (socket) return all(socket, (data) => socket.end('parent ' + hash(data))) ?? socket.resume()
    client(message, bytes, (data) => {
      say(String(data).replace(hash(bytes), 'whole'))
      child.send('close')
    })
  })`,
  `
  const server = net.createServer({ pauseOnConnect: true }, (socket) => process.send('socket', socket))
  listen(server, (where) => process.send(where))
  process.once('message', () => { say('child carried', carried(0)); server.close(); process.disconnect() })`,
  ['parent whole', 'child carried true'],
)

add(
  'handles and messages in a row arrive in the order they were sent in',
  `
  const child = fork(__filename, ['child'])
  const sockets = []
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    if (sockets.push(socket) < 3) return
    child.send('a', sockets[0])
    child.send('b', sockets[1])
    child.send('plain')
    child.send('c', sockets[2])
    child.send('end')
  })
  child.on('message', (order) => say(order))
  let open = 3
  listen(server, (where) => {
    for (let i = 0; i < 3; i++) client(where, bytes, (data) => {
      say('whole', String(data).includes(hash(bytes)))
      if (--open === 0) { server.close(); child.disconnect() }
    })
  })`,
  `
  const order = []
  process.on('message', (message, socket) => {
    order.push(message + (socket ? '+' : ''))
    if (message === 'end') process.send(order.join(), () => go.forEach((socket) => socket.resume()))
    if (socket) { all(socket, (data) => socket.end(hash(data))); socket.pause(); go.push(socket) }
  })
  const go = []`,
  ['a+,b+,plain,c+,end', 'whole true', 'whole true', 'whole true'],
)

add(
  'the socket of an http request: the child answers it',
  `
  const http = require('http')
  const child = fork(__filename, ['child'])
  const server = http.createServer((request) => child.send(request.url, request.socket))
  server.listen(0, '127.0.0.1', () => {
    http.get({ port: server.address().port, path: '/asked', agent: false }, (response) => {
      all(response, (data) => { say(response.statusCode, data); child.disconnect() })
    })
    // Node's own http server cannot be closed while it knows of a socket that was sent.
    child.on('exit', () => process.exit())
  })`,
  `process.on('message', (url, socket) => { socket.end('HTTP/1.1 203 X\\r\\nConnection: close\\r\\n\\r\\nchild ' + url); socket.resume() })`,
  ['203 child /asked'],
)

add(
  'the socket of an http upgrade: head in the message, the rest at the child',
  `
  const child = fork(__filename, ['child'])
  const server = require('http').createServer().on('upgrade', (request, socket, head) => {
    socket.pause()
    child.send(String(head), socket)
  })
  child.on('message', () => socket.end('rest'))
  let socket
  server.listen(0, '127.0.0.1', () => {
    socket = client({ port: server.address().port, host: '127.0.0.1' }, undefined, (data) => { say(data); server.close(); child.disconnect() })
    socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade\\r\\nUpgrade: x\\r\\n\\r\\nhead ')
  })`,
  `process.on('message', (head, socket) => { all(socket, (data) => socket.end(head + data)); process.send('got') })`,
  ['head rest'],
)

add(
  'Unix sockets',
  `${sameHash}
  const path = require('path').join(__dirname, 'socket')
  const child = fork(__filename, ['child'])
  const server = net.createServer({ pauseOnConnect: true }, (socket) => child.send('unix', socket))
  server.listen(path, () => client({ path }, bytes, (data) => { check(data); server.close(); child.disconnect() }))`,
  hashing,
  ['child unix whole'],
)

add(
  'a client’s socket, given away after it was connected',
  `
  const child = fork(__filename, ['child'])
  const server = net.createServer((socket) => { socket.write('question '); all(socket, (data) => { say(data); server.close(); child.disconnect() }) })
  listen(server, (where) => { const socket = net.connect({ ...where, onread: undefined }).pause(); socket.on('connect', () => child.send('client', socket)) })`,
  `process.on('message', (message, socket) => { socket.on('end', () => {}); socket.once('data', (data) => socket.end('answer to ' + data)) })`,
  ['answer to question '],
)

const stdio = (file: string, args: string, text: string, sent: string): string => `
  const results = {}
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    const spawned = spawn(${file}, ${args}, { stdio: [socket, socket, 'inherit'] })
    spawned.on('exit', (code) => { results.code = code; socket.destroy() })
  })
  server.on('close', () => say(results.text, results.code))
  listen(server, (where) => client(where, ${sent}, (data) => { results.text = ${text}; server.close() })${
    sent === 'undefined' ? ".on('end', function () { this.end() }).write('a line\\n')" : ''
  })`

add(
  'stdio of a spawned process: it reads from the socket and writes to it',
  stdio(`'sh'`, `['-c', 'read line; echo "shell got $line"']`, 'String(data).trim()', 'undefined'),
  '',
  ['shell got a line 0'],
)

add(
  'stdio of a spawned Node process: it gets all that comes',
  stdio(
    'process.execPath',
    `[__filename, 'child']`,
    "String(data).replace(hash(bytes), 'whole')",
    'bytes',
  ),
  `all(process.stdin, (data) => process.stdout.end(hash(data)))`,
  ['whole 0'],
)

add(
  'a socket sent to a process that is gone: an error, and the socket is still there',
  `
  const child = fork(__filename, ['child'])
  child.on('exit', () => {
    const server = net.createServer({ pauseOnConnect: true }, (socket) => {
      child.on('error', (error) => { say(error.code); socket.end('still here'); socket.resume() })
      child.send('late', socket)
    })
    listen(server, (where) => client(where, 'x', (data) => { say(data); server.close() }))
  })`,
  'process.disconnect()',
  ['ERR_IPC_CHANNEL_CLOSED', 'still here'],
)

add(
  'what the kernel had not taken when the socket was sent is lost, and its writer told, as much as under plain Node',
  `
  const child = fork(__filename, ['child'])
  const pieces = 8
  let failed = 0
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    for (let i = 0; i < pieces; i++) socket.write(bytes, (error) => { if (error) failed++ })
    say('unsent', socket.writableLength > 0)
    socket.on('error', (error) => say(error.code))
    child.send('queued', socket)
  })
  listen(server, (where) => {
    // Until the child has its socket nobody reads.
    const reader = net.connect(where).pause()
    child.on('message', () => {
      all(reader, (data) => {
        const sent = data.subarray(0, -5)
        const isStart = sent.equals(Buffer.concat(Array(pieces).fill(bytes)).subarray(0, sent.length))
        say(sent.length < pieces * bytes.length, isStart, data.subarray(-5), 'failed', failed > 0)
        server.close(); child.disconnect(); reader.end()
      })
      reader.resume()
    })
  })`,
  `process.on('message', (message, socket) => { socket.end('child').resume(); process.send('got') })`,
  ['unsent true', 'ECANCELED', 'true true child failed true'],
)

scenarios(handed)

describe.each(nodes)('%s', (node) => {
  test.each(drivers)(
    '%s: a child that was there before the library was loaded gets its socket',
    async (driver) => {
      const source = `
      const { fork } = require('child_process')
      if (process.argv[2] === 'child') {
        process.on('message', (message, socket) => { socket.end('from the child'); socket.resume() })
      } else {
        const child = fork(__filename, ['child'])
        child.on('spawn', () => {
          const net = require(library)
          const server = net.createServer({ pauseOnConnect: true }, (socket) => {
            say(net.driver.name, socket instanceof net.Socket)
            child.send('socket', socket)
          })
          server.listen(0, '127.0.0.1', () => {
            const client = net.connect(server.address().port, '127.0.0.1')
            client.on('data', (data) => say(data))
            client.on('end', () => { server.close(); child.disconnect(); client.end() })
          })
        })
      }`
      const env = { URING_NET_DRIVER: driver }
      const { stdout, stderr } = await run('plain', program(source), { node, env })
      expect({ stdout, stderr }).toEqual({ stdout: `${driver} true\nfrom the child\n`, stderr: '' })
    },
  )
})

test('known bad: a parent that goes on reading takes bytes from the child, and the scenarios notice', async () => {
  const { source, lines } = handed['a socket that was accepted paused: the child reads all of it']!
  const broken = source
    .replace(
      '{ pauseOnConnect: true }, (socket) =>',
      '(socket) => { socket.resume(); setTimeout(() =>',
    )
    .replace("child.send('paused', socket))", "child.send('paused', socket), 50) })")
  const { stdout } = await run('plain', program(broken))
  expect(stdout).not.toBe(lines.map((line) => `${line}\n`).join(''))
})
