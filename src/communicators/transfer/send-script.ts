/**
 * Runs on the machine that files are fetched from. Its output is a tar archive of what is in FROM (a folder), or of FROM
 * itself; what it says, the hashes among it, goes to its other output, marked by NONCE. A hash's name is escaped as
 * `sha256sum` does.
 */
export const SEND_SCRIPT = `
export LC_ALL=C
say() { printf 'kiln-%s %s\\n' "$NONCE" "$*" >&2; }
fail() { say "failed $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
have tar || { say "lacks tar"; exit 1; }
if have sha256sum; then HASH=sha256sum
elif have shasum; then HASH="shasum -a 256"
elif have openssl; then HASH="openssl dgst -sha256 -r"
else say "lacks sha256sum"; exit 1; fi
if [ "$KIND" = folder ]; then
  [ -d "$FROM" ] || fail "there is no such folder"
  cd "$FROM" || fail "cannot enter it"
  what=.
else
  [ ! -d "$FROM" ] || fail "it is a folder. Let the source end in /"
  [ -f "$FROM" ] || fail "there is no such file"
  cd "$DIR" || fail "cannot enter its folder"
  what=./$NAME
fi
say "ready"
if [ "$KIND" = folder ]; then find . -type f -exec $HASH {} +; else $HASH "$what"; fi | sed "s/^/kiln-$NONCE sum /" >&2
if [ "$KIND" = folder ]; then tar -cf - .; else tar -chf - "$what"; fi || fail "tar ended with $?"
say "done"
`;
