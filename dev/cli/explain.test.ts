import { expect, test } from 'vitest'
import { explain } from './explain.ts'

const fault = (code: string, path?: string) =>
  Object.assign(new Error(`${code}: something, mkdir '/x'`), {
    code,
    ...(path === undefined ? {} : { path }),
  })

test.each([
  ['ENOSPC', 'free at least 1 GB'],
  ['EACCES', '/x/.local is closed to this user: change its owner'],
  ['EPERM', '/x/.local is closed to this user: change its owner'],
  ['EROFS', '/x/.local is on a read-only file system: copy the repository'],
])('%s says what to do', (code, sentence) => {
  expect(explain(fault(code, '/x/.local'))).toContain(sentence)
})

test('any other fault keeps its message, ours their place', () => {
  expect(explain(fault('EACCES'))).toBe("EACCES: something, mkdir '/x'")
  expect(explain(new TypeError('x is not a function'))).toContain('explain.test.ts')
  expect(explain('no')).toBe('no')
})
