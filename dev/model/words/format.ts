/** A name or label as Markdown code; backticks in it would end it early. */
export function code(text: string): string {
  return `\`${text.replaceAll('`', '′')}\``
}

export function formatter(locale: string) {
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 })
  const share = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 1 })
  return {
    n: (value: number) => whole.format(value),
    share: (part: number, total: number) => share.format(total > 0 ? part / total : 0),
  }
}
