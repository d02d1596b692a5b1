import { issuersSchema } from '../../shared/config/issuers.ts'
import { bypassingRole } from '../../shared/config/service-keys.ts'
import { type SecretName, secretOf } from './secret-table.ts'

/** A token is a few hundred bytes; a table of issuers some thousand. A Secret may have 1 MiB in all. */
const MAX_CHARACTERS = 32 * 1024

/** As it is stored: without the line end of a paste; JSON on one line. */
export function normalize(name: SecretName, given: string): string {
  const value = given.trim()
  if (name !== 'TRUSTED_ISSUERS') return value
  try {
    return JSON.stringify(JSON.parse(value))
  } catch {
    return value
  }
}

/** What is wrong with a value as it stands, before it is sent anywhere; null when nothing is. Never repeats the value. */
export function checkForm(name: SecretName, value: string): string | null {
  if (value === '') return 'is empty'
  if (value.length > MAX_CHARACTERS)
    return `has ${value.length} characters, more than ${MAX_CHARACTERS}: is this the right file?`
  if (name === 'TRUSTED_ISSUERS') {
    const parsed = issuersSchema.safeParse(value)
    return parsed.success ? null : parsed.error.issues.map(({ message }) => message).join('; ')
  }
  if (!/^[\x21-\x7e]+$/.test(value))
    return 'holds spaces, line ends or characters that no key has: copy it again'
  const role = bypassingRole(value)
  if (role !== null)
    return `is of the role ${role}, which can step around row security: no function may hold it`
  if (secretOf(name).origin === 'made' && value.length < 32) return 'must have at least 32 characters'
  return null
}
