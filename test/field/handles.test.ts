/**
 * A socket's `_handle` is Node's own, with all that it has on each version of Node: the same members, and the same answers of
 * each method. One that is kept after its close names nobody.
 */
import { removeApps } from '../register/program'
import { scenes } from './play'

afterAll(removeApps)

/** Resolves to the handles of a connection, and of its server. */
const connection = `
const connection = async (place) => {
  const server = net.createServer()
  const accepting = once(server, 'connection')
  const client = net.connect(await listen(server, place))
  const [[accepted]] = await Promise.all([accepting, once(client, 'connect')])
  client.resume()
  accepted.resume()
  await new Promise((resolve) => accepted.write('x', resolve))
  await once(client, 'data')
  const end = () => { client.destroy(); accepted.destroy(); server.close() }
  return { server, client, accepted, end, handles: { server: server._handle, client: client._handle, accepted: accepted._handle } }
}
`

const onEach = (act: string): string => `${connection}
${act}
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) {
    const { handles, end } = await connection(place)
    for (const [role, handle] of Object.entries(handles)) results[place + ' ' + role] = act(handle)
    end()
  }
  done(results)
}
main()`

const members = onEach(`
const act = (handle) => {
  const found = {}
  for (let at = handle; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) {
      const value = handle[name]
      const isFunction = typeof value === 'function'
      const { enumerable } = Object.getOwnPropertyDescriptor(at, name)
      found[name] ??= [isFunction ? 'function' : 'value', isFunction && value.length, enumerable].join(' ')
    }
  }
  const named = []
  for (const name in handle) named.push(name)
  return { found, named: named.sort(), type: handle.constructor.name, text: String(handle) }
}`)

/** Every method of the prototypes: how it is called, or why not here. */
const answers = onEach(`
const elsewhere = ['constructor', 'open', 'bind', 'bind6', 'listen', 'connect', 'connect6', 'close', 'reset', 'readStart', 'readStop', 'shutdown', 'useUserBuffer', 'asyncReset', 'writev', 'writeBuffer', 'writeAsciiString', 'writeUtf8String', 'writeUcs2String', 'writeLatin1String', 'onread', 'onconnection']
const name = {}
const calls = [
  ['getAsyncId'], ['getProviderType'], ['hasRef'], ['unref'], ['hasRef'], ['ref'], ['hasRef'],
  ['setBlocking', true], ['setBlocking', false],
  ['getsockname', name], ['getpeername', name],
  ['setNoDelay', true], ['setNoDelay', false], ['setKeepAlive', true, 5], ['setKeepAlive', false, 0],
  ['setSimultaneousAccepts', true], ['setPendingInstances', 4], ['fchmod', 0],
  ['getTypeOfService'], ['setTypeOfService', 0x10], ['getTypeOfService'], ['setTypeOfService', 0], ['getTypeOfService'],
]
const act = (handle) => {
  const functions = new Set()
  for (let at = Object.getPrototypeOf(handle); at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) if (typeof handle[name] === 'function') functions.add(name)
  }
  const unknown = [...functions].filter((name) => !elsewhere.includes(name) && !calls.some(([called]) => called === name))
  const answers = calls.filter(([name]) => functions.has(name)).map(([name, ...values]) => {
    const answer = handle[name](...values)
    const isId = name === 'getAsyncId'
    return [name, isId ? answer > 0 : answer, ...values.map((value) => typeof value === 'object' ? value.family ?? 'none' : value)]
  })
  return { unknown, answers }
}`)

/** setTypeOfService is of Node 24.16 and later. */
const typeOfService = `${connection}
const main = async () => {
  const { client, accepted } = await connection('TCP')
  const early = new net.Socket()
  const results = []
  for (const socket of [client, accepted, early]) {
    for (const value of [0x10, 0x20, 0, 256, 'x']) {
      try { results.push([socket.setTypeOfService?.(value) === socket, socket.getTypeOfService?.()]) } catch (error) { results.push(error.code) }
    }
  }
  const option = net.connect({ port: accepted.localPort, host: '127.0.0.1', typeOfService: 0x10 })
  await once(option, 'connect')
  results.push(option.getTypeOfService?.())
  done(results)
}
main()`

/** Data written by a method of the handle comes behind what the socket wrote before. */
const direct = `
const { WriteWrap } = process.binding('stream_wrap')
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) {
    const accepted = []
    const server = net.createServer((socket) => accepted.push(socket))
    const target = await listen(server, place)
    const clients = Array.from({ length: 12 }, () => net.connect(target))
    while (accepted.length < 12) await turn()
    for (const socket of accepted) {
      socket.on('data', () => {
        socket.write('a')
        socket.write('b')
        const request = new WriteWrap()
        request.handle = socket._handle
        socket._handle.writeUtf8String(request, 'c')
        setImmediate(() => socket.end('d'))
      })
    }
    const got = clients.map((client) => new Promise((resolve) => { let text = ''; client.on('data', (data) => { text += data }); client.on('end', () => resolve(text)) }))
    for (const client of clients) client.write('q')
    results[place] = await Promise.all(got)
    server.close()
  }
  done(results)
}
main()`

/** More connections than an engine has generations of a slot. */
const kept = `${connection}
const main = async () => {
  const results = {}
  for (const place of ['TCP', 'Unix']) {
    const first = await connection(place)
    const handles = [first.handles.client, first.handles.accepted]
    const gone = [once(first.client, 'close'), once(first.accepted, 'close')]
    first.client.destroy()
    first.accepted.destroy()
    await Promise.all(gone)
    await turn()
    const ask = () => handles.map((handle) => [handle.fd, handle.getpeername?.({}), handle.getsockname?.({}), handle.setNoDelay?.(true), handle.setKeepAlive?.(true, 5), handle.readStart(), handle.readStop(), handle.bytesRead, handle.bytesWritten, handle.hasRef(), handle.isStreamBase, handle.writeQueueSize, handle.ref(), handle.unref(), handle.close()].map(String))
    const answers = [ask()]
    const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket))
    const target = await listen(server, place)
    let open = 0, echoed = 0
    for (let round = 0; round < 44; round++) {
      await Promise.all(Array.from({ length: 50 }, () => new Promise((resolve) => {
        const socket = net.connect(target, () => { open++; socket.write('x') })
        socket.on('data', () => { echoed++; if (round % 11 === 0) ask(); socket.destroy() })
        socket.on('close', resolve)
      })))
      if (round % 11 === 0) answers.push(ask())
    }
    first.server.close()
    server.close()
    results[place] = { answers, open, echoed }
  }
  done(results)
}
main()`

scenes({
  'it has the members that it has on node:net': { source: members },
  'each of its methods answers as on node:net': { source: answers },
  'setTypeOfService sets it, and getTypeOfService tells': { source: typeOfService },
  'what is written by a method of the handle comes in its turn': { source: direct },
  'kept after its close, it names nobody, however many come after': { source: kept },
})
