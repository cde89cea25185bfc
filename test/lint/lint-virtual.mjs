/*
 * Lints files that do not exist, with the project's own configuration: reads [{ filePath, code }]
 * as JSON from stdin, writes the messages of each as JSON. A process of its own because ESLint
 * loads its configuration with import(), which Jest's realm does not have. Owns no expectations.
 */
import { text } from 'node:stream/consumers'
import { ESLint } from 'eslint'

const eslint = new ESLint({
  overrideConfig: {
    // Rules that need types cannot run on a file the compiler has never seen.
    files: ['src/**/*.ts'],
    languageOptions: { parserOptions: { projectService: false } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/no-misused-promises': 'off',
    },
  },
})

const found = []
for (const { filePath, code } of JSON.parse(await text(process.stdin))) {
  const [result] = await eslint.lintText(code, { filePath })
  found.push(result.messages.map(({ ruleId, message }) => `${ruleId}: ${message}`))
}
process.stdout.write(JSON.stringify(found))
