/*
 * The ESLint rule behind "arrows point one way": native <- core <- adapters <- entry points. Owns
 * the table of who may import whom; resolves relative specifiers itself, type imports included.
 */
import { builtinModules } from 'node:module'
import { dirname, relative, resolve } from 'node:path'

/** First match wins; paths are relative to the repository, without extension. */
const layers = [
  ['native', /^native\//],
  ['binding', /^src\/core\/binding$/],
  ['core', /^src\/core(\/|$)/],
  ['adapters', /^src\/adapters(\/|$)/],
  ['errors', /^src\/errors$/],
  ['entry', /^src(\/|$)/],
  ['outside', /^/],
]

const mayImport = {
  errors: [],
  binding: ['native', 'core', 'errors'],
  core: ['binding', 'core', 'errors'],
  adapters: ['core', 'adapters', 'errors'],
  entry: ['binding', 'core', 'adapters', 'entry', 'errors'],
}

const coreRefuses = /^(node:)?(stream|events)(\/|$)/
const bareBuiltins = new Set(builtinModules)

export const layersRule = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      arrow:
        '{{from}} may not import {{to}} ({{source}}): native <- core <- adapters <- entry points',
      streams: 'core may not import {{source}}: it has neither streams nor emitters',
      self: 'src may not import the package by its own name ({{source}})',
      bare: "write 'node:{{source}}'",
    },
  },
  create(context) {
    const file = relative(context.cwd, context.filename)
    const from = layerOf(withoutExtension(file))

    function check(node) {
      if (node?.type !== 'Literal' || typeof node.value !== 'string') return
      const source = node.value
      const report = (messageId, data = {}) =>
        context.report({ node, messageId, data: { source, from, ...data } })

      if (bareBuiltins.has(source)) report('bare')
      const allowed = mayImport[from]
      if (!allowed) return
      if ((from === 'core' || from === 'binding') && coreRefuses.test(source)) report('streams')
      if (/^uring-net(\/|$)/.test(source)) report('self')
      if (!source.startsWith('.')) return
      const target = relative(context.cwd, resolve(dirname(context.filename), source))
      const to = layerOf(withoutExtension(target))
      if (!allowed.includes(to)) report('arrow', { to: to === 'outside' ? target : to })
    }

    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSExternalModuleReference: (node) => check(node.expression),
      TSImportType: (node) => check(node.source ?? node.argument?.literal),
      'CallExpression[callee.name="require"]': (node) => check(node.arguments[0]),
    }
  },
}

function layerOf(path) {
  return layers.find(([, matches]) => matches.test(path))[0]
}

function withoutExtension(path) {
  return path.replace(/\.(d\.)?[cm]?[jt]s$/, '')
}
