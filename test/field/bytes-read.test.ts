/**
 * `bytesRead` at any moment is what the program was given until then, as on node:net: in callbacks of `onread`, also when one
 * refuses, in handlers of 'data', and of a socket that is paused.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

const source = `
const clients = {
  'in callbacks of onread': (target, got) => net.connect({ ...target, onread: { buffer: Buffer.alloc(10000), callback(bytes) { got(bytes); return true } } }),
  'in callbacks of onread that stop, and go on': (target, got) => {
    const socket = net.connect({ ...target, onread: { buffer: Buffer.alloc(10000), callback(bytes) { got(bytes); setImmediate(() => socket.resume()); return false } } })
    return socket
  },
  'in handlers of data': (target, got) => net.connect(target).on('data', (data) => got(data.length)),
  'in handlers of data of a socket that pauses each time': (target, got) => {
    const socket = net.connect(target)
    return socket.on('data', (data) => { got(data.length); socket.pause(); setImmediate(() => socket.resume()) })
  },
}
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) {
    const server = net.createServer((socket) => socket.on('error', () => {}).end(Buffer.alloc(40000)))
    const target = await listen(server, place)
    for (const [title, connect] of Object.entries(clients)) {
      let sum = 0, wrong = 0, calls = 0
      const socket = connect(target, (bytes) => { sum += bytes; calls++; if (socket.bytesRead !== sum) wrong++ })
      await once(socket, 'close')
      results[place + ' ' + title] = [wrong, calls > 0, socket.bytesRead]
    }
    server.close()
  }
  done(results)
}
main()`

scenes({
  'bytesRead is what was given until then': {
    source,
    holds({ result }, plain) {
      expect(result).toEqual(plain.result)
      for (const value of Object.values(result as object)) expect(value).toEqual([0, true, 40_000])
    },
  },
})
