/**
 * The client of attachd: `@trpc/client` with every link wired, typed by the server's procedures, and an upload that tells its
 * progress.
 */

export { createAttachdClient } from "./client.js";
export type { AttachdClient, AttachdClientOptions } from "./client.js";
export type * from "./router.js";
export { uploadContext } from "./upload.js";
export type { Progress, UploadDetails, UploadOptions } from "./upload.js";
