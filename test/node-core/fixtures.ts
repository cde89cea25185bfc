/** Made-up records that several tests start from. */
import type { Circumstances } from './records'

export const circumstances: Circumstances = {
  node: '24.12.0',
  suite: '24.12.0',
  fingerprint: '0123456789ab',
  kernel: '6.1',
  namespaces: true,
  helpers: 'openssl-cli h2load',
  root: true,
  date: '2026-01-02',
}
