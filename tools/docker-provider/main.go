// The Docker provider of Pulumi for machines that cannot download the released plugin: the same Terraform provider
// behind the same bridge. It knows what @pulumi/docker needs for containers, networks, volumes and images, and leaves
// out `docker:index:Image`, which builds from a Dockerfile and has no Terraform half.
package main

import (
	"encoding/json"
	"strings"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// The release of @pulumi/docker whose type tokens and property names these are.
const version = "5.2.0"

// Terraform's name of each resource and the class in @pulumi/docker.
var resourceNames = map[string]string{
	"docker_config":         "ServiceConfig",
	"docker_container":      "Container",
	"docker_image":          "RemoteImage",
	"docker_network":        "Network",
	"docker_plugin":         "Plugin",
	"docker_registry_image": "RegistryImage",
	"docker_secret":         "Secret",
	"docker_service":        "Service",
	"docker_tag":            "Tag",
	"docker_volume":         "Volume",
}

var dataSourceNames = map[string]string{
	"docker_image":          "getRemoteImage",
	"docker_network":        "getNetwork",
	"docker_plugin":         "getPlugin",
	"docker_registry_image": "getRegistryImage",
}

// "Container" lives in the module "index/container".
func token(name string) string {
	return "docker:index/" + strings.ToLower(name[:1]) + name[1:] + ":" + name
}

func describe() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:       shimv2.NewProvider(provider.New(version)()),
		Name:    "docker",
		Version: version,
		Config: map[string]*tfbridge.SchemaInfo{
			"host":          {Default: &tfbridge.DefaultInfo{EnvVars: []string{"DOCKER_HOST"}, Value: "unix:///var/run/docker.sock"}},
			"registry_auth": {Name: "registryAuth", MaxItemsOne: tfbridge.False()},
		},
		Resources:   map[string]*tfbridge.ResourceInfo{},
		DataSources: map[string]*tfbridge.DataSourceInfo{},
		// Left out on purpose: building with buildx, and three look-ups. The bridge warns of what is neither here nor there.
		IgnoreMappings: []string{"docker_buildx_builder", "docker_containers", "docker_logs", "docker_registry_image_manifests"},
	}
	for terraformName, name := range resourceNames {
		info.Resources[terraformName] = &tfbridge.ResourceInfo{Tok: tokens.Type(token(name))}
	}
	for terraformName, name := range dataSourceNames {
		info.DataSources[terraformName] = &tfbridge.DataSourceInfo{Tok: tokens.ModuleMember(token(name))}
	}
	container := info.Resources["docker_container"]
	container.DeleteBeforeReplace = true
	// The bridge would put these lists into the plural; the SDK does not.
	container.Fields = map[string]*tfbridge.SchemaInfo{
		"command":           {Name: "command"},
		"networks_advanced": {Name: "networksAdvanced"},
	}
	info.SetAutonaming(255, "-")
	return info
}

func main() {
	schema, err := json.Marshal(map[string]string{"name": "docker", "version": version})
	if err != nil {
		panic(err)
	}
	tfbridge.Main("docker", version, describe(), schema)
}
