/** Makes of a machine an image: what is of this one machine alone goes, so that two that are made from it are not the same. */
import type { BuildContext } from "../../core/context";
import type { Communicator } from "../../core/model";

/** Runs as root, with the comment of the temporary key as its first argument. */
const SCRIPT = `set -e
cd /
if [ -n "$1" ]; then
  for file in /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys; do
    [ -f "$file" ] && grep -q " $1\\$" "$file" || continue
    sed -i "/ $1\\$/d" "$file"
    [ -s "$file" ] || rm -f "$file"
  done
fi
makes_keys() {
  [ -d /var/lib/cloud ] && command -v cloud-init >/dev/null && [ ! -e /etc/cloud/cloud-init.disabled ]
}
if ls /etc/ssh/ssh_host_*_key >/dev/null 2>&1; then
  if makes_keys; then rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
  elif [ -d /etc/systemd/system ] && command -v ssh-keygen >/dev/null; then
    cat >/etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=Make the host keys of SSH
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key
Before=ssh.service sshd.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT
    mkdir -p /etc/systemd/system/multi-user.target.wants
    ln -sf ../ssh-host-keys.service /etc/systemd/system/multi-user.target.wants/ssh-host-keys.service
    rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
  else echo "nothing here makes host keys anew: they stay in the image" >&2; fi
fi
if [ -e /etc/machine-id ]; then : >/etc/machine-id; fi
[ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
rm -f /var/lib/systemd/random-seed /var/lib/urandom/random-seed /var/lib/systemd/credential.secret
if [ -d /var/lib/cloud ]; then
  rm -rf /var/lib/cloud/* /run/cloud-init /etc/netplan/50-cloud-init.yaml
  rm -f /var/log/cloud-init.log /var/log/cloud-init-output.log
fi
`;

/** What was freed is given back, so that the image does not hold it. */
const TRIM = "sync; command -v fstrim >/dev/null && fstrim -a >/dev/null 2>&1; true";

/** `publicKey`: the temporary one. */
export async function sealMachine(
  context: BuildContext,
  communicator: Communicator,
  options: { user: string; isSealed: boolean; publicKey?: string },
): Promise<void> {
  const comment = options.publicKey?.trim().split(" ").at(2) ?? "";
  const script = `${options.isSealed ? SCRIPT : ""}${TRIM}\n`;
  const asRoot = options.user === "root" ? "" : "sudo -n ";
  let output = "";
  const { exitCode } = await communicator.exec(`${asRoot}sh -s -- '${comment}'`, {
    signal: context.signal,
    stdin: script,
    onOutput: (chunk) => {
      output += chunk.toString();
      context.log.output(chunk);
    },
  });
  if (exitCode === 0 || !options.isSealed) return;
  throw new Error(
    `Sealing the machine (\`${asRoot}sh\` as ${options.user}): it ended with exit code ${exitCode}: ${output.trim().split("\n").slice(-3).join("; ")}. ` +
      "It needs root; `seal: false` leaves the machine as it is",
  );
}
