import { EARLY_CHECKS } from "./checks";

/**
 * Runs on the machine that files are sent to, in any POSIX shell. It reads from its input: a line of variables, to which
 * it answers what it can and whether something is there; another line of them; with ASK so many bytes of a list of what is
 * to come, to which it answers what of it is lacking; a line with the FORM of what follows ("tar" or "gzip") and how
 * many commands it holds for what is to be checked EARLY, with how many FILES it brings then; an archive.
 * Everything is unpacked into STAGE, verified there, and only then put in place. On a failure STAGE stays: the next try goes
 * on from there, or it is removed by whoever gives up.
 *
 * NONCE marks its answers, since a shell's own profile may print too. DEST ends as DIR, in which STAGE is, and NAME. HASH
 * names one of the programs that it said it has, and lists are as that prints them.
 */
export const RECEIVE_SCRIPT = `
export LC_ALL=C
say() { printf 'kiln-%s %s\\n' "$NONCE" "$*"; }
early=
fail() { [ -z "$early" ] || kill $early 2>/dev/null; say "failed $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

have tar || { say "lacks tar"; exit 1; }
digest() {
  case $HASH in
  openssl) sum=$(openssl dgst -sha256 -r) ;;
  sha256) sum=$(sha256) ;;
  shasum) sum=$(shasum -a 256) ;;
  *) sum=$(sha256sum) ;;
  esac
  printf '%s' "\${sum%% *}"
}
# What the program says of each line of a list.
check() { if [ $HASH = shasum ]; then shasum -a 256 -c -; else sha256sum -c -; fi 2>/dev/null; }
# The names of a list whose content is not as listed go to $2, those whose content is to $3. There may be a report already.
compare() {
  : >"$2"; : >"$3"
  case $HASH in
  openssl)
    half=$(($(count "$1") / 2 + 1))
    sed -n "1,\${half}p" "$1" | names | hash_names >"$STAGE_PATH/report.1" &
    tail -n +$((half + 1)) "$1" | names | hash_names >"$STAGE_PATH/report.2"
    sort "$1" >"$STAGE_PATH/wanted"
    wait $!
    sort "$STAGE_PATH/report.1" "$STAGE_PATH/report.2" >"$STAGE_PATH/report"
    comm -13 "$STAGE_PATH/report" "$STAGE_PATH/wanted" | cut -c67- >"$2"
    comm -12 "$STAGE_PATH/report" "$STAGE_PATH/wanted" | cut -c67- >"$3" ;;
  sha256)
    while IFS= read -r line; do
      name=\${line#*  }
      if [ -f "$name" ] && [ "$(digest <"$name")" = "\${line%%  *}" ]
      then printf '%s\\n' "$name" >>"$3"; else printf '%s\\n' "$name" >>"$2"; fi
    done <"$1" ;;
  *)
    [ -f "$STAGE_PATH/report" ] || check <"$1" >"$STAGE_PATH/report"
    sed -n 's/: OK$//p' "$STAGE_PATH/report" >"$3"
    sed -n '/: OK$/!s/^\\(.*\\): FAILED.*$/\\1/p' "$STAGE_PATH/report" >"$2"
    rm -f "$STAGE_PATH/report" ;;
  esac
}
# Whether a list's files are as it says; each line counts, also one that no program understands.
agrees() {
  [ -f "$1" ] || return 1
  [ -s "$1" ] || return 0 # xargs would hash nothing's name
  case $HASH in
  openssl) hash_names <"$1.names" | cmp -s - "$1" ;;
  sha256)
    compare "$1" "$1.differing" "$1.same"
    [ "$(count "$1.same")" = "$(count "$1")" ] ;;
  *) [ "$(check <"$1" | grep -c ': OK$')" = "$(count "$1")" ] ;;
  esac
}
count() { wc -l <"$1" | tr -d ' '; }
names() { cut -c67- | tr '\\n' '\\0'; }
hash_names() { xargs -0 openssl dgst -sha256 -r 2>/dev/null; }
${EARLY_CHECKS}
IFS='
'
set -f
# An earlier try whose connection was cut may still be at work: it is waited for, since it ends when it has read what reached
# this machine; but for five seconds only, since it may not know of the cut.
take_over() {
  while [ -f "$1" ] && { read -r nonce; read -r process; read -r try; } <"$1" && [ "$nonce" != "$NONCE" ]; do
    [ "$try" -lt "$RESUME" ] || fail "another try took over"
    own "$1"
    waits=0
    while kill -0 "$process" && [ $waits -lt 100 ]; do
      if sleep 0.05; then waits=$((waits + 1)); else sleep 1; waits=$((waits + 20)); fi
    done 2>/dev/null
  done
}
own() { printf '%s\\n' "$NONCE" "$$" "\${RESUME:-1}" >"$1" || fail "cannot write there"; }
is_owner() { nonce=; read -r nonce <"$STAGE_PATH/owner"; [ "$nonce" = "$NONCE" ]; }
if [ -n "$RESUME" ]; then
  take_over "$DEST/$STAGE/owner"
  take_over "$DIR/$STAGE/owner"
fi
if [ "$KIND" = folder ] && [ -d "$DEST" ]; then
  cd "$DEST" || fail "cannot enter $DEST"
  MERGE=1
else
  if [ "$KIND" = folder ] && { [ -e "$DEST" ] || [ -L "$DEST" ]; }; then fail "it is there, and no folder"; fi
  mkdir -p "$DIR" && cd "$DIR" || fail "cannot make or enter the folder $DIR"
  [ "$KIND" = folder ] || [ ! -d "./$NAME" ] || fail "it is a folder. Let the destination end in /"
  MERGE=
fi
FOUND=new
if [ -n "$MERGE" ]; then [ "$(ls -A | wc -c | tr -d ' ')" = 0 ] || FOUND=there
elif [ "$KIND" = file ] && [ -e "./$NAME" ]; then FOUND=there; fi
STAGE_PATH=$(pwd -P; printf .); STAGE_PATH=\${STAGE_PATH%??}/$STAGE
if [ -z "$RESUME" ] || [ ! -d "$STAGE" ]; then
  mkdir -m 700 "./$STAGE" && mkdir -m 755 "./$STAGE/new" && mkdir "./$STAGE/odd" "./$STAGE/check" || fail "cannot write there"
  own "$STAGE/owner"
else
  [ -f "$STAGE/owner" ] || own "$STAGE/owner"
  is_owner || fail "another try took over"
  rm -rf "./$STAGE/check" "./$STAGE/arrived" && mkdir -p "./$STAGE/new" "./$STAGE/odd" "./$STAGE/check" || fail "cannot write there"
fi
for program in gzip sha256sum shasum openssl sha256; do
  if have $program; then say "can $program"; fi
done
say "$FOUND"

NL='
'; IFS= read -r LINE || fail "nothing came"
eval "$LINE"
if [ -n "$ASK" ]; then
  case $MERGE:$RESUME:$HASH in
  1::sha*sum) head -c "$ASK" | tee "$STAGE/ask" | check >"$STAGE/report" ;; # while it comes
  *) head -c "$ASK" >"$STAGE/ask" || fail "cannot write there" ;;
  esac
  [ "$(wc -c <"$STAGE/ask" | tr -d ' ')" = "$ASK" ] || fail "the list did not arrive"
  if [ -n "$RESUME" ]; then
    rm -f "$STAGE/report" # of a try that was cut
    cd "$STAGE/new"
    # What came of a file's rest is its continuation, however little it is.
    if [ -s ../before ]; then sh ../before >/dev/null 2>&1; fi
    rm -f ../before ../end
    compare ../ask ../differing ../same
    sed "s/^/kiln-$NONCE staged /" ../same
    for name in $(cat ../differing); do
      if [ -f "$name" ] && [ ! -L "$name" ]; then say "part $(wc -c <"$name" | tr -d ' ') $(digest <"$name") $name"; fi
    done
    cd ../..
  fi
  if [ -n "$MERGE" ]; then
    # What has another kind, owner or mode is sent as if it were another file.
    {
      from=1
      IFS=' '
      for run in $MODES; do
        to=$((from + \${run#*:} - 1))
        sed -n "$from,\${to}p" "$STAGE/ask" | names |
          xargs -0 sh -c 'user=$0 mode=$1; shift; find "$@" -prune ! \\( -type f -user "$user" -perm "$mode" \\) 2>/dev/null' "$(id -u)" "\${run%%:*}"
        from=$((to + 1))
      done
    } >"$STAGE/strange" &
    strange=$!
    compare "$STAGE/ask" "$STAGE/differing" "$STAGE/same"
    wait $strange
    sed "s/^/kiln-$NONCE need /" "$STAGE/differing" "$STAGE/strange"
    # A find that does not know this has said nothing of any file.
    if find . -prune -user 0 -perm 0700 >/dev/null 2>&1; then
      say "compared $(count "$STAGE/differing") $(count "$STAGE/same")"
    fi
  elif [ "$KIND" = file ] && [ -f "./$NAME" ] && [ ! -L "./$NAME" ] && [ -O "./$NAME" ] && [ "$(digest <"./$NAME")" = "$WANT" ]; then
    chmod "$MODE" "./$NAME" && rm -rf "./$STAGE" || fail "cannot change its mode"
    say "done"
    exit 0
  fi
  say "ready"
fi

# A tar that could not write does not always say why.
spoilt() {
  fail "tar ended with $1, with $(df -Pk . | sed -n '2s/.* \\([0-9][0-9]*\\)  *[0-9][0-9]*% .*/\\1/p') kB free there"
}
IFS= read -r LINE || fail "nothing came"
eval "$LINE"
if [ -n "$EARLY" ]; then
  { cd "./$STAGE/new" && check_early; } >/dev/null 2>&1 &
  early=$!
fi
case $FORM in
tar) tar -xopf - -C "./$STAGE" || spoilt $? ;;
gzip) gzip -dc | tar -xopf - -C "./$STAGE" || spoilt $? ;;
*) fail "unknown form" ;;
esac
echo >"./$STAGE/arrived" || fail "cannot write there"
[ -f "$STAGE/end" ] || fail "the end did not arrive"

cd "$STAGE/new" || fail "nothing arrived"
[ ! -s ../before ] || sh ../before || fail "cannot join what came in parts"
# Most machines have two processors.
agrees ../second &
second=$!
agrees ../first
first=$?
wait $second && [ $first = 0 ]
result=$?
if [ -n "$early" ]; then
  wait $early || result=1
  early=
  # Where two names are one, the second file took the place of the first, which was in order.
  [ "$(find . -type f | wc -l | tr -d ' ')" = "$FILES" ] || result=1
fi
if [ $result != 0 ]; then
  { find ../check -name '*.list' -exec cat {} +; cat ../first ../second; } >../verify || fail "the lists did not arrive"
  compare ../verify ../differing ../same
  if [ "$(count ../same)" != "$(count ../verify)" ]; then
    sed "s/^/kiln-$NONCE damaged /" ../differing
    fail "what arrived is not what was sent"
  fi
fi

is_owner || fail "another try took over"
last() { [ ! -s "$1/after" ] || ODD="$1/odd" sh "$1/after" || fail "cannot put it in place"; }
if [ "$KIND" = file ]; then
  last ..
  cd ../.. && mv -f "$STAGE/new/file" "./$NAME" || fail "cannot put it in place"
elif [ -z "$MERGE" ]; then
  last ..
  cd ../.. && mv "$STAGE/new" "./$NAME" || fail "cannot put it in place"
elif [ "$(ls -A ../..)" = "$STAGE" ]; then
  find . ! -name . -prune -exec sh -c 'exec mv -f "$@" ../../' mv {} + || fail "cannot put it in place"
  cd ../..
  last "./$STAGE"
else
  for name in $(find . -type d); do
    [ ! -e "../../$name" ] && [ ! -L "../../$name" ] || [ -d "../../$name" ] || fail "$name is there, and no folder"
  done
  for name in $(find . ! -type d); do
    [ ! -d "../../$name" ] || [ -L "../../$name" ] || fail "$name is there, and a folder"
  done
  for name in $(find . -type d); do
    [ -d "$name" ] || continue
    if [ ! -e "../../$name" ] && [ ! -L "../../$name" ]; then
      # Into its parent: another upload may have made one of that name meanwhile, and must not get it inside.
      mv "$name" "../../\${name%/*}/" || [ -d "../../$name" ] || fail "cannot put it in place"
    fi
  done
  for name in $(find . ! -type d | sed 's|/[^/]*$||' | sort -u); do
    (cd "$name" && exec find . ! -name . -prune ! -type d -exec sh -c 'exec mv -f "$@" "$0"' "\${STAGE_PATH%/*}/$name/" {} +) ||
      fail "cannot put it in place"
  done
  cd ../..
  last "./$STAGE"
fi
rm -rf "./$STAGE"
say "done"
`;

/** Removes what an upload left that is given up. */
export const CLEAN_SCRIPT = `rm -rf "$DEST/$STAGE" "$DIR/$STAGE"`;
