/**
 * How a reset in the middle of an upload is told, and that what the peer said before it is read first: as on node:net.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'
import type { Played } from './play'

afterAll(removeApps)

/** Reads the beginning of an upload, and closes with the rest unread: the kernel resets. */
const refusing = String.raw`(place) => {
  const server = require('net').createServer((socket) => {
    let bytes = 0
    socket.on('error', () => {}).on('data', (data) => {
      bytes += data.length
      if (bytes <= 100000 || socket.isPaused()) return
      socket.pause()
      // What the sender fills meanwhile stays unread.
      setTimeout(() => socket.destroy(), 10)
    })
  }).listen(place, () => tell(server.address()))
}`

const tries = 6

/**
 * The reset comes at any moment, also between two calls of one write: what plain Node tells each time, ours tells most times,
 * and that the connection was reset all but once. The smallest pieces race with it all the time: there it is most times.
 */
function toldAlike({ result }: Played, { result: plain }: Played): void {
  const [ours, theirs] = [result, plain] as Record<string, Record<string, number>>[]
  const sum = (seen: Record<string, number>, word: string): number =>
    Object.entries(seen)
      .filter(([key]) => key.includes(word))
      .reduce((total, [, count]) => total + count, 0)
  for (const [title, seen] of Object.entries(theirs!)) {
    const mine = ours![title]!
    const isRacing = title.includes('small pieces')
    if (isRacing && title.includes('Unix')) continue
    expect([title, sum(mine, '')]).toEqual([title, tries])
    const least = isRacing ? tries / 2 : sum(seen, 'ECONNRESET') - 1
    expect([title, sum(mine, 'ECONNRESET') >= least]).toEqual([title, true])
    if (sum(seen, 'read') < tries || title.includes('pieces')) continue
    expect([title, sum(mine, 'read') > tries / 2]).toEqual([title, true])
  }
}

const uploads = `
const asTarget = (address) => typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' }
const uploads = {
  'an upload from a socket that reads': (target, tally, resolve) => {
    const socket = net.connect(target, () => socket.write(Buffer.alloc(8e6)))
    socket.on('error', tally).on('close', resolve).resume()
  },
  'an upload in pieces from a socket that reads': (target, tally, resolve) => {
    let left = 600
    const socket = net.connect(target)
    const more = () => { while (left-- > 0 && socket.write(Buffer.alloc(30000))); }
    socket.on('connect', more).on('drain', more).on('error', tally).on('close', resolve).resume()
  },
  'an upload in small pieces from a socket that reads': (target, tally, resolve) => {
    const socket = net.connect(target)
    const more = () => { while (!socket.destroyed && socket.write(Buffer.alloc(500))); }
    socket.on('connect', more).on('drain', more).on('error', tally).on('close', resolve).resume()
  },
  'an upload by http': (target, tally, resolve) => {
    const http = require('node:http')
    const options = attach === net.attach ? { createConnection: () => net.connect(target) } : target.path ? { socketPath: target.path, agent: false } : { ...target, agent: false }
    const request = http.request({ ...options, method: 'POST' })
    request.on('error', tally).on('close', resolve)
    request.end(Buffer.alloc(8e6))
  },
}
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) {
    const other = peer(${refusing}, places[place]())
    const target = asTarget(await other.next())
    for (const [title, upload] of Object.entries(uploads)) {
      const seen = results[place + ': ' + title] = {}
      const tally = (error) => { const key = told(error); seen[key] = (seen[key] ?? 0) + 1 }
      for (let i = 0; i < ${tries}; i++) await new Promise((resolve) => upload(target, tally, resolve))
    }
    other.end()
  }
  done(results)
}
main()`

/**
 * Waits until an upload fills the connection, stops the program, says something, and closes: what was unread makes it a reset.
 * So the program meets both at once.
 */
const lastWords = String.raw`(place, pid, pair) => {
  const fs = require('fs')
  const state = () => /\) (.)/.exec(fs.readFileSync('/proc/' + pid + '/stat', 'utf8'))[1]
  // It sleeps when it can write no more. Looked at some times in a row: it also sleeps for a moment now and then.
  const whenAsleep = (then, times = 20) => {
    if (times === 0) then()
    else setTimeout(whenAsleep, 1, then, state() === 'S' ? times - 1 : 20)
  }
  const stop = () => {
    process.kill(pid, 'SIGSTOP')
    for (const end = Date.now() + 30000; state() !== 'T'; ) if (Date.now() > end) throw new Error('it does not stop: ' + state())
  }
  const serve = (socket, raw) => {
    socket.on('error', () => {})
    raw.on('error', () => {})
    socket.once('data', () => {
      raw.pause()
      socket.pause()
      whenAsleep(() => {
        stop()
        let waitsFor = 'its last words to be written'
        const late = setTimeout(() => console.error('the peer waits for ' + waitsFor), 30000)
        socket.write('last words', () => {
          waitsFor = 'its end to be closed'
          raw.destroy()
          raw.on('close', () => {
            clearTimeout(late)
            process.kill(pid, 'SIGCONT')
          })
        })
      })
    })
  }
  const net = require('net'), tls = require('tls')
  const server = net.createServer((raw) => {
    raw.setNoDelay?.(true)
    if (!pair) return serve(raw, raw)
    const socket = new tls.TLSSocket(raw, { isServer: true, ...pair })
    socket.on('error', () => {})
    serve(socket, raw)
  }).listen(place, () => tell(server.address()))
}`

const spoken = `
const tls = require('node:tls')
const asTarget = (address) => typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' }
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) for (const isSecure of [false, true]) {
    const other = peer(${lastWords}, places[place](), process.pid, isSecure ? pair : null)
    const target = asTarget(await other.next())
    const logs = results[place + (isSecure ? ' below TLS' : '')] = []
    for (let i = 0; i < ${tries}; i++) {
      const raw = net.connect(target)
      const socket = isSecure ? tls.connect({ socket: raw, ca: pair.cert, servername: 'localhost' }) : raw
      const log = events(socket, ['data', 'end', 'error', 'close'])
      socket.on(isSecure ? 'secureConnect' : 'connect', () => socket.write(Buffer.alloc(8e6)))
      await closed(socket)
      logs.push(log.join(', '))
    }
    other.end()
  }
  done(results)
}
main()`

scenes({
  'a reset in the middle of an upload is told as on node:net': {
    source: uploads,
    holds: toldAlike,
    isNotCarried: true,
  },
  'a peer’s last words before the reset are read': { source: spoken, isNotCarried: true },
})
