import { SUMMARY_FILE } from './summary-programs.ts'

/** Looks at the table with other tools than those that wrote it: number of groups, the largest, and the sum of all counts. */
export const TABLE_COMMAND = `tail -n +2 ${SUMMARY_FILE} | wc -l
tail -n +2 ${SUMMARY_FILE} | sort -t, -k1,1nr | head -n 5
awk -F, 'NR > 1 { sum += $1 } END { print "sum", sum + 0 }' ${SUMMARY_FILE}`
