'use strict'

/*
 * Runs rows in one mode, one after the other, and prints each result as a line of JSON when it is there, so that a crash
 * costs one row. `node child.js <mode> [titles as JSON]`, or `--list` for the titles. Knows nothing of what is right.
 */
const { once } = require('node:events')
const { readdirSync, writeSync } = require('node:fs')
const { join } = require('node:path')

const rowDeadlineMs = Number(process.env.TEST_ROW_DEADLINE_MS)
const directory = join(__dirname, 'rows')

function loadThemes() {
  const files = readdirSync(directory).filter((file) => file.endsWith('.js'))
  return files.sort().map((file) => require(join(directory, file)))
}

function print(value) {
  writeSync(1, `${JSON.stringify(value)}\n`)
}

async function runRow(title, action, world) {
  const { Row, shape } = require('./row')
  const row = new Row(world, rowDeadlineMs)
  const began = performance.now()
  const onUncaught = (error) => row.uncaught.push(shape(error))
  const onWarning = ({ name, code, message }) => row.warnings.push({ name, code, message })
  process.on('uncaughtException', onUncaught)
  process.on('warning', onWarning)
  let timer
  const deadline = new Promise((resolve) => {
    timer = setTimeout(() => resolve({ deadline: row.logs }), rowDeadlineMs)
  })
  const outcome = await Promise.race([
    action(row).then(
      (result) => ({ result }),
      (error) => ({ failed: shape(error), stack: error.stack }),
    ),
    deadline,
  ])
  clearTimeout(timer)
  const { uncaught, warnings } = row
  if (uncaught.length > 0) outcome.uncaught = uncaught
  if (warnings.length > 0) outcome.warnings = warnings
  const result = row.normalise(outcome)
  await row.cleanUp()
  process.off('uncaughtException', onUncaught)
  process.off('warning', onWarning)
  print({ title, milliseconds: Math.round(performance.now() - began), ...result })
}

/** Whether the driver carries a socket of this mode's. */
async function isCarried({ mode, net, library }) {
  if (mode !== 'library' && mode !== 'register') return false
  const server = net.createServer((socket) => socket.end('carried')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = net.connect(server.address().port, '127.0.0.1').resume()
  await once(socket, 'close')
  server.close()
  return require(library).driver.stats().opened > 0
}

async function main([mode, wanted]) {
  const themes = loadThemes()
  if (mode === '--list') {
    print(themes.map(({ theme, rows }) => ({ theme, titles: Object.keys(rows) })))
    return
  }
  const { createWorld } = require('./worlds')
  const { Row } = require('./row')
  const world = createWorld(mode)
  Row.startPeer()
  print({ isCarried: await isCarried(world) })
  const titles = wanted === undefined ? undefined : new Set(JSON.parse(wanted))
  for (const { rows } of themes) {
    for (const [title, action] of Object.entries(rows)) {
      if (titles === undefined || titles.has(title)) await runRow(title, action, world)
    }
  }
  print({ done: true })
  process.exit()
}

main(process.argv.slice(2))
