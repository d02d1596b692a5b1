import type { Database } from './database.ts'

/** What every case gets. */
export interface Bench {
  /** Of the repository. */
  root: string
  /** Pairs of floor and candidate; 20 at least for a result that counts. */
  pairs: number
  /** Fewer repetitions everywhere: to see that it runs. */
  quick: boolean
  /** A database that the first case to ask makes and all share. */
  database(): Promise<Database>
}
