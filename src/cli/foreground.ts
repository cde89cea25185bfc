/** Whether this process is in the foreground of a terminal, where the keyboard's signals reach its children too. */
import { readFileSync } from 'node:fs'
import { isatty } from 'node:tty'

export function isInForeground(): boolean {
  try {
    return isForegroundStat(readFileSync('/proc/self/stat', 'utf8'))
  } catch {
    return isatty(0)
  }
}

/** By /proc/PID/stat (proc(5)): the foreground group of its terminal (tpgid) is its own (pgrp). */
export function isForegroundStat(stat: string): boolean {
  // The name in parentheses may hold anything.
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return terminal !== '0' && group === foreground
}
