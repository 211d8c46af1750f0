"""The addresses of the cluster; constants, since each node has a network namespace of its own."""

NODE_NAME = "thumbnails"

# A link between the machine and the node, as wide as two addresses.
HOST_ADDRESS = "10.200.0.1"
NODE_ADDRESS = "10.200.0.2"
LINK_RANGE = "10.200.0.0/30"
HOST_LINK = "thumbnails0"
NODE_LINK = "eth0"

SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
POD_RANGE = "10.244.0.0/16"
DNS_DOMAIN = "cluster.local"

API_PORT = 6443
API_SERVER = f"https://{NODE_ADDRESS}:{API_PORT}"
