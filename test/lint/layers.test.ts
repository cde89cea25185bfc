/*
 * Proves that the lint rules bite: one virtual bad file for each forbidden arrow must be refused by
 * the project's configuration, and the allowed neighbour of each must pass. Never lints real files.
 */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

interface Case {
  title: string
  filePath: string
  code: string
  /** What the only message must say; none for a file that must pass. */
  refused?: RegExp
}

const arrow = (from: string, to: string) =>
  new RegExp(`^uring/layers: ${from} may not import ${to} `)

const cases: Case[] = [
  {
    title: 'core may not import an adapter',
    filePath: 'src/core/bad.ts',
    code: "import { toDuplex } from '../adapters/duplex'\ntoDuplex()\n",
    refused: arrow('core', 'adapters'),
  },
  {
    title: 'core may not import a type from an adapter',
    filePath: 'src/core/ops/bad.ts',
    code: "import type { Socket } from '../../adapters/net-socket'\nexport type S = Socket\n",
    refused: arrow('core', 'adapters'),
  },
  {
    title: 'core may not load an adapter at run time',
    filePath: 'src/core/bad.ts',
    code: "export const load = () => import('../adapters/duplex')\n",
    refused: arrow('core', 'adapters'),
  },
  {
    title: 'core may not re-export an entry point',
    filePath: 'src/core/bad.ts',
    code: "export * from '../index'\n",
    refused: arrow('core', 'entry'),
  },
  {
    title: 'core may not import node:stream',
    filePath: 'src/core/bad.ts',
    code: "import { Duplex } from 'node:stream'\nexport const d = new Duplex()\n",
    refused: /^uring\/layers: core may not import node:stream/,
  },
  {
    title: 'core may not import node:events, not even a type',
    filePath: 'src/core/bad.ts',
    code: "import type { EventEmitter } from 'node:events'\nexport type E = EventEmitter\n",
    refused: /^uring\/layers: core may not import node:events/,
  },
  {
    title: 'an adapter may not import the binding',
    filePath: 'src/adapters/bad.ts',
    code: "import { binding } from '../core/binding'\nbinding()\n",
    refused: arrow('adapters', 'binding'),
  },
  {
    title: 'an adapter may not import an entry point',
    filePath: 'src/adapters/bad.ts',
    code: "import { driver } from '../index'\ndriver()\n",
    refused: arrow('adapters', 'entry'),
  },
  {
    title: 'only the binding may reach into native/',
    filePath: 'src/index.ts',
    code: "export const addon = require('../native/build/Release/uring_net.node') as unknown\n",
    refused: /uring\/layers: entry may not import native/,
  },
  ...['test', 'bench', 'examples'].map((directory) => ({
    title: `src may not import ${directory}/`,
    filePath: 'src/index.ts',
    code: `import { x } from '../${directory}/x'\nx()\n`,
    refused: arrow('entry', `${directory}/x`),
  })),
  {
    title: 'src may not import the package by its own name',
    filePath: 'src/adapters/bad.ts',
    code: "import { connect } from 'uring-net/core'\nconnect()\n",
    refused: /^uring\/layers: src may not import the package by its own name/,
  },
  {
    title: 'built-in modules carry the node: prefix',
    filePath: 'test/e2e/bad.ts',
    code: "import { connect } from 'net'\nconnect(1)\n",
    refused: /^uring\/layers: write 'node:net'/,
  },
  {
    title: 'no default export',
    filePath: 'src/core/bad.ts',
    code: 'export default 1\n',
    refused: /^no-restricted-syntax: Export by name/,
  },
  {
    title: 'no any',
    filePath: 'src/core/bad.ts',
    code: 'export const x = (y: any): unknown => y\n',
    refused: /^@typescript-eslint\/no-explicit-any/,
  },
  {
    title: 'types are imported as types',
    filePath: 'src/adapters/bad.ts',
    code: "import { Socket } from 'node:net'\nexport type S = Socket\n",
    refused: /^@typescript-eslint\/consistent-type-imports/,
  },
  {
    title: 'core may import core, and node:util',
    filePath: 'src/core/good.ts',
    code: "import { inspect } from 'node:util'\nimport { binding } from './binding'\nbinding(inspect)\n",
  },
  {
    title: 'an adapter may import core and node:stream',
    filePath: 'src/adapters/good.ts',
    code: "import { Duplex } from 'node:stream'\nimport { connect } from '../core/index'\nconnect(Duplex)\n",
  },
  {
    title: 'an entry point may import adapters and core',
    filePath: 'src/good.ts',
    code: "export { Socket } from './adapters/net-socket'\nexport { connect } from './core/index'\n",
  },
  {
    title: 'a test may import everything',
    filePath: 'test/core/good.ts',
    code: "import { binding } from '../../src/core/binding'\nimport { Socket } from '../../src/index'\nbinding(Socket)\n",
  },
]

describe('lint', () => {
  let messages: string[][]

  beforeAll(() => {
    const output = execFileSync(process.execPath, [join(__dirname, 'lint-virtual.mjs')], {
      cwd: join(__dirname, '../..'),
      input: JSON.stringify(cases.map(({ filePath, code }) => ({ filePath, code }))),
      encoding: 'utf8',
    })
    messages = JSON.parse(output) as string[][]
  }, 60_000)

  test.each(cases.map((each, index) => ({ ...each, index })))('$title', ({ index, refused }) => {
    if (refused === undefined) expect(messages[index]).toEqual([])
    else expect(messages[index]?.join('\n')).toMatch(refused)
  })
})
