import { type Configs, readConfig } from './read-config.ts'
import type { ServiceName } from './settings.ts'

/** Settings of a function for a test: everything required, nothing reachable. */
export function testConfig<T extends ServiceName>(
  target: T,
  changes: Record<string, string> = {},
): Configs[T] {
  return readConfig(target, {
    HOST: '127.0.0.1',
    PORT: '0',
    PUBLIC_BASE_URL: 'http://api.example.com',
    SUPABASE_URL: 'http://127.0.0.1:9',
    SUPABASE_ANON_KEY: 'anon',
    SUPABASE_ROLE_TOKEN: 'role',
    UPSTASH_REDIS_REST_URL: 'http://127.0.0.1:9',
    UPSTASH_REDIS_REST_TOKEN: 'redis',
    TRUSTED_ISSUERS: JSON.stringify([
      { issuer: 'https://p.example.com/auth/v1', user_id: 'sub', project_url: 'https://p.example.com' },
    ]),
    ALLOWED_ORIGINS: 'https://app.example.com',
    QSTASH_URL: 'http://127.0.0.1:9',
    QSTASH_TOKEN: 'q',
    QSTASH_CURRENT_SIGNING_KEY: 'current',
    QSTASH_NEXT_SIGNING_KEY: 'next',
    ANTHROPIC_API_KEY: 'key',
    SANDBOX_URL: 'http://127.0.0.1:9',
    SANDBOX_TOKEN: 'sandbox',
    AGENT_SECRET: 'a'.repeat(32),
    SWEEP_SECRET: 's'.repeat(32),
    LOG_LEVEL: 'silent',
    ...changes,
  })
}
