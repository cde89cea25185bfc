/*
 * What Jest's report says: `node outcome.mjs report.json` prints "PASSED FAILED", and a line for each
 * failure. A file that does not load counts as one failed test.
 */
import { readFileSync } from 'node:fs'

const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites, testResults } = JSON.parse(
  readFileSync(process.argv[2], 'utf8'),
)
console.log(numPassedTests, numFailedTests + numRuntimeErrorTestSuites)

/** In one line, without the colours of a terminal. */
function brief(text) {
  const plain = text.replace(/\u001b\[\d*m/g, '')
  return plain.replace(/\s+/g, ' ').trim().slice(0, 400)
}

for (const { name, message, assertionResults } of testResults) {
  const failed = assertionResults.filter(({ status }) => status === 'failed')
  if (failed.length === 0 && message !== '') console.log(`${name}: ${brief(message)}`)
  for (const { fullName, failureMessages } of failed) {
    console.log(`${fullName}: ${brief(failureMessages.join(' '))}`)
  }
}
