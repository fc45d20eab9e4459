/**
 * What an upload says beside its bytes: headers, which ride in the context of a call, so that links and `@trpc/tanstack-react-query`
 * can carry them.
 */

/** How far an upload is, in bytes. */
export interface Progress {
  loaded: number;
  /** Undefined where the length is not known in advance: of a `FormData` outside browsers. */
  total: number | undefined;
}

/** What the server is told of a file beside its bytes. */
export interface UploadDetails {
  /** The name of the file; its extension says what the content must be. A `File` brings its own. */
  filename?: string | undefined;
  /** The conversation to link the attachment to, a UUID. */
  conversationId?: string | undefined;
  /** The ticket to note with the attachment, a UUID. */
  ticketId?: string | undefined;
  /** RFC 9530, such as `sha-256=:…:`; bytes that do not match are refused and leave nothing. */
  contentDigest?: string | undefined;
  /** Called while the bytes are being sent. */
  onProgress?: ((progress: Progress) => void) | undefined;
}

/** An upload and how to end it early. */
export interface UploadOptions extends UploadDetails {
  /** Aborts the upload; the server keeps nothing of it. */
  signal?: AbortSignal | undefined;
}

const KEY = "attachd.upload";

/**
 * The context of a call of `attachments.upload`, for callers other than `upload`:
 * `client.attachments.upload.mutate(file, { context: uploadContext({ conversationId }) })`.
 */
export function uploadContext(details: UploadDetails): Record<string, unknown> {
  return { [KEY]: details };
}

/** What `uploadContext` put into the context of an operation. */
export function detailsOf(context: Record<string, unknown>): UploadDetails {
  return (context[KEY] as UploadDetails | undefined) ?? {};
}

/** The name to send: the one given, else that of a `File`. */
export function filenameOf(input: unknown, details: UploadDetails): string | undefined {
  if (details.filename !== undefined) {
    return details.filename;
  }
  const isFile = input instanceof Blob && "name" in input && typeof input.name === "string";
  return isFile ? (input.name as string) : undefined;
}

/** The headers of an upload; names are percent-encoded UTF-8, since headers carry ASCII alone. A form has fields instead. */
export function uploadHeaders(input: unknown, details: UploadDetails): Record<string, string> {
  const filename = input instanceof FormData ? undefined : filenameOf(input, details);
  const headers: Record<string, string | undefined> = {
    "x-attachd-filename": filename === undefined ? undefined : encodeURIComponent(filename),
    "x-attachd-conversation-id": details.conversationId,
    "x-attachd-ticket-id": details.ticketId,
    "content-digest": details.contentDigest,
  };
  return Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
