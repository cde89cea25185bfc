/**
 * What a program is told about its small writes while many sockets write in one turn: as on node:net, which hands each to
 * the kernel at once. The kernel has room, but where a test says otherwise.
 */
import { removeApps } from '../register/program'
import { scenarios, times } from './rig'

afterAll(removeApps)

/** Calls `ask(socket, nth)` for each request, and `last()` a few turns after the last one. */
const server = `
let nth = 0
const soon = (turns, action) => turns === 0 ? action() : setImmediate(() => soon(turns - 1, action))
const answering = (ask, last = () => process.exit()) => serve(net.createServer((socket) => {
  socket.once('data', () => {
    ask(socket, ++nth)
    if (nth === Number(process.env.TEST_CLIENTS)) soon(8, last)
  })
}))
`

scenarios({
  'requests that came together are handled in one turn of the loop': {
    source: `${server}
      let turns = 0, first
      const server = answering((socket) => { first ??= setImmediate(() => turns++); socket.end('turn ' + turns) }, () => { say('turns', turns); server.close() })`,
    clients: 16,
    lines: ['turns 1'],
    got: times(16, 'turn 0 end'),
    ways: ['register', 'library'],
  },

  'requests that came together are handled in the order in which they came': {
    source: `${server} const server = answering((socket, nth) => socket.end(String(nth)), () => server.close())`,
    clients: 16,
    // As the clients connected, which is how they ask.
    compared: ({ clients }) => clients.map(({ bytes }) => Number(bytes)),
    expected: Array.from({ length: 16 }, (_, n) => n + 1),
    ways: ['register', 'library'],
  },

  'a server that cuts off clients whose write() answers false cuts off none that reads': {
    source: `${server}
      let cut = 0
      answering((socket) => {
        for (let n = 0; n < 30 && !socket.destroyed; n++) if (!socket.write('x'.repeat(1000))) { cut++; socket.destroy() }
        if (!socket.destroyed) socket.end()
      }, () => { say('cut off', cut); process.exit() })`,
    clients: 12,
    lines: ['cut off 0'],
    ways: ['register', 'library'],
  },

  'write() answers true, and nothing is waiting after each': {
    source: `${server}
      const state = (socket, answer) => [answer, socket.writableLength, socket.writableNeedDrain, socket.bytesWritten, socket.bufferSize, socket._handle.writeQueueSize].join()
      const all = new Set()
      answering((socket) => {
        const log = []
        for (const text of ['one', Buffer.from('two'), new Uint8Array([51]), 'x'.repeat(3000)]) log.push(state(socket, socket.write(text)))
        socket.write('a'); socket.write('b'); log.push(state(socket, socket.write('c')))
        all.add(log.join(' '))
        socket.end()
      }, () => { for (const log of all) say(log); process.exit() })`,
    clients: 12,
    lines: [
      'true,0,false,3,0,0 true,0,false,6,0,0 true,0,false,7,0,0 true,0,false,3007,0,0 true,0,false,3010,0,0',
    ],
    ways: ['register', 'library'],
  },

  'send only if nothing is waiting: every message of a burst is sent': {
    source: `${server}
      let skipped = 0
      answering((socket) => { for (let n = 0; n < 10; n++) if (socket.writableLength === 0) socket.write(n + ' '); else skipped++; socket.end() },
        () => { say('skipped', skipped); process.exit() })`,
    clients: 12,
    lines: ['skipped 0'],
    got: times(12, '0 1 2 3 4 5 6 7 8 9  end'),
    ways: ['register', 'library'],
  },

  'ws: send only if bufferedAmount is 0: every message of a burst is sent': {
    source: `
      const server = serve(attach(require('http').createServer()))
      let skipped = 0, asked = 0
      new (require(ws).WebSocketServer)({ server }).on('connection', (socket) => socket.on('message', () => {
        for (let n = 0; n < 10; n++) if (socket.bufferedAmount === 0) socket.send(n + ' '); else skipped++
        socket.close()
        if (++asked === 12) { say('skipped', skipped); server.close() }
      }))`,
    protocol: 'ws',
    clients: 12,
    lines: ['skipped 0'],
    got: times(12, '0 1 2 3 4 5 6 7 8 9  end'),
    ways: ['register', 'library'],
  },

  'http: write() and writableLength of a response': {
    source: `
      const all = new Set()
      let asked = 0
      const server = serve(attach(require('http').createServer((request, response) => {
        response.sendDate = false
        const log = []
        for (let n = 0; n < 4; n++) log.push(response.write('part ' + n), response.writableLength, response.socket.writableLength, response.writableNeedDrain)
        response.on('drain', () => log.push('drain'))
        response.end()
        request.socket.end()
        all.add(log.join())
        if (++asked === 12) setImmediate(() => { for (const log of all) say(log); server.close() })
      })))`,
    protocol: 'http',
    clients: 12,
    ways: ['register', 'library'],
  },

  'TLS: write() and writableLength': {
    source: `
      const all = new Set()
      let asked = 0
      const server = serve(attach(require('tls').createServer(pair, (socket) => socket.once('data', () => {
        const log = []
        const state = (answer) => log.push(answer, socket.writableLength, socket.writableNeedDrain, socket.bytesWritten)
        for (let n = 0; n < 3; n++) state(socket.write('part ' + n, () => log.push('callback ' + n)))
        process.nextTick(() => log.push('tick')); Promise.resolve().then(() => log.push('microtask')); setImmediate(() => log.push('immediate'))
        socket.end(() => { log.push('finish'); all.add(log.join()); if (++asked === 12) { for (const log of all) say(log); server.close() } })
      }))))`,
    protocol: 'tls',
    clients: 12,
    got: times(12, 'part 0part 1part 2 end'),
    ways: ['register', 'library'],
  },

  'callbacks, ticks, microtasks and immediates of a batch come in the order of node:net': {
    source: `${server}
      const log = []
      answering((socket, nth) => {
        const note = (text) => log.push(nth + text)
        process.nextTick(note, ' tick before')
        Promise.resolve().then(() => note(' microtask before'))
        setImmediate(note, ' immediate')
        socket.write('one', () => { note(' one'); process.nextTick(note, ' tick of one'); queueMicrotask(() => note(' microtask of one')) })
        queueMicrotask(() => note(' microtask between'))
        note(' ' + socket.write('two', 'latin1', () => note(' two')))
        socket.write(Buffer.from('three'), () => { note(' three'); socket.write('five', () => note(' five')) })
        process.nextTick(() => { note(' tick after'); socket.write('four', () => { note(' four'); socket.end(() => note(' finish')) }) })
        socket.on('drain', () => note(' drain'))
      }, () => { for (const line of log) say(line); process.exit() })`,
    clients: 5,
    ways: ['register', 'library'],
  },

  'a write above the high water mark: the same answer, and drain in the same place': {
    source: `${server}
      const all = new Set()
      answering((socket) => {
        const log = []
        const state = (answer) => log.push(answer, socket.writableLength, socket.writableNeedDrain)
        socket.on('drain', () => log.push('drain'))
        state(socket.write('small', () => log.push('small')))
        state(socket.write(Buffer.alloc(40000), () => log.push('large')))
        state(socket.write('small', () => log.push('small again')))
        process.nextTick(() => log.push('tick')); setImmediate(() => log.push('immediate'))
        soon(4, () => { all.add(log.join()); socket.end() })
      }, () => { for (const log of all) say(log); process.exit() })`,
    clients: 8,
    ways: ['register', 'library'],
  },

  'cork() and uncork(): the callbacks, and what is waiting': {
    source: `${server}
      const all = new Set()
      answering((socket) => {
        const log = []
        const state = (answer) => log.push(answer, socket.writableLength, socket.bytesWritten)
        socket.cork(); state(socket.write('corked ', () => log.push('first'))); state(socket.write(Buffer.from('twice '), () => log.push('second')))
        socket.uncork(); state(socket.write('uncorked', () => log.push('third')))
        setImmediate(() => { all.add(log.join()); socket.end() })
      }, () => { for (const log of all) say(log); process.exit() })`,
    clients: 8,
    got: times(8, 'corked twice uncorked end'),
    ways: ['register', 'library'],
  },

  'a write callback that throws does not keep end() from ending': {
    source: `${server}
      let caught = 0
      process.on('uncaughtException', () => caught++)
      const server = answering((socket) => { socket.write('answer', () => { throw new Error('callback') }); socket.end() }, () => { say('caught', caught); server.close() })`,
    clients: 10,
    lines: ['caught 10'],
    got: times(10, 'answer end'),
    ways: ['register', 'library'],
  },

  'Unix: a write callback that throws does not keep end() from ending': {
    source: `${server}
      let caught = 0
      process.on('uncaughtException', () => caught++)
      const server = answering((socket) => { socket.write('answer', () => { throw new Error('callback') }); socket.end() }, () => { say('caught', caught); server.close() })`,
    protocol: 'unix',
    clients: 10,
    lines: ['caught 10'],
    got: times(10, 'answer end'),
  },

  'where the peer reads nothing, small writes fill the kernel, then answer false, and drain once': {
    source: `${server}
      const answers = new Set()
      let sent = 0
      const server = answering((socket) => {
        // The kernel may take more when its own timers run; a full queue of the stream is what tells.
        let count = 0
        while (socket.write('x'.repeat(1000)) && ++count < 100000);
        const isFull = socket.writableLength >= socket.writableHighWaterMark && socket.writableNeedDrain
        const isExact = socket.bytesWritten === (count + 1) * 1000
        answers.add(['full', isFull, 'exact', isExact].join(' '))
        socket.once('drain', () => { socket.end(); if (++sent === 4) say('drained') })
      }, () => { for (const answer of answers) say(answer); tell('read'); server.close() })`,
    clients: 4,
    paused: 4,
    lines: ['full true exact true', 'drained'],
    compared: ({ lines, clients }) => ({ lines, ends: clients.map(({ end }) => end) }),
    ways: ['register', 'library'],
  },
})
