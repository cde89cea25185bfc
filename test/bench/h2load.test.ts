/** What is read from the output of h2load. */
import { parseH2load } from '../../bench/h2load'

const OUTPUT = `starting benchmark...
spawning thread #0: 4 total client(s). Timing-based test with 0s of warm-up time and 1s of main duration for measurements.
Application protocol: h2c
Stopped all clients for thread #0

finished in 1.00s, 21020.50 req/s, 657.80KB/s
requests: 21021 total, 21060 started, 21021 done, 21021 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 21050 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 657.80KB (673586) total, 41.29KB (42284) headers (space savings 95.33%), 61.67KB (63150) data
                     min         max         mean         sd        +/- sd
time for request:      670us     32.18ms      1.88ms      1.64ms    92.82%
`

test('requests and rate are read', () => {
  expect(parseH2load(OUTPUT)).toEqual({ requests: 21_021, requestsPerSecond: 21_020.5 })
})

test.each([
  ['0 failed', '3 failed'],
  ['0 errored', '1 errored'],
  ['0 timeout', '2 timeout'],
  ['0 4xx', '5 4xx'],
  ['0 5xx', '1 5xx'],
])('%s becomes %s: the run is invalid', (from, to) => {
  expect(() => parseH2load(OUTPUT.replace(from, to))).toThrow(to)
})

test('a missing line is named', () => {
  expect(() => parseH2load('could not connect')).toThrow("no 'finished in' in its output")
})
