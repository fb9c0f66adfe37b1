"""The part of cloud-init that tests need, in a tenth of its time: a NoCloud seed whose YAML is JSON."""

import json
import os
import pwd
import socket
import subprocess

DONE = "/var/lib/cloud/data/instance-id"  # where cloud-init has it too, so that it is forgotten in the same way
SEED = "/run/seed"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"


def run(*command, **options):
    return subprocess.run(command, check=True, **options)


def mount_seed():
    for label in ("cidata", "CIDATA"):
        found = subprocess.run(["/sbin/blkid", "-L", label], capture_output=True, text=True)
        if found.returncode == 0:
            os.makedirs(SEED, exist_ok=True)
            run("/bin/mount", "-o", "ro", found.stdout.strip(), SEED)
            return True
    return False


def read(name):
    try:
        with open(os.path.join(SEED, name)) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def parse(text):
    return json.loads(text.removeprefix("#cloud-config\n") or "{}") if not text.startswith("#!") else {}


def list_keys(given):
    if isinstance(given, str):
        return given.splitlines()
    return [key for each in (given.values() if isinstance(given, dict) else given) for key in list_keys(each)]


def make_user(name, keys):
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        run("/sbin/useradd", "--create-home", "--shell", "/bin/bash", name)
        user = pwd.getpwnam(name)
        with open("/etc/sudoers.d/90-cloud-init-users", "a") as file:
            file.write(f"{name} ALL=(ALL) NOPASSWD:ALL\n")
    if not keys:
        return
    folder = os.path.join(user.pw_dir, ".ssh")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    file_name = os.path.join(folder, "authorized_keys")
    with open(file_name, "a") as file:
        file.writelines(f"{key}\n" for key in keys)
    os.chmod(file_name, 0o600)
    for path in (folder, file_name):
        os.chown(path, user.pw_uid, user.pw_gid)


def set_up(meta, vendor, user_text):
    user = parse(user_text)
    name = meta.get("local-hostname", "debian")
    socket.sethostname(name)
    with open("/etc/hostname", "w") as file:
        file.write(f"{name}\n")
    keys = list_keys(meta.get("public-keys", [])) + user.get("ssh_authorized_keys", [])
    for each in user.get("users") or vendor.get("users") or ["default"]:
        if each == "default":
            make_user("debian", keys)
        else:
            make_user(each["name"], each.get("ssh_authorized_keys", []))
    for file in user.get("write_files", []):
        os.makedirs(os.path.dirname(file["path"]), exist_ok=True)
        with open(file["path"], "w") as target:
            target.write(file.get("content", ""))
        os.chmod(file["path"], int(file.get("permissions", "0644"), 8))
    for command in user.get("runcmd", []):
        run(*(["/bin/sh", "-c", command] if isinstance(command, str) else command))
    if user_text.startswith("#!"):
        run("/bin/sh", "-c", 'cp "$0/user-data" /run/user-script; chmod 700 /run/user-script; /run/user-script', SEED)


def main():
    meta = {}
    if mount_seed():
        meta = json.loads(read("meta-data"))
    try:
        with open(DONE) as file:
            done = file.read()
    except FileNotFoundError:
        done = ""
    instance = meta.get("instance-id", done or "iid-datasource-none")
    if instance != done or not os.path.exists(HOST_KEY):
        for suffix in ("", ".pub"):
            if os.path.exists(HOST_KEY + suffix):
                os.remove(HOST_KEY + suffix)
        run("/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", HOST_KEY)
    if instance != done and meta:
        set_up(meta, parse(read("vendor-data")), read("user-data"))
    os.makedirs(os.path.dirname(DONE), exist_ok=True)
    with open(DONE, "w") as file:
        file.write(instance)


main()
