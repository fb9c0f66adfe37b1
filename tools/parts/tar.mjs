/** A tar in memory, for images that are small enough to be written out by name. */

const blockBytes = 512;

/**
 * @typedef {object} TarEntry
 * @property {string} path at most 100 characters; a folder's ends with a slash
 * @property {Buffer} [content]
 * @property {string} [link] the target of a symbolic link
 * @property {number} [mode]
 */

/**
 * The bytes of a tar with these entries, all owned by root.
 * @param {readonly TarEntry[]} entries
 */
export function writeTar(entries) {
  const blocks = entries.flatMap((entry) => [header(entry), ...padded(entry.content)]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * blockBytes)]);
}

/** @param {TarEntry} entry */
function header({ path, content, link, mode = 0o755 }) {
  const kind = link ? "2" : path.endsWith("/") ? "5" : "0";
  const block = Buffer.alloc(blockBytes);
  block.write(path, 0);
  block.write(octal(mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(content?.length ?? 0, 11), 124);
  block.write(octal(0, 11), 136);
  block.write(" ".repeat(8), 148); // the checksum counts itself as spaces
  block.write(kind, 156);
  block.write(link ?? "", 157);
  block.write("ustar\x0000", 257);
  block.write(
    octal(
      block.reduce((sum, byte) => sum + byte, 0),
      6,
    ) + "\0 ",
    148,
  );
  return block;
}

/** @param {Buffer} [content] */
function padded(content) {
  if (!content) return [];
  const rest = content.length % blockBytes;
  return rest === 0 ? [content] : [content, Buffer.alloc(blockBytes - rest)];
}

/**
 * @param {number} value
 * @param {number} digits
 */
const octal = (value, digits) => value.toString(8).padStart(digits, "0");
