import { formatBytes } from "../../core/size";

const SHOWN_EVERY_MS = 200;

/** Shows how far a transfer is, and how fast: `app/: 12 MB of 300 MB, 85 MB/s`. */
export class TransferProgress {
  private readonly startedAt = performance.now();
  private shownAt = this.startedAt;
  /** So many bytes are through. */
  sentBytes = 0;

  constructor(
    private readonly title: string,
    private readonly totalBytes: number,
    private readonly show: (text: string) => void,
  ) {}

  get elapsedMs(): number {
    return performance.now() - this.startedAt;
  }

  add(bytes: number): void {
    this.sentBytes += bytes;
    const now = performance.now();
    if (now - this.shownAt < SHOWN_EVERY_MS) return;
    this.shownAt = now;
    const rate = (this.sentBytes / this.elapsedMs) * 1000;
    this.show(
      `${this.title}: ${formatBytes(this.sentBytes)} of ${formatBytes(this.totalBytes)}, ${formatBytes(rate)}/s`,
    );
  }
}
