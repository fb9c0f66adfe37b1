import type { OnProgress } from "./driver";

/** One line of the bytes of all layers. */
export class LayerProgress {
  private readonly layers = new Map<string, { current: number; total: number }>();

  constructor(private readonly onProgress: OnProgress) {}

  follow(message: Record<string, unknown>): void {
    const { id, status, progressDetail } = message as {
      id?: string;
      status?: string;
      progressDetail?: { current?: number; total?: number };
    };
    if (!id || !progressDetail?.current) return;
    const { current, total = 0 } = progressDetail;
    this.layers.set(id, { current, total: Math.max(total, current) });
    const all = [...this.layers.values()];
    const sum = (of: (layer: { current: number; total: number }) => number): string =>
      (all.reduce((bytes, layer) => bytes + of(layer), 0) / 1e6).toFixed(1);
    this.onProgress(`${(status ?? "").toLowerCase()} ${sum((l) => l.current)} of ${sum((l) => l.total)} MB`);
  }
}
