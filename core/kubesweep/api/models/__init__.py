"""The models of the YAML. The CRD, docs/api.md and the messages are made from them."""
