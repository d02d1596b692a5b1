/**
 * Versions of what runs are made of: rows, messages, step names. During a deploy old and new code take alternate steps of one run. Code
 * that writes something its predecessor cannot read writes a higher version with it; from then on the run is handed back by older code
 * (`newer`) until newer code takes it. So a new version is read by one release and written by the next.
 */
export const READS_PROTOCOL = 1
/** Never above READS_PROTOCOL. */
export const WRITES_PROTOCOL = 1
/** Code that cannot read a message or a run hands it back for so long: a deploy replaces it within a few of these. */
export const NEWER_RETRY_SECONDS = 10
