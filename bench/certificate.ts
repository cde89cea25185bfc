/**
 * The certificate of the TLS servers: made anew for each run by openssl, in a folder of its own that goes when the
 * process ends. Clients do not check it.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Makes `key.pem` and `cert.pem`; returns their folder. */
export function makeCertificate(): string {
  const folder = mkdtempSync(join(tmpdir(), 'uring-net-bench-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')]
  const args = ['req', '-x509', ...curve, ...files, '-days', '2', '-subj', '/CN=localhost']
  try {
    execFileSync('openssl', args, { encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new Error(`openssl cannot make a certificate: ${stderr || message}`)
  }
  return folder
}
