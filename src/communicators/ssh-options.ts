import type { Duration } from "../core/duration";

/** How a machine is reached by SSH. Names and defaults are those of Packer's ssh communicator in camelCase, unless noted. */
export interface SshOptions {
  /** Address of the machine. Default: the one that the platform finds out. Same as Packer's `ssh_host`. */
  sshHost?: string;
  /** Default: 22, or what the platform forwards. Same as Packer's `ssh_port`. */
  sshPort?: number;
  /** User that the steps run as. Same as Packer's `ssh_username`. */
  sshUsername: string;
  /** Password, also the answer to every prompt of keyboard-interactive authentication. Same as Packer's `ssh_password`. */
  sshPassword?: string;
  /** Private key without passphrase, as a path; then no temporary key pair is made. Same as Packer's `ssh_private_key_file`. */
  sshPrivateKeyFile?: string;
  /** Certificate of the private key (`…-cert.pub`), as a path. Same as Packer's `ssh_certificate_file`. */
  sshCertificateFile?: string;
  /** Use the keys of the agent that `SSH_AUTH_SOCK` names. Default: false. Same as Packer's `ssh_agent_auth`. */
  sshAgentAuth?: boolean;
  /** Do not let the machine use the agent. Default: false, with `sshAgentAuth`; without it the agent is never forwarded (Packer does). Same as Packer's `ssh_disable_agent_forwarding`. */
  sshDisableAgentForwarding?: boolean;
  /** Kind of the key pair that is made for one build. Default: "ed25519" (Packer: rsa). Same as Packer's `temporary_key_pair_type`. */
  temporaryKeyPairType?: "ed25519" | "ecdsa" | "rsa";
  /** Its size. Default: 521 for ecdsa, 4096 for rsa. Same as Packer's `temporary_key_pair_bits`. */
  temporaryKeyPairBits?: number;
  /** The machine's public host key, as in `known_hosts` or as its fingerprint `SHA256:…`. Default: the one seen first; it must stay during the build. Packer checks none. */
  sshHostKey?: string;
  /** How long the machine may take until SSH answers. Default: "5m", or no limit if only `sshHandshakeAttempts` is set. Same as Packer's `ssh_timeout`. */
  sshTimeout?: Duration;
  /** How often authentication may be refused until then. Default: 10, or no limit if only `sshTimeout` is set. Same as Packer's `ssh_handshake_attempts`. */
  sshHandshakeAttempts?: number;
  /** After the first connection, wait this long and connect again. Default: none. Same as Packer's `pause_before_connecting`. */
  pauseBeforeConnecting?: Duration;
  /** Run the steps in a terminal. Default: false. Same as Packer's `ssh_pty`. */
  sshPty?: boolean;
  /** How often to ask whether the machine is still there; "0s" is never. Default: "5s". Same as Packer's `ssh_keep_alive_interval`. */
  sshKeepAliveInterval?: Duration;
  /** Give up a connection on which nothing came or went for so long. Default: none. Same as Packer's `ssh_read_write_timeout`. */
  sshReadWriteTimeout?: Duration;
  /** Ciphers to offer, in order. Default: those of the library, AES-GCM first. Same as Packer's `ssh_ciphers`. */
  sshCiphers?: string[];
  /** Key exchanges to offer, in order. Default: those of the library. Same as Packer's `ssh_key_exchange_algorithms`. */
  sshKeyExchangeAlgorithms?: string[];
  /** A machine to go through. Same as Packer's `ssh_bastion_host`. */
  sshBastionHost?: string;
  /** Default: 22. Same as Packer's `ssh_bastion_port`. */
  sshBastionPort?: number;
  /** Default: `sshUsername`. Same as Packer's `ssh_bastion_username`. */
  sshBastionUsername?: string;
  /** Same as Packer's `ssh_bastion_password`. */
  sshBastionPassword?: string;
  /** Default: `sshPrivateKeyFile`. Same as Packer's `ssh_bastion_private_key_file`. */
  sshBastionPrivateKeyFile?: string;
  /** Certificate of the bastion's key. Same as Packer's `ssh_bastion_certificate_file`. */
  sshBastionCertificateFile?: string;
  /** Use the agent's keys for the bastion. Default: false. Same as Packer's `ssh_bastion_agent_auth`. */
  sshBastionAgentAuth?: boolean;
  /** As `sshHostKey`, of the bastion. Packer checks none. */
  sshBastionHostKey?: string;
  /** A SOCKS5 proxy to go through. Same as Packer's `ssh_proxy_host`. */
  sshProxyHost?: string;
  /** Default: 1080. Same as Packer's `ssh_proxy_port`. */
  sshProxyPort?: number;
  /** Same as Packer's `ssh_proxy_username`. */
  sshProxyUsername?: string;
  /** Same as Packer's `ssh_proxy_password`. */
  sshProxyPassword?: string;
  /** Ports of this machine that lead to what the built one can reach, as `port:host:port`. Same as Packer's `ssh_local_tunnels`. */
  sshLocalTunnels?: string[];
  /** Ports of the built machine that lead to what this one can reach, as `port:host:port`. Same as Packer's `ssh_remote_tunnels`. */
  sshRemoteTunnels?: string[];
}
