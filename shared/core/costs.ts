/** Prices in 1/10,000 credit (integers, so that sums are exact); the list is the product's price list in credits. */
const UNITS_PER_CREDIT = 10_000

const CREDITS: Readonly<Record<string, number>> = {
  shell: 1,
  code: 2,
  browser: 3,
  search: 1,
  file_read: 1,
  file_write: 1,
  file_list: 1,
  connector: 2,
  message: 0,
}
const MODEL_CALL_CREDITS = 5

export function toolCostUnits(toolName: string): number {
  return (CREDITS[toolName] ?? 0) * UNITS_PER_CREDIT
}

export function modelCostUnits(): number {
  return MODEL_CALL_CREDITS * UNITS_PER_CREDIT
}

export function creditUnits(credits: number): number {
  return Math.round(credits * UNITS_PER_CREDIT)
}
