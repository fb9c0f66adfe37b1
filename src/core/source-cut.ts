/** One entry of a source's Merkle tree, as far down as a cut may need it. */
export interface SourceNode {
  name: string;
  /** The first 12 hex digits of its hash; "+x" after those of an executable file, "+link" after those of a symbolic link. */
  hash: string;
  /** Undefined for what is no folder, and for a folder whose contents were cut off. */
  children?: readonly SourceNode[];
  isFolder: boolean;
}

/** A tree and how to call it. */
export interface NamedNode {
  /** A path relative to the program's folder, "/" separated. */
  name: string;
  node: SourceNode;
}

/** How many entries of a source are kept beyond the thread that read it: more than a cut shows, so that a second choice is there too. */
export const keptNodes = 1024;

/**
 * Which folders to show by their contents so that at most `limit` entries are shown in all.
 * Level by level, the smallest folders of a level first, so that one huge folder hides nothing beside it.
 */
export function chooseOpenFolders<Node>(
  roots: readonly Node[],
  limit: number,
  listChildren: (node: Node) => readonly Node[] | undefined,
): Set<Node> {
  const open = new Set<Node>();
  let shown = roots.length;
  for (let level = roots; level.length > 0;) {
    const next: Node[] = [];
    const folders = level.flatMap((node) => {
      const children = listChildren(node);
      return children === undefined || children.length === 0 ? [] : [{ node, children }];
    });
    folders.sort((a, b) => a.children.length - b.children.length);
    for (const { node, children } of folders) {
      if (shown - 1 + children.length > limit) break;
      shown += children.length - 1;
      open.add(node);
      for (const child of children) next.push(child);
    }
    level = next;
  }
  return open;
}

/** Paths and short hashes of at most `limit` entries, which together stand for all of the trees. */
export function cutNodes(trees: readonly NamedNode[], limit: number): Record<string, string> {
  const open = chooseOpenFolders(
    trees.map(({ node }) => node),
    limit,
    (node) => node.children,
  );
  const shown: [string, string][] = [];
  const show = (node: SourceNode, path: string): void => {
    if (!open.has(node)) shown.push([node.isFolder ? `${path}/` : path, node.hash]);
    else
      for (const child of node.children ?? [])
        show(child, path === "" ? child.name : `${path}/${child.name}`);
  };
  for (const { name, node } of trees) {
    // The contents of "." need no prefix, but the folder itself must have a name.
    show(node, name === "." && open.has(node) ? "" : name);
  }
  // Not by assignment, which would lose a file called "__proto__".
  return Object.fromEntries(shown);
}
