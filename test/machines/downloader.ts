/** A process that downloads `<url>` with the SHA-256 `<digest>`, and says when it has `<bytes>`. */
import { fetchSource } from "../../src/machines/source-file";

const [source = "", digest = "", bytes = ""] = process.argv.slice(2);

void fetchSource({
  source,
  checksum: { algorithm: "sha256", digest },
  cwd: "/",
  signal: new AbortController().signal,
  onProgress: (done) => done === Number(bytes) && process.send?.("there"),
});
