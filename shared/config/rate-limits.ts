import type { RateLimits } from '../core/rate-limits.ts'
import type { StatusConfig } from './read-config.ts'

type RateSettings = Pick<
  StatusConfig,
  'rateCreates' | 'rateWrites' | 'rateReads' | 'rateStreams' | 'rateTenantFactor'
>

export function rateLimits(config: RateSettings): RateLimits {
  return {
    perMinute: {
      create: config.rateCreates,
      write: config.rateWrites,
      read: config.rateReads,
      stream: config.rateStreams,
    },
    tenantFactor: config.rateTenantFactor,
  }
}
