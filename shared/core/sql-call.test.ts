import { describe, expect, it } from 'vitest'
import { AppError } from './errors.ts'
import { type SqlFault, sqlArgument, sqlError } from './sql-call.ts'

const of = (fault: Partial<SqlFault>) => {
  const error = sqlError('agent_x', { code: undefined, message: 'text', hint: null, ...fault }, 'cause')
  return error instanceof AppError ? error.code : 'defect'
}

describe('sqlError', () => {
  it('passes on what a function raised for its caller, and only codes of the closed list', () => {
    expect(of({ code: 'PT404', hint: 'run_not_found', status: 404 })).toBe('run_not_found')
    expect(of({ code: 'PT404', hint: 'made_up', status: 404 })).toBe('defect')
    const later = sqlError('agent_x', { code: 'PT503', message: 'm', hint: 'not_ready' }, null)
    expect(later).toMatchObject({ code: 'not_ready', message: 'm', retryAfterSeconds: 1 })
  })

  it.each([
    '08006',
    '25006',
    '40001',
    '40P01',
    '53300',
    '55P03',
    '57014',
    '57P01',
    '58030',
    'XX000',
    'PGRST001',
  ])('%s may be tried again', (code) => {
    expect(of({ code, status: 500 })).toBe('unavailable')
    expect(of({ code })).toBe('unavailable')
  })

  it.each(['22P02', '23505', '42501', '42883', 'P0001', '54001'])('%s is a defect, by either way', (code) => {
    expect(of({ code, status: 500 })).toBe('defect')
    expect(of({ code })).toBe('defect')
  })

  it('no answer, a gateway and too many requests are not known to have happened', () => {
    for (const status of [0, 429, 502, 504]) expect(of({ status })).toBe('unavailable')
    expect(of({ code: 'EPIPE' })).toBe('unavailable')
    expect(of({ status: 400, code: 'PGRST102' })).toBe('defect')
  })
})

describe('sqlArgument', () => {
  it('repairs what Postgres refuses and refuses what is too deep', () => {
    expect(sqlArgument({ a: 'x\0y\ud800' })).toEqual({ a: 'x\uFFFDy\uFFFD' })
    let deep: unknown = 1
    for (let n = 0; n < 200; n++) deep = [deep]
    expect(() => sqlArgument({ deep })).toThrow('nested too deeply')
  })
})
