import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as kiln from "pulumi-kiln";
import { DockerBlueGreen } from "pulumi-kiln/rollout/docker";

const config = new pulumi.Config();
const baseImage = config.get("baseImage");

// The application: another version of it is another image.
const app = new kiln.docker.Image("app", {
  image: baseImage ?? "python:3.9-slim",
  provisioners: [kiln.file({ source: "app/", destination: "/app" })],
  changes: ['CMD ["python3", "/app/server.py"]', "WORKDIR /app"],
});

// The proxy: the official image or, where no registry can be reached, one that is made of the same base.
const proxyImage =
  baseImage === undefined
    ? new docker.RemoteImage("haproxy", { name: "haproxy:lts", keepLocally: true }).imageId
    : new kiln.docker.Image("haproxy", {
        image: baseImage,
        provisioners: [
          kiln.shell({ inline: ["apt-get update", "apt-get install -y --no-install-recommends haproxy"] }),
        ],
      }).imageId;

// Two containers of it behind the proxy. They are never changed: new ones take over.
const web = new DockerBlueGreen("web", {
  image: app.imageId,
  replicas: config.getNumber("replicas") ?? 2,
  port: 8080,
  container: { envs: [`VERSION=${config.get("version") ?? "1"}`] },
  health: { path: "/healthz" },
  drain: { timeout: "20s" },
  proxy: { listen: config.get("listen") ?? "127.0.0.1:8000", image: proxyImage },
});

export const address = web.address;
export const active = web.active;
export const containers = web.containers.map((container) => container.name);
