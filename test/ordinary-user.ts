/**
 * Who runs a program that must not be the superuser. RLIMIT_MEMLOCK counts all that a user has locked, and the kernel gives a
 * ring's memory back some time after its end: so each program has a user of its own.
 */

const [first, count] = [2000, 60_000]
let calls = 0

/** For spawn(); nothing where the tests are run by an ordinary user. The program cannot enter this user's directories. */
export function ordinaryUser(): { uid: number; gid: number; cwd: string } | Record<string, never> {
  if (process.getuid?.() !== 0) return {}
  // Another number in another test file, which another process runs.
  const uid = first + ((process.pid * 101 + calls++) % count)
  return { uid, gid: uid, cwd: '/' }
}
