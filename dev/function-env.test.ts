import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'
import { formatEnv, functionEnv, userSettings } from './function-env.ts'

const stack = {
  SUPABASE_URL: 'http://localhost:1',
  ANTHROPIC_API_KEY: 'scripted',
  AGENT_SECRET: 's',
  TRUSTED_ISSUERS: '[]',
}

test('a function gets its own settings of the stack, and of the user what the stack leaves open', () => {
  const user = {
    SUPABASE_URL: 'https://mine.supabase.co',
    AWS_SECRET_ACCESS_KEY: 'x',
    LOG_LEVEL: 'debug',
    RUN_MAX_STEPS: '9',
    PORT: '1',
    HOME: '/',
    HTTPS_PROXY: 'p',
  }
  expect(functionEnv('execute', stack, user)).toEqual({
    SUPABASE_URL: 'http://localhost:1',
    TRUSTED_ISSUERS: '[]',
    LOG_LEVEL: 'debug',
    RUN_MAX_STEPS: '9',
  })
  expect(functionEnv('step', stack, user)).toEqual({
    SUPABASE_URL: 'http://localhost:1',
    ANTHROPIC_API_KEY: 'scripted',
    AGENT_SECRET: 's',
    LOG_LEVEL: 'debug',
    HTTPS_PROXY: 'p',
  })
})

test('.env gives settings that the environment does not', () => {
  const dir = mkdtempSync(join(tmpdir(), 'env-'))
  writeFileSync(join(dir, '.env'), 'LOG_LEVEL=warn\nAGENT_MODEL="m"\n')
  expect(userSettings(join(dir, '.env'), { LOG_LEVEL: 'debug' })).toEqual({
    LOG_LEVEL: 'debug',
    AGENT_MODEL: 'm',
  })
  expect(userSettings(join(dir, 'none'), { A: 'b' })).toEqual({ A: 'b' })
  rmSync(dir, { recursive: true })
})

test('what is written is read alike by dotenv and by a shell', () => {
  const values = {
    URL: 'http://localhost:8000/a?b=c&d',
    SPACED: 'a b $HOME `id` "q" \\',
    PLAIN: 'x',
    KEY: 'eyJ.a-b_c',
  }
  const text = formatEnv(values)
  expect(parseEnv(text)).toEqual(values)
  const shell = execFileSync('/bin/sh', ['-c', `${text}\nprintf '%s\\n' "$URL" "$SPACED" "$PLAIN" "$KEY"`], {
    encoding: 'utf8',
  })
  expect(shell.trim().split('\n')).toEqual(Object.values(values))
})
