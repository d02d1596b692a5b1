import * as z from 'zod'
import { ERROR_STATUS, type ErrorCode } from '../core/errors.ts'

const codes = Object.keys(ERROR_STATUS) as [ErrorCode, ...ErrorCode[]]

/** Every error, whatever generation of caller reads it: the text three times, a code of a closed list, the request's id. */
export const errorBody = z.object({
  success: z.literal(false).optional(),
  error: z.string(),
  detail: z.string(),
  message: z.string(),
  code: z.enum(codes),
  request_id: z.string(),
})
export type ErrorBody = z.infer<typeof errorBody>
