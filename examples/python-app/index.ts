import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as kiln from "pulumi-kiln";

const config = new pulumi.Config();
const version = config.get("version") ?? "1.0.0";

// The image: a base, the application's files, its requirements, its tests. It is built when one of these changes.
const image = new kiln.docker.Image("my-python-app", {
  image: config.get("baseImage") ?? "python:3.9-slim",
  // Only where the network has certificates of its own: the host's are lent to pip while the image is built.
  volumes: config.getObject<string[]>("buildVolumes"),
  provisioners: [
    kiln.file({ source: "app/", destination: "/app", ignore: ["__pycache__", "*.pyc"] }),
    kiln.shell({
      inline: ["pip install --no-cache-dir -r requirements.txt", "python -m unittest discover tests/"],
      environment: { PYTHONDONTWRITEBYTECODE: "1" },
      workingDirectory: "/app",
    }),
  ],
  changes: ['CMD ["python", "main.py"]', "WORKDIR /app", "EXPOSE 8080"],
  postProcessors: [kiln.docker.tag({ repository: "my-python-app", tags: [version] })],
});

// What runs from it. A new image replaces the container: nothing is ever changed inside one.
const web = new docker.Container(
  "web",
  {
    image: image.imageId,
    ports: [{ internal: 8080, ip: "127.0.0.1" }],
    wait: false,
  },
  // The new container runs before the old one goes; both ports are chosen by Docker, so they never collide.
  { deleteBeforeReplace: false },
);

export const imageId = image.imageId;
export const reference = image.reference;
export const container = web.name;
export const url = web.ports.apply((ports) => `http://127.0.0.1:${ports?.[0]?.external}`);
