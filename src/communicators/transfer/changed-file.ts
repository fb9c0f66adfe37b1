/** A file is not any more what was listed. */
export class ChangedFileError extends Error {
  constructor(file: string) {
    super(`${file} changed while it was read. Run again when nothing writes to it`);
    this.name = "ChangedFileError";
  }
}
