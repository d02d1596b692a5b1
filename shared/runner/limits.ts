/** Processes and threads of one tool: a Node program has about 12, a compiler a few dozen, a fork bomb all it can get. */
export const PROCESS_LIMIT = 256
/** Open files a process. */
export const OPEN_FILES_LIMIT = 1024
/** stdout and stderr together: past this the tool is stopped. Below it the middle is dropped and the tool goes on. */
export const OUTPUT_FLOOD_BYTES = 32 * 1024 * 1024
/** Kept back from the deadline for hashing, uploading and the result. */
export const REPORT_RESERVE_SECONDS = 15
/** Memory and processes are looked at this often: 2 GB/s of page faults overshoot by 400 MB at most. */
export const WATCH_EVERY_MS = 200
/** The workspace's size is looked at this often while the tool runs. */
export const WORKSPACE_WATCH_EVERY_MS = 1000
export const TRANSFER_CONCURRENCY = 4
/** One file's transfer; a door that trickles is given up and asked again. */
export const TRANSFER_TIMEOUT_SECONDS = 120
export const REQUEST_TIMEOUT_SECONDS = 30
export const LIVE_WATCHED_EVERY_MS = 500
export const LIVE_IDLE_EVERY_MS = 30_000
/** Program text of a tool: far more than a model writes in one turn. */
export const PROGRAM_BYTES = 1024 * 1024
/** Deepest folder of a workspace; 512 bytes of path hold no more than 256 anyway. */
export const FOLDER_DEPTH = 64
