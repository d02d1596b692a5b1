/** Structured log: a closed set of fields, values by type; never prompts, tool inputs, results or tokens. */
export interface LogFields {
  request_id?: string
  run_id?: string
  step_number?: number
  attempt?: number
  code?: string
  status?: number
  method?: string
  path?: string
  duration_ms?: number
  count?: number
  outcome?: string
  err?: unknown
}

export interface Log {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
  child(fields: LogFields): Log
}
