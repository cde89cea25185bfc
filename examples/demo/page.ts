/** Finds and reads page.html, which the compiler does not copy next to the compiled file. Owns no state but the text. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

let page: Buffer | undefined

/** The page, read once. */
export function readPage(): Buffer {
  page ??= readFileSync(findPage())
  return page
}

function findPage(): string {
  const beside = join(__dirname, 'page.html')
  // Compiled, this file lies in dist/examples/demo and the page three levels up in examples/demo.
  const fromDist = join(__dirname, '..', '..', '..', 'examples', 'demo', 'page.html')
  return existsSync(beside) ? beside : fromDist
}
