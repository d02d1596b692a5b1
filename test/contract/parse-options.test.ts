import { expect, it } from 'vitest'
import { parseOptions, UsageError } from './parse-options.ts'

const ENV = {
  API_URL: 'https://api.example.com/',
  SUPABASE_URL: 'https://p.supabase.co',
  SUPABASE_ANON_KEY: 'k',
}

it('takes options before the environment', () => {
  expect(parseOptions(['--url', 'https://other.example.com', '--sign-up', '--no-runs'], ENV)).toMatchObject({
    url: 'https://other.example.com',
    supabaseUrl: 'https://p.supabase.co',
    anonKey: 'k',
    users: null,
    runs: false,
  })
  expect(
    parseOptions(['--token', 'a', '--other-email', 'b@example.com', '--other-password', 'c'], ENV),
  ).toMatchObject({
    url: 'https://api.example.com',
    users: [
      { kind: 'token', token: 'a' },
      { kind: 'password', email: 'b@example.com', password: 'c' },
    ],
  })
  expect(parseOptions(['--help'], {})).toBeNull()
})

it.each([
  [[], {}, /--url is missing/],
  [['--url', 'api.example.com'], ENV, /is not an origin/],
  [['--url', 'https://api.example.com/agent'], ENV, /is not an origin/],
  [[], ENV, /The first user is missing: give --email/],
  [['--token', 'a'], ENV, /The second user.*--other-email/],
  [['--sign-up', '--origin', 'x'], ENV, /--origin x is not an origin/],
  [['--sign-in'], ENV, /Unknown option '--sign-in'/],
])('says what to give: %j', (argv, env, message) => {
  expect(() => parseOptions(argv, env)).toThrow(UsageError)
  expect(() => parseOptions(argv, env)).toThrow(message)
})
