/** What is read from the output of wrk. */
import { parseWrk } from '../../bench/wrk'

const OUTPUT = `Running 3s test @ http://127.0.0.1:40000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.60ms  310.20us   9.55ms   95.10%
    Req/Sec    40.10k     1.20k   42.31k    80.00%
  Latency Distribution
     50%  980.00us
     75%    1.58ms
     90%    1.71ms
     99%    2.94ms
  119703 requests in 3.01s, 19.86MB read
Requests/sec:  39768.44
Transfer/sec:      6.60MB
`

test('requests, rate and quantiles are read, quantiles in microseconds', () => {
  expect(parseWrk(OUTPUT)).toEqual({
    requests: 119_703,
    requestsPerSecond: 39_768.44,
    p50Us: 980,
    p99Us: 2940,
  })
})

test('seconds are understood too', () => {
  expect(parseWrk(OUTPUT.replace('2.94ms', '1.20s')).p99Us).toBe(1_200_000)
})

test('socket errors and bad statuses make the run invalid', () => {
  const errors = '  Socket errors: connect 0, read 3, write 0, timeout 0\n'
  expect(() => parseWrk(OUTPUT + errors)).toThrow('Socket errors: connect 0, read 3')
  expect(() => parseWrk(`${OUTPUT}  Non-2xx or 3xx responses: 7\n`)).toThrow('responses: 7')
})

test('a missing line is named', () => {
  expect(() => parseWrk('unable to connect')).toThrow("no 'requests' in its output")
})
