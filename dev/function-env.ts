import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import {
  common,
  door,
  execute,
  front,
  logs,
  type ServiceName,
  type Setting,
  status,
  step,
} from '../shared/config/settings.ts'

type Values = Readonly<Record<string, string>>

const settings: Record<ServiceName, Record<string, Setting<unknown>>> = {
  execute: { ...common, ...front, ...execute } as Record<string, Setting<unknown>>,
  status: { ...common, ...front, ...status } as Record<string, Setting<unknown>>,
  logs: { ...common, ...front, ...logs } as Record<string, Setting<unknown>>,
  step: { ...common, ...step } as Record<string, Setting<unknown>>,
  door: { ...common, ...door } as Record<string, Setting<unknown>>,
}

/** Of Node itself, for those who reach the model's API through a proxy. */
const NETWORK = [
  'HTTPS_PROXY',
  'https_proxy',
  'NO_PROXY',
  'no_proxy',
  'NODE_USE_ENV_PROXY',
  'NODE_EXTRA_CA_CERTS',
]

/**
 * The whole environment of one function: what the stack says, then settings the user gave for things the stack has no say in (model,
 * limits, log level). Nothing else of the user's environment gets there: it holds credentials that are none of a function's business.
 */
export function functionEnv(
  target: ServiceName,
  stack: Values,
  user: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const env: Record<string, string> = {}
  for (const name of [
    ...Object.values(settings[target]).map((setting) => setting.env),
    ...(target === 'step' ? NETWORK : []),
  ]) {
    const value = stack[name] ?? user[name]
    if (value !== undefined && value !== '' && name !== 'PORT' && name !== 'HOST') env[name] = value
  }
  return env
}

/** The environment over `.env` of the repository, as tools for Node commonly do. */
export function userSettings(
  envFile: string,
  env: NodeJS.ProcessEnv = process.env,
): Record<string, string | undefined> {
  return existsSync(envFile) ? { ...parseEnv(readFileSync(envFile, 'utf8')), ...env } : env
}

/** Lines that dotenv libraries and POSIX shells read the same way. */
export function formatEnv(values: Values): string {
  return Object.entries(values)
    .map(
      ([name, value]) =>
        `${name}=${/^[\w@%+=:,./-]*$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`}\n`,
    )
    .join('')
}
