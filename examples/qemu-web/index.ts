import * as pulumi from "@pulumi/pulumi";
import * as kiln from "pulumi-kiln";

const config = new pulumi.Config();
const debian = "https://cloud.debian.org/images/cloud/bookworm/latest";
const source = config.get("source");

// The disk: Debian, a unit that serves a folder, the folder. Each step is a point from which a later build can go on, so
// what changes often comes last.
const image = new kiln.qemu.Image("web", {
  isoUrl: source ?? `${debian}/debian-12-genericcloud-amd64.qcow2`,
  isoChecksum:
    config.get("sourceChecksum") ?? (source === undefined ? `file:${debian}/SHA512SUMS` : undefined),
  diskImage: true,
  // The login of Debian's cloud images; cloud-init in the machine lets the build's temporary key in.
  sshUsername: "debian",
  cloudInit: {},
  memory: "1GiB",
  cpus: 2,
  provisioners: [
    kiln.file({ source: "web.service", destination: "/tmp/web.service" }),
    kiln.shell({
      inline: ["sudo install -m 644 /tmp/web.service /etc/systemd/system/", "sudo systemctl enable web"],
    }),
    kiln.file({ source: "web/", destination: "/tmp/web" }),
    kiln.shell({ inline: ["sudo rm -rf /srv/web", "sudo cp -R /tmp/web /srv/web"] }),
  ],
  // A machine is booted from the finished disk. If it does not serve the page, there is no image.
  bootTest: {
    commands: [
      "systemctl is-system-running --wait || true",
      "systemctl is-active web",
      "timeout 30 sh -c 'until wget -qO- http://localhost:8080/ | grep Version; do sleep 1; done'",
    ],
    timeout: "5m",
  },
  outputDirectory: "images",
});

export const path = image.path;
export const sha256 = image.sha256;
export const sizeBytes = image.sizeBytes;
