/** Protocols of Node's own, unmodified, on the judged end: the hardest users that a stream has. */
import type { Check } from '../check'
import { http1Checks } from './protocols-http1'
import { http2Checks } from './protocols-http2'
import { proxyChecks } from './protocols-proxy'
import { tlsChecks } from './protocols-tls'

export const protocolsChecks: readonly Check[] = [
  http1Checks,
  http2Checks,
  tlsChecks,
  proxyChecks,
].flat()
