/*
 * Before `npm publish`, and not before `npm pack`: the package has to say where it is kept and where
 * to report what is wrong with it. A fork has an address of its own, so none is written here.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { main, root, SetupError } from './lib/process.mjs'

await main(() => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const missing = ['repository', 'bugs', 'homepage'].filter((field) => !manifest[field])
  if (missing.length > 0) {
    throw new SetupError(`package.json has no ${missing.join(', ')}: set them before you publish`)
  }
})
