/*
 * Decides whether a step has to run again: a hash over the content of its inputs, kept next to its
 * output, so that deleting the output also forgets the stamp. Never looks at modification times,
 * which a clone or a copy changes.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './process.mjs'

/** Hash of files (relative to the repository) and of further values the output depends on. */
export function hashOf(files, ...values) {
  const hash = createHash('sha256').update(JSON.stringify(values))
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(root, file)))
  return hash.digest('hex')
}

export function isStamped(stamp, hash) {
  try {
    return readFileSync(join(root, stamp), 'utf8') === hash
  } catch {
    return false
  }
}

export function writeStamp(stamp, hash) {
  const path = join(root, stamp)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, hash)
}

/** Files below the directories (relative to the repository) whose name matches, sorted. */
export function filesBelow(directories, matches) {
  const found = []
  const visit = (directory) => {
    for (const entry of entriesOf(directory)) {
      const path = `${directory}/${entry.name}`
      if (entry.isDirectory()) visit(path)
      else if (matches.test(path)) found.push(path)
    }
  }
  directories.forEach(visit)
  return found.sort()
}

/** Files directly in one directory (relative to the repository) whose name matches, sorted. */
export function filesIn(directory, matches) {
  return entriesOf(directory)
    .filter((entry) => entry.isFile() && matches.test(entry.name))
    .map((entry) => `${directory}/${entry.name}`)
    .sort()
}

function entriesOf(directory) {
  try {
    return readdirSync(join(root, directory), { withFileTypes: true })
  } catch (error) {
    if (error.code === 'ENOENT') return []
    throw error
  }
}
