/**
 * What is on the wire when many sockets write in one turn, in every way there is to write and to stop: each client gets
 * its bytes once, in order, unchanged, and ends as it does on node:net.
 */
import { removeApps } from '../register/program'
import { gotBy, scenarios, times } from './rig'
import type { Played, Scenario } from './rig'

afterAll(removeApps)

const both: Scenario['ways'] = ['register', 'library']

/** Calls `ask(socket, nth, data)` for each request. The process ends when all sockets are closed. */
const server = `
let nth = 0, open = 0
const count = Number(process.env.TEST_CLIENTS)
const sockets = []
const answering = (ask) => {
  const server = serve(net.createServer((socket) => {
    sockets.push(socket)
    socket.once('data', (data) => ask(socket, ++nth, data))
    socket.on('close', () => { if (++open === count) server.close() })
  }))
  return server
}
`

/** Whether each client got what the program said that it has to get, and its end. */
function gotTheLine({ lines, clients }: Played): boolean {
  return clients.every(({ bytes, end }) => `${bytes} ${end}` === `${lines[0]} end`)
}

/** One and the same for everybody, in bytes of which none is like the next. */
const large = `const large = Buffer.alloc(3 << 20); for (let at = 0; at < large.length; at += 4) large.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at)`

scenarios({
  'write() then destroy(): the bytes, then the end': {
    source: `${server} answering((socket) => { socket.write('an'); socket.write('swer'); socket.destroy() })`,
    clients: 12,
    got: times(12, 'answer end'),
    ways: both,
  },
  'write() then destroy() with an error: the bytes, then the end': {
    source: `${server} answering((socket) => { socket.write('answer'); socket.destroy(new Error('mine')) })`,
    clients: 12,
    got: times(12, 'answer end'),
    ways: both,
  },
  // A reset that comes right behind bytes is an end of stream to some clients on node:net, and a reset to others.
  'resetAndDestroy(), half of them after a write(): the bytes, and the reset': {
    source: `${server} answering((socket, nth) => { if (nth % 2 === 0) socket.write('answer'); socket.resetAndDestroy() })`,
    clients: 12,
    compared: ({ clients }) => clients.map(({ bytes, end }) => bytes || end).sort(),
    expected: [...times(6, 'ECONNRESET'), ...times(6, 'answer')],
    ways: both,
  },
  'write() then end(), end(text), and destroySoon()': {
    source: `${server}
      const ends = [(socket) => socket.end(), (socket) => socket.end(' and end'), (socket) => socket.destroySoon()]
      answering((socket, nth) => { socket.write('answer'); ends[nth % 3](socket) })`,
    clients: 12,
    got: [...times(8, 'answer end'), ...times(4, 'answer and end end')],
    ways: both,
  },
  'some of a batch are destroyed by the handler of another, after they were written to': {
    source: `${server}
      const handled = []
      answering((socket, nth) => {
        handled.push(socket)
        for (const other of sockets) if (!other.destroyed) other.write('by ' + nth + ' ')
        if (nth === 3) for (const other of [...handled, sockets.find((other) => !handled.includes(other))]) other.destroy()
        if (nth === 7) for (const other of sockets) other.end()
      })`,
    clients: 8,
    // The one whose request was not read is reset, which may come in place of its end.
    compared: ({ exit, clients }) => [exit, ...clients.map(({ bytes }) => bytes).sort()],
    expected: [
      '0',
      ...times(4, 'by 1 by 2 by 3 '),
      ...times(4, 'by 1 by 2 by 3 by 4 by 5 by 6 by 7 '),
    ],
    ways: both,
  },
  'writes to others of the batch, and to oneself, are in the order of the program': {
    source: `${server} answering((socket, nth) => {
      for (const other of sockets) other.write(nth + ' ')
      socket.write('own ')
      if (nth === count) for (const other of sockets) other.end('end')
    })`,
    clients: 6,
    got: [1, 2, 3, 4, 5, 6].map(
      (own) =>
        `${[1, 2, 3, 4, 5, 6].map((n) => (n === own ? `${n} own ` : `${n} `)).join('')}end end`,
    ),
    compared: gotBy,
    ways: both,
  },
  'a small write, a large one, and a small one': {
    source: `${server} ${large}
      say(large.length + 10, 'bytes', hash(Buffer.concat([Buffer.from('first'), large, Buffer.from(' last')])))
      answering((socket) => { socket.write('first'); socket.write(large); socket.end(' last') })`,
    clients: 8,
    compared: gotTheLine,
    expected: true,
    ways: both,
  },
  'small and large writes with ticks, immediates and callbacks between them': {
    source: `${server} ${large}
      const part = large.subarray(0, 200000)
      say(part.length * 2 + 20, 'bytes', hash(Buffer.concat([Buffer.from('one  '), part, Buffer.from('two  '), part, Buffer.from('threefour '),])))
      answering((socket) => {
        socket.write('one  ')
        process.nextTick(() => socket.write(part, () => {
          socket.write('two  ')
          setImmediate(() => { socket.write(part); socket.write('three'); queueMicrotask(() => socket.end('four ')) })
        }))
      })`,
    clients: 8,
    compared: gotTheLine,
    expected: true,
    ways: both,
  },
  'cork(), uncork() and writes that are not corked': {
    source: `${server} answering((socket) => {
      socket.write('a'); socket.cork(); socket.write('b'); socket.write(Buffer.from('c')); socket.write('ff64', 'hex'); socket.uncork(); socket.write('e')
      socket.cork(); socket.cork(); socket.write('f'); socket.uncork(); socket.write('g'); socket.uncork(); socket.end('h')
    })`,
    clients: 8,
    got: times(8, 'abcÿdefgh end'),
    ways: both,
  },
  'text in every encoding, Buffers and Uint8Arrays': {
    source: `${server}
      let seed = 7
      const random = (below) => { seed = Math.imul(seed ^ (seed >>> 15), 2246822519) + 1 | 0; return (seed >>> 0) % below }
      const encodings = ['utf8', 'UTF-8', 'latin1', 'binary', 'ascii', 'ucs2', 'utf16le', 'UTF-16LE', 'base64', 'base64url', undefined, null]
      const text = (length) => { const kind = random(4); let all = ''; for (let n = 0; n < length; n++) all += kind === 0 ? String.fromCharCode(97 + random(26)) : kind === 1 ? String.fromCharCode(random(256)) : kind === 2 ? String.fromCharCode(random(65536)) : '€é\\ud83d\\ude00'[random(4)]; return all }
      const hexes = () => Buffer.from(text(40)).toString('hex')
      answering((socket) => {
        const expected = []
        for (let n = 0; n < 40; n++) {
          const isCorked = random(4) === 0
          if (isCorked) socket.cork()
          for (let part = random(3); part >= 0; part--) {
            const kind = random(6), data = text(random(8) ? random(300) : random(9000))
            const bytes = Buffer.from(data)
            if (kind === 0) { socket.write(bytes); expected.push(Buffer.from(bytes)) }
            else if (kind === 1) { const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length); socket.write(view); expected.push(Buffer.from(bytes)) }
            else if (kind === 2) { const hex = hexes(); socket.write(hex, 'hex'); expected.push(Buffer.from(hex, 'hex')) }
            else { const encoding = encodings[random(encodings.length)]; socket.write(data, encoding); expected.push(Buffer.from(data, encoding || 'utf8')) }
          }
          if (isCorked) socket.uncork()
        }
        socket.end()
        const all = Buffer.concat(expected)
        say(all.length, 'bytes', hash(all), 'end')
      })`,
    clients: 16,
    compared: (played) => gotBy(played).join() === [...played.lines].sort().join(),
    expected: true,
    ways: both,
  },
  'a buffer that is used again as soon as write() has returned': {
    source: `${server}
      const buffer = Buffer.alloc(6), view = new Uint8Array(6)
      answering((socket) => {
        buffer.write('answer'); socket.write(buffer); buffer.fill(0)
        view.set(Buffer.from(' again')); socket.write(view); view.fill(0)
        socket.end()
      })`,
    clients: 8,
    got: times(8, 'answer again end'),
    ways: both,
  },
  'requests that were pipelined are each answered, in order': {
    source: `${server}
      const server = serve(net.createServer((socket) => {
        let text = ''
        socket.on('data', (data) => { text += data; for (let at; (at = text.indexOf(';')) >= 0; text = text.slice(at + 1)) { socket.write(text.slice(0, at) + '!'); if (text.startsWith('last')) socket.end() } })
        socket.on('close', () => { if (++nth === count) server.close() })
      }))`,
    request: 'one;two;three;last;',
    clients: 8,
    got: times(8, 'one!two!three!last! end'),
    ways: both,
  },
  'http requests that were pipelined are each answered, in order': {
    source: `
      const server = serve(attach(require('http').createServer((request, response) => {
        response.sendDate = false
        if (request.url === '/3') response.setHeader('connection', 'close')
        if (request.url === '/2') setImmediate(() => response.end('later')); else response.end('answer ' + request.url)
      })))
      let closed = 0
      server.on('connection', (socket) => socket.on('close', () => { if (++closed === 8) server.close() }))`,
    request: ['/1', '/2', '/3'].map((url) => `GET ${url} HTTP/1.1\r\nhost: a\r\n\r\n`).join(''),
    clients: 8,
    ways: both,
  },
  'bytes that the program writes to the descriptor itself come after those of write()': {
    source: `${server} answering((socket) => { socket.write('first '); fs.writeSync(socket._handle.fd, 'second '); socket.write('third'); socket.end() })`,
    clients: 6,
    got: times(6, 'first second third end'),
  },
  'single bytes that are piped for as long as the peer reads leave timers their turn': {
    source: `
      const { Readable, pipeline } = require('stream')
      let turns = 0, ended = false
      const timer = setInterval(() => turns++, 10)
      const server = serve(attach(require('http').createServer((request, response) => {
        const end = performance.now() + 30000
        const bytes = new Readable({ read() { ended ||= turns >= 5 || performance.now() > end; this.push(ended ? null : 'a') } })
        pipeline(bytes, response, () => { say(turns >= 5 ? 'turns' : 'starved'); clearInterval(timer); request.socket.end(); server.close() })
      })))`,
    protocol: 'http',
    clients: 1,
    lines: ['turns'],
    compared: ({ lines }) => lines,
    ways: both,
  },
  'many small writes in one handler, far more than are gathered at once': {
    source: `${server}
      const expected = Array.from({ length: 5000 }, (_, n) => n + ';').join('')
      say(expected.length, 'bytes', hash(expected))
      answering((socket) => { for (let n = 0; n < 5000; n++) socket.write(n + ';'); socket.end() })`,
    clients: 4,
    compared: gotTheLine,
    expected: true,
    ways: both,
  },
  'many small writes in one handler, to a client that reads nothing until the kernel is full': {
    source: `${server}
      const text = 'x'.repeat(999) + ';'
      const expected = text.repeat(20000)
      say(expected.length, 'bytes', hash(expected))
      answering((socket, nth) => { for (let n = 0; n < 20000; n++) socket.write(text); socket.end(); if (nth === count) tell('read') })`,
    clients: 4,
    paused: 2,
    compared: gotTheLine,
    expected: true,
    ways: both,
  },
})

// --- broadcasts ----------------------------------------------------------------------------------------------------

const blocked = 8
const broadcast = (sockets: number): string => `${server}
  const filler = Buffer.alloc(6 << 20, 'f')
  const expected = Array.from({ length: 20 }, (_, n) => 'news ' + n + ';'.repeat(60)).join('')
  const full = Buffer.concat([filler, Buffer.from(expected)])
  let ticks = 0
  const kept = new Set()
  const verdicts = new Set()
  answering((socket, nth, data) => {
    if (String(data) !== 'q') return
    if (nth < ${sockets}) return
    // Those that read nothing are the first that connected.
    const slow = sockets.slice(0, ${blocked})
    for (const socket of slow) socket.write(filler)
    for (const socket of sockets.slice(${blocked}, ${blocked} + 40)) { socket.write('gone'); socket.destroy() }
    const timer = setInterval(() => {
      for (const socket of sockets) {
        if (socket.destroyed) continue
        const answer = socket.write('news ' + ticks + ';'.repeat(60))
        const isSlow = slow.includes(socket)
        verdicts.add([isSlow ? 'slow' : 'fast', answer, isSlow ? socket.writableLength > 0 : socket.writableLength].join(' '))
      }
      if (ticks === 10) for (const socket of sockets.slice(${blocked} + 40, ${blocked} + 80)) socket.destroy()
      if (++ticks < 20) return
      clearInterval(timer)
      for (const socket of sockets) socket.end()
      for (const verdict of [...verdicts].sort()) say(verdict)
      say(full.length, 'bytes', hash(full), '/', expected.length, 'bytes', hash(expected), '/', hash(expected.slice(0, expected.indexOf('news 11'))))
      tell('read')
    }, 5)
  })`

scenarios({
  'news for 1,000 sockets from a timer, where some read nothing and some are destroyed': {
    source: broadcast(1000),
    clients: 1000,
    paused: blocked,
    compared: ({ lines, exit, clients }) => {
      const kinds = new Map<string, number>()
      for (const { bytes, end } of clients) {
        const kind = `${bytes} ${end}`
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
      }
      return { lines, exit, kinds: [...kinds].sort() }
    },
    ways: both,
  },
})
